"""Settings of an inference are read as a run wrote them, and refused where they do not go together."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from medsize.bundle.run.inference_settings import inference_settings

SOUND = {
    **{"structures": ["liver", "spleen"], "num_classes": 3, "spacing": [2.0, 2.0], "roi_size": [64, 64]},
    "calibration": {"liver": {"low": 0.9, "high": 1.1, "least_ml": 0.2}, "spleen": {"low": None, "note": "absent"}},
}


def test_sound_settings_are_read_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "inference.json").write_text(json.dumps(SOUND))
    assert inference_settings(tmp_path) == SOUND


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"structures": "liver"}, "found 'liver' as structures, expected a list"),
        ({"structures": ["liver"]}, "found 1 structures and num_classes 3, expected 2, one more for the background"),
        ({"spacing": [2.0, 2.0, 5.0]}, "found 3 numbers in spacing and 2 in roi_size, expected as many"),
        ({"calibration": {"liver": {"low": 0.9}}}, "as the calibration of 'liver', expected the numbers low, high and"),
        (
            {"calibration": {"liver": 0.9}},
            "found 0.9 as the calibration of 'liver', expected the numbers low",
        ),
    ],
)
def test_settings_that_do_not_go_together_are_refused(tmp_path: Path, changed: dict[str, Any], message: str) -> None:
    (tmp_path / "inference.json").write_text(json.dumps({**SOUND, **changed}))
    with pytest.raises(ValueError, match=message) as refused:
        inference_settings(tmp_path)
    assert str(refused.value).startswith(str(tmp_path / "inference.json"))
