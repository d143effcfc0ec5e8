# Written by make bundles from bundles/source/shared/scripts/volume_table.py.
"""Predicted volumes as a table."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence

import torch
from ignite.engine import Engine, Events

MM3_PER_ML = 1000.0


class VolumeTable:
    """
    Write a CSV with a row for each scan: its file, and the predicted volume of each structure in mL.

    The last column names the structures in the first or last slice or at the edge of the view. They may be cut off
    there: their volume is a lower bound.

    The prediction is class indices ``(1, *spatial)``, a decollated MetaTensor under ``pred``.

    Args:
        file: CSV to write.
        structures: names of the classes 1, 2, ….
    """

    def __init__(self, file: str, structures: Sequence[str]) -> None:
        self.file = file
        self.structures = list(structures)
        self._rows: list[list[str]] = []

    def attach(self, engine: Engine) -> None:
        """
        Add the handlers to an engine.

        Args:
            engine: an evaluator.
        """
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._add)
        engine.add_event_handler(Events.COMPLETED, self._write)

    def _start(self, _: Engine) -> None:
        self._rows = []

    def _add(self, engine: Engine) -> None:
        for item, output in zip(engine.state.batch, engine.state.output, strict=True):
            prediction = output["pred"]
            voxel_ml = float(torch.linalg.det(prediction.affine[:3, :3].double()).abs()) / MM3_PER_ML
            counts = torch.bincount(torch.as_tensor(prediction).long().flatten(), minlength=len(self.structures) + 1)
            volumes = [f"{float(n) * voxel_ml:.6g}" for n in counts[1:]]
            cut_off = "; ".join(self.structures[k - 1] for k in classes_at_edges(prediction) if k)
            self._rows.append([str(item["image"].meta["filename_or_obj"]), *volumes, cut_off])

    def _write(self, _: Engine) -> None:
        os.makedirs(os.path.dirname(self.file), exist_ok=True)
        partial = f"{self.file}.partial"
        with open(partial, "w", newline="") as lines:
            writer = csv.writer(lines)
            writer.writerow(["image", *(f"{name} (mL)" for name in self.structures), "cut off"])
            writer.writerows(self._rows)
        os.replace(partial, self.file)


def classes_at_edges(prediction: torch.Tensor) -> list[int]:
    """Return the classes in the outermost voxels of class indices ``(1, *spatial)``, in order."""
    labels = torch.as_tensor(prediction)[0]
    # An axis of one voxel, such as that of a picture, has no ends.
    axes = [axis for axis, voxels in enumerate(labels.shape) if voxels > 1]
    ends = [labels.select(axis, end).flatten() for axis in axes for end in (0, -1)]
    return [int(k) for k in torch.cat(ends).unique()] if ends else []
