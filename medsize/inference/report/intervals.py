"""Intervals of predicted sizes, by the calibration that a run has recorded."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path

import pandas as pd

from medsize.bundle.run.inference_settings import inference_settings
from medsize.metrics.conformal import SizeCalibration, whole_percent
from medsize.units import MM3_PER_ML

__all__ = ["calibration_of", "interval_columns", "told_intervals", "with_intervals"]

NOT_CALIBRATED = SizeCalibration(note="the run has no calibration of it: no interval")


def calibration_of(run: Path) -> dict[str, SizeCalibration]:
    """Return the calibration of each structure of a run; older runs have none."""
    settings = inference_settings(run)
    recorded = settings.get("calibration", {})
    return {
        name: SizeCalibration(**recorded[name]) if name in recorded else NOT_CALIBRATED
        for name in settings["structures"]
    }


def interval_columns(column: str) -> tuple[str, str]:
    """Return the names of the columns of both ends, in the unit of the column of sizes, such as ``volume_ml``."""
    unit = column.rpartition("_")[2]
    return f"interval_low_{unit}", f"interval_high_{unit}"


def with_intervals(
    table: pd.DataFrame, calibration: Mapping[str, SizeCalibration], column: str, of_scans: Mapping[str, float]
) -> pd.DataFrame:
    """
    Return a table of predictions with the interval of each size, and ``interval_level``; NaN where there is none.

    A picture whose pixels have no known size has no area in mm², and no interval of it.

    Args:
        table: rows with ``image``, ``structure`` and a size.
        calibration: by structure.
        column: column of the sizes, mL; areas count as volumes of slices of 1 mm, as in training.
        of_scans: size of each whole scan or picture, by ``image``, in the unit of the column.
    """
    per_ml = 1.0 if column.endswith("_ml") else MM3_PER_ML
    named = zip(table["structure"], table[column], strict=True)
    of_rows = [NOT_CALIBRATED if math.isnan(size) else calibration[name] for name, size in named]
    ends = [
        of_row.interval(size / per_ml, of_scans[image] / per_ml) or (math.nan, math.nan)
        for of_row, size, image in zip(of_rows, table[column], table["image"], strict=True)
    ]
    values = [[end * per_ml for end in both] for both in zip(*ends, strict=True)]
    levels = [math.nan if of_row.level is None else of_row.level for of_row in of_rows]
    names = (*interval_columns(column), "interval_level")
    return table.assign(**dict(zip(names, [*values, levels], strict=True)))


def told_intervals(calibration: Mapping[str, SizeCalibration]) -> Iterator[str]:
    """Yield a line for each structure: the level of its intervals and the number of subjects, or why it has none."""
    for name, of_structure in calibration.items():
        if of_structure.level is None:
            yield f"{name}: {of_structure.note}"
            continue
        by = f"{of_structure.subjects} subjects ({of_structure.scans} scans)"
        note = f"; {of_structure.note}" if of_structure.note else ""
        if of_structure.tells_little:
            ends = f"{of_structure.low:.2g} to {of_structure.high:.2g} times the predicted size"
            note += f"; so wide that they hardly tell a size: {ends}"
        yield f"{name}: {whole_percent(of_structure.level)} %, calibrated by {by}{note}"
