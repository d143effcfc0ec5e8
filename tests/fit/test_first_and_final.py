"""First labels and the final network are compared on training scans."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from medsize.fit.first_and_final import dice, first_labels_of


def test_dice_is_that_of_each_structure() -> None:
    one, other = np.array([0, 1, 1, 2, 0]), np.array([1, 1, 0, 0, 0])
    assert dice(one, other, 4) == pytest.approx([0.5, 0.0, np.nan], nan_ok=True)
    assert np.isnan(dice(one, None, 3)).all()


def test_the_last_first_labels_that_were_made_count(tmp_path: Path) -> None:
    assert first_labels_of(tmp_path) is None
    for number, name in enumerate(["b", "a", "unfinished"]):
        (tmp_path / name).mkdir()
        if name != "unfinished":
            (tmp_path / name / "first_labels.json").write_text("{}")
            os.utime(tmp_path / name / "first_labels.json", (number, number))
    assert first_labels_of(tmp_path) == tmp_path / "a"
