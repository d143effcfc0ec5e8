"""Clicks of some scans only."""

from __future__ import annotations

import pytest

from medsize.items import Click, TrainingItem
from medsize.studies.clicked_scans import keep_clicks

CLICK = Click(1, (0.0, 0.0, 0.0), (0.0, 0.0, 0.0))
ITEMS: list[TrainingItem] = [
    {"image": f"{n}.nii.gz", "subject": str(n), **({"clicks": (CLICK,)} if n % 3 else {})} for n in range(12)
]


def clicked(num_scans: int | None, seed: int = 0) -> set[str]:
    items = keep_clicks(ITEMS, num_scans, seed)
    assert [item["subject"] for item in items] == [item["subject"] for item in ITEMS]
    return {item["subject"] for item in items if "clicks" in item}


def test_more_scans_include_those_of_fewer() -> None:
    assert len(clicked(3)) == 3
    assert clicked(1) < clicked(3) < clicked(5)
    assert clicked(3) != clicked(3, seed=1)
    assert clicked(0) == set()
    assert clicked(None) == {item["subject"] for item in ITEMS if "clicks" in item}
    assert "clicks" in ITEMS[1]


def test_more_scans_than_have_clicks_are_refused() -> None:
    with pytest.raises(ValueError, match="num_clicked_scans is 9: expected at most 8"):
        keep_clicks(ITEMS, 9)
