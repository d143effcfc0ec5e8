"""Predicted volumes as a table, and with their intervals."""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TextIO

import torch
from ignite.engine import Engine, Events

MM3_PER_ML = 1000.0
LEAST_CUT = 0.05
"""Area in an outermost slice, relative to the largest one, above which a structure seems cut off."""


class ScanTable:
    """
    Collect what is predicted of each scan: as JSON and as CSV, when all are done.

    Until then a file ``.jsonl`` beside them has a line of JSON for each scan, which a stopped inference leaves.

    Args:
        file: CSV to write; the JSON beside it has the same name.
        structures: names of the classes 1, 2, ….
        calibration: by structure, what a training of medsize writes to ``inference.json``. Default: none.
    """

    def __init__(
        self, file: str, structures: Sequence[str], calibration: Mapping[str, Mapping[str, Any]] | None = None
    ) -> None:
        self.file = file
        self.json_file = os.path.splitext(file)[0] + ".json"
        self.lines_file = f"{self.json_file}l"
        self.structures = list(structures)
        self.calibration = dict(calibration or {})
        self._scans: list[dict[str, Any]] = []

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
        self._scans = []
        replace_file(self.lines_file, lambda lines: None)

    def _add(self, engine: Engine) -> None:
        with open(self.lines_file, "a", encoding="utf-8") as lines:
            for item, output in zip(engine.state.batch, engine.state.output, strict=True):
                image = str(item["image"].meta["filename_or_obj"])
                self._scans.append({"image": image, "structures": self._structures(output)})
                lines.write(json.dumps(self._scans[-1]) + "\n")

    def _structures(self, output: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        """Return the entry of each structure in the JSON."""
        raise NotImplementedError

    def _write(self, _: Engine) -> None:
        notes = {name: self.calibration.get(name, {}).get("note", "not calibrated") for name in self.structures}
        content = {"scans": self._scans, "notes": {name: note for name, note in notes.items() if note}}
        replace_file(self.json_file, lambda lines: json.dump(content, lines, indent=1))
        replace_file(self.file, self._write_csv)
        os.remove(self.lines_file)

    def _write_csv(self, lines: TextIO) -> None:
        raise NotImplementedError


class VolumeTable(ScanTable):
    """
    Write a CSV with a row for each scan: its file, and the predicted volume of each structure in mL.

    The last column names the structures that the first or last slice or the edge of the view cuts off: their area there
    is above 5 % of their largest area along that axis. Their volume is a lower bound.

    A JSON beside it, of the same name, also has each volume's interval: ``low_ml``, ``high_ml``, and ``level``, the
    probability with which it holds the true volume of a scan that is like those of the calibration. All are null for a
    structure without a calibration. So is ``confidence``, see :class:`scripts.soft_dice_confidence.SoftDiceConfidence`,
    for a structure that is not found.

    The prediction is class indices ``(1, *spatial)``, a decollated MetaTensor under ``pred``. The confidences
    ``(K − 1,)`` are under ``confidence``, if known.

    Args:
        file: CSV to write.
        structures: names of the classes 1, 2, ….
        calibration: by structure, what a training of medsize writes to ``inference.json``. Default: none.
    """

    def _structures(self, output: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        prediction = output["pred"]
        voxel_ml = float(torch.linalg.det(prediction.affine[:3, :3].double()).abs()) / MM3_PER_ML
        counts = torch.bincount(torch.as_tensor(prediction).long().flatten(), minlength=len(self.structures) + 1)
        cut_off = classes_cut_off(prediction, len(self.structures) + 1)
        confidences = output["confidence"].tolist() if "confidence" in output else [math.nan] * len(self.structures)
        volumes = {}
        for k, (name, confidence) in enumerate(zip(self.structures, confidences, strict=True), start=1):
            volume = float(f"{float(counts[k]) * voxel_ml:.6g}")
            ends = interval(volume, self.calibration.get(name, {}), prediction.numel() * voxel_ml)
            sure = float(f"{confidence:.6g}") if math.isfinite(confidence) else None
            volumes[name] = {"volume_ml": volume, **ends, "cut_off": k in cut_off, "confidence": sure}
        return volumes

    def _write_csv(self, lines: TextIO) -> None:
        writer = csv.writer(lines)
        writer.writerow(["image", *(f"{name} (mL)" for name in self.structures), "cut off"])
        for scan in self._scans:
            volumes = scan["structures"]
            cut_off = "; ".join(name for name, volume in volumes.items() if volume["cut_off"])
            writer.writerow([scan["image"], *(f"{v['volume_ml']:.6g}" for v in volumes.values()), cut_off])


def interval(volume_ml: float, calibration: Mapping[str, Any], scan_ml: float) -> dict[str, float | None]:
    """
    Return both ends of the interval of a volume, and its level.

    Args:
        volume_ml: predicted volume.
        calibration: of its structure: the factors ``low`` and ``high``, ``least_ml`` and ``level``. A smaller volume
            than ``least_ml`` is not told from an absent structure.
        scan_ml: volume of the whole scan, which no structure exceeds.
    """
    if calibration.get("low") is None:
        return {"low_ml": None, "high_ml": None, "level": None}
    least = calibration["least_ml"]
    low, high = (calibration[end] * max(volume_ml, least) for end in ("low", "high"))
    low, high = (min(low, scan_ml) if low > least else 0.0), min(max(high, least), scan_ml)
    return {"low_ml": float(f"{low:.6g}"), "high_ml": float(f"{high:.6g}"), "level": calibration["level"]}


def replace_file(file: str, write: Callable[[TextIO], None]) -> None:
    """
    Write a file whole or not at all.

    Args:
        file: file to write; its folder is made where missing.
        write: function that writes the text.
    """
    os.makedirs(os.path.dirname(file), exist_ok=True)
    with open(f"{file}.partial", "w", newline="", encoding="utf-8") as lines:
        write(lines)
    os.replace(f"{file}.partial", file)


def classes_cut_off(prediction: torch.Tensor, num_classes: int) -> list[int]:
    """
    Return the classes of which an outermost slice holds more than stray voxels, in order.

    Args:
        prediction: class indices ``(1, *spatial)``.
        num_classes: K, with the background, which is never cut off.
    """
    labels = torch.as_tensor(prediction)[0]
    # An axis of one voxel, such as that of a picture, has no ends.
    others = [[b for b in range(labels.ndim) if b != a] for a, voxels in enumerate(labels.shape) if voxels > 1]
    found = []
    for k in range(1, num_classes):
        mask = labels == k
        along = (mask.sum(dim=axes) for axes in others)
        if any(max(areas[0], areas[-1]) > LEAST_CUT * areas.max() for areas in along):
            found.append(k)
    return found
