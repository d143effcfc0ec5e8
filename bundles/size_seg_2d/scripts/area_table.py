"""Predicted areas as a table."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from typing import TextIO

import torch
from ignite.engine import Engine

from scripts.volume_table import ScanTable, classes_at_edges, replace_file


def pixel_side(pixel_mm: float | None, length_unit: str) -> float:
    """
    Return the side of a pixel in the unit of the network's spacing.

    Args:
        pixel_mm: side of a pixel, mm; ``None`` if unknown.
        length_unit: {``"mm"``, ``"px"``}, the unit of the network's spacing.

    Raises:
        ValueError: when it is needed, but not known.
    """
    if length_unit == "px":
        return 1.0
    if pixel_mm is None:
        raise ValueError("found no pixel_mm, but the network was trained at a spacing in mm. State it: --pixel_mm 0.1")
    return float(pixel_mm)


class AreaTable(ScanTable):
    """
    Write a CSV with a row for each picture: its file, and the predicted area of each structure.

    Areas are in mm², or in pixels (px²), and fractions of the picture. The last column names the structures at the
    edge of the picture. They may be cut off there: their area is a lower bound.

    The prediction is class indices ``(1, W, H, 1)``, decollated, under ``pred``.

    Args:
        file: CSV to write.
        structures: names of the classes 1, 2, ….
        pixel_mm: side of a pixel, mm; ``None`` if unknown.
    """

    def __init__(self, file: str, structures: Sequence[str], pixel_mm: float | None = None) -> None:
        super().__init__(file, structures)
        self.pixel_mm = pixel_mm

    def _add(self, engine: Engine) -> None:
        pixel = 1.0 if self.pixel_mm is None else self.pixel_mm**2
        for item, output in zip(engine.state.batch, engine.state.output, strict=True):
            labels = torch.as_tensor(output["pred"]).long()
            counts = torch.bincount(labels.flatten(), minlength=len(self.structures) + 1)[1:].tolist()
            values = [f"{value:.6g}" for n in counts for value in (n * pixel, n / labels.numel())]
            cut_off = "; ".join(self.structures[k - 1] for k in classes_at_edges(output["pred"]) if k)
            self._scans.append([str(item["image"].meta["filename_or_obj"]), *values, cut_off])

    def _write(self, _: Engine) -> None:
        replace_file(self.file, self._write_csv)

    def _write_csv(self, lines: TextIO) -> None:
        unit = "px²" if self.pixel_mm is None else "mm²"
        columns = [column for name in self.structures for column in (f"{name} ({unit})", f"{name} (fraction)")]
        writer = csv.writer(lines)
        writer.writerow(["image", *columns, "cut off"])
        writer.writerows(self._scans)
