"""Predicted areas as a table."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

import torch

from scripts.volume_table import MM3_PER_ML, ScanTable, classes_cut_off, interval


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

    Areas are in mm², or in pixels (px), and fractions of the picture. The last column names the structures that the
    edge of the picture cuts off, as in :class:`scripts.volume_table.VolumeTable`: their area is a lower bound.

    A JSON beside it, of the same name, also has each area's interval in the same unit, ``low_mm2`` and ``high_mm2`` or
    ``low_px`` and ``high_px``, and its ``level``, see :class:`scripts.volume_table.VolumeTable`.

    The prediction is class indices ``(1, W, H, 1)``, a decollated MetaTensor under ``pred``.

    Args:
        file: CSV to write.
        structures: names of the classes 1, 2, ….
        pixel_mm: side of a pixel, mm; ``None`` if unknown.
        calibration: by structure, what a training of medsize writes to ``inference.json``. Default: none.
    """

    def __init__(
        self,
        file: str,
        structures: Sequence[str],
        pixel_mm: float | None = None,
        calibration: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        super().__init__(file, structures, calibration)
        self.pixel_area = 1.0 if pixel_mm is None else pixel_mm**2
        self.unit, self.symbol = ("px", "px") if pixel_mm is None else ("mm2", "mm²")

    def _structures(self, output: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        prediction = output["pred"]
        labels = torch.as_tensor(prediction).long()
        counts = torch.bincount(labels.flatten(), minlength=len(self.structures) + 1).tolist()
        # The calibration is of areas in the unit of the training, as volumes of slices of 1 mm.
        pixel_ml = float(torch.linalg.det(prediction.affine[:3, :3].double()).abs()) / MM3_PER_ML
        cut_off = classes_cut_off(prediction, len(self.structures) + 1)
        areas = {}
        for k, name in enumerate(self.structures, start=1):
            ends = interval(counts[k] * pixel_ml, self.calibration.get(name, {}), labels.numel() * pixel_ml)
            low, high = (
                None if end is None else float(f"{end / pixel_ml * self.pixel_area:.6g}")
                for end in (ends["low_ml"], ends["high_ml"])
            )
            areas[name] = {
                f"area_{self.unit}": float(f"{counts[k] * self.pixel_area:.6g}"),
                "fraction": float(f"{counts[k] / labels.numel():.6g}"),
                f"low_{self.unit}": low,
                f"high_{self.unit}": high,
                "level": ends["level"],
                "cut_off": k in cut_off,
            }
        return areas

    def _write_csv(self, lines: TextIO) -> None:
        columns = [column for name in self.structures for column in (f"{name} ({self.symbol})", f"{name} (fraction)")]
        writer = csv.writer(lines)
        writer.writerow(["image", *columns, "cut off"])
        for picture in self._scans:
            areas = picture["structures"]
            values = [f"{area[key]:.6g}" for area in areas.values() for key in (f"area_{self.unit}", "fraction")]
            cut_off = "; ".join(name for name, area in areas.items() if area["cut_off"])
            writer.writerow([picture["image"], *values, cut_off])
