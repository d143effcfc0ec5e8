"""Predictions get the intervals that their run has calibrated."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pandas as pd
import pytest

from medsize.inference.report.intervals import calibration_of, told_intervals, with_intervals
from medsize.metrics import SizeCalibration

MADE = SizeCalibration(0.8, 1.3, 0.5, 0.888889, 8, 9, "8 subjects allow 88 %, not 90 %")


@pytest.fixture
def calibration(tmp_path: Path) -> dict[str, SizeCalibration]:
    alone = SizeCalibration(subjects=1, scans=2, note="one subject allows no interval")
    recorded = {"liver": asdict(MADE), "kidney": asdict(alone)}
    settings = {"structures": ["liver", "kidney", "spleen"], "calibration": recorded}
    (tmp_path / "inference.json").write_text(json.dumps(settings))
    return calibration_of(tmp_path)


@pytest.mark.parametrize(("column", "per_ml"), [("volume_ml", 1), ("area_mm2", 1000), ("area_px", 1000)])
def test_sizes_have_an_interval_in_their_unit(
    calibration: dict[str, SizeCalibration], column: str, per_ml: int
) -> None:
    rows = [("liver", 100.0), ("liver", 0.0), ("kidney", 20.0), ("spleen", 5.0)]
    table = pd.DataFrame([{"image": "a", "structure": name, column: per_ml * size} for name, size in rows])
    found = with_intervals(table, calibration, column, {"a": 1000 * per_ml})
    clipped = with_intervals(table, calibration, column, {"a": 110 * per_ml})  # no structure is larger than its scan
    assert clipped.iloc[0, 3:5].tolist() == pytest.approx([80 * per_ml, 110 * per_ml])
    unit = column.split("_")[1]
    assert list(found.columns[3:]) == [f"interval_low_{unit}", f"interval_high_{unit}", "interval_level"]
    assert found.iloc[0, 3:].tolist() == pytest.approx([80 * per_ml, 130 * per_ml, 0.888889])
    assert found.iloc[1, 3:].tolist() == pytest.approx([0, 0.65 * per_ml, 0.888889])
    assert found.iloc[2:, 3:].isna().all(axis=None)


def test_the_level_and_a_missing_calibration_are_told(calibration: dict[str, SizeCalibration]) -> None:
    assert list(told_intervals(calibration)) == [
        "liver: 88 %, calibrated by 8 subjects (9 scans); 8 subjects allow 88 %, not 90 %",
        "kidney: one subject allows no interval",
        "spleen: the run has no calibration of it: no interval",
    ]
    wide = SizeCalibration(2.1, 42.0, 0.5, 0.666667, 2, 2)
    assert list(told_intervals({"liver": wide})) == [
        "liver: 66 %, calibrated by 2 subjects (2 scans); so wide that they hardly tell a size: 2.1 to 42 times the "
        "predicted size"
    ]


def test_an_area_that_is_unknown_in_mm_has_no_interval(calibration: dict[str, SizeCalibration]) -> None:
    table = pd.DataFrame([{"image": "a", "structure": "liver", "area_mm2": float("nan")}])
    assert with_intervals(table, calibration, "area_mm2", {"a": float("nan")}).iloc[0, 2:].isna().all()
