"""Dice of flagged scans."""

import pandas as pd
import pytest

from benchmarks.flags import across_cohorts, area_under_curve, by_cross_validation
from medsize.metrics.reliability import IMAGE_FACTS


def test_scans_of_another_size_are_flagged() -> None:
    usual = {"structure": "liver", "at_edge": 0, "outside_largest": 0.0, **dict.fromkeys(IMAGE_FACTS, 1.0)}
    known = pd.DataFrame(
        [
            {"image": f"{n}.nii.gz", "subject": str(n), "volume_ml": v, "true_volume_ml": v, "dice": 0.9, **usual}
            for n, v in enumerate([100.0, 102.0, 104.0, 106.0, 108.0, 110.0, 112.0, 114.0])
        ]
    )
    assert (by_cross_validation([known], repeats=1)["flag"] == "ok").all()
    wrong = known.assign(volume_ml=[20.0, *known["volume_ml"][1:]], dice=[0.2, *known["dice"][1:]])
    found = across_cohorts({"a": {"size": known}, "b": {"size": wrong}})["a", "b"]
    assert found["flag"].tolist() == ["reject", *["ok"] * 7]
    assert area_under_curve(found) == 1
    assert area_under_curve(found[1:]) == pytest.approx(float("nan"), nan_ok=True)
