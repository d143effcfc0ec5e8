"""Dice of flagged scans."""

import pandas as pd
import pytest

from benchmarks.finished_runs import across_cohorts, by_cross_validation
from benchmarks.flags import area_under_curve, judged
from medsize.metrics.reliability import IMAGE_FACTS


def test_scans_of_another_size_are_flagged() -> None:
    usual = {"structure": "liver", "at_edge": 0, "outside_largest": 0.0, **dict.fromkeys(IMAGE_FACTS, 2.0)}
    known = pd.DataFrame(
        [
            {"image": f"{n}.nii.gz", "subject": str(n), "volume_ml": v, "true_volume_ml": v, "dice": 0.9, **usual}
            for n, v in enumerate([100.0, 102.0, 104.0, 106.0, 108.0, 110.0, 112.0, 114.0])
        ]
    )
    assert (by_cross_validation([known], judged, repeats=1)["flag"] == "ok").all()
    wrong = known.assign(volume_ml=[20.0, *known["volume_ml"][1:]], dice=[0.2, *known["dice"][1:]])
    found = across_cohorts({"a": {"size": known}, "b": {"size": wrong}}, judged)["a", "b"]
    assert found["flag"].tolist() == ["reject", *["ok"] * 7]
    assert area_under_curve(found) == 1
    assert area_under_curve(found[1:]) == pytest.approx(float("nan"), nan_ok=True)


def test_the_confidence_of_a_scan_is_that_of_its_least_sure_structure() -> None:
    usual = {"at_edge": 0, "outside_largest": 0.0, "volume_ml": 1.0, "true_volume_ml": 1.0, "dice": 0.9}
    known = pd.DataFrame(
        {"image": str(n), "structure": name, "confidence": sure, **usual, **dict.fromkeys(IMAGE_FACTS, 1.0)}
        for n in range(5)
        for name, sure in (("liver", 0.8), ("spleen", 0.5))
    )
    new = known[:2].assign(confidence=[0.6, 0.4])
    assert judged(known, new)["confidence"].tolist() == [pytest.approx(0.6 / 0.8)]
    assert judged(known, new.assign(confidence=[None, 0.4]))["confidence"].tolist() == [pytest.approx(0.4 / 0.5)]


def test_pictures_of_more_pixels_are_judged_by_the_fraction_that_a_structure_fills() -> None:
    usual = {"structure": "head", "at_edge": 0, "outside_largest": 0.0, "dice": 0.9, **dict.fromkeys(IMAGE_FACTS, 1.0)}
    known = pd.DataFrame(
        {"image": str(n), "subject": str(n), "volume_ml": 2.0, "true_volume_ml": 2.0, **usual, "view_mm": 100.0}
        for n in range(8)
    )
    larger = known.assign(volume_ml=200.0, true_volume_ml=200.0, view_mm=1000.0)
    assert (judged(known, larger)["flag"] == "ok").all()
    assert (judged(known, larger.assign(volume_ml=20.0))["flag"] == "reject").all()
