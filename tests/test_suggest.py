"""Suggestions are close, and paths that are suggested exist."""

from __future__ import annotations

from pathlib import Path

import pytest

from medsize.suggest import did_you_mean, did_you_mean_path


def test_the_closest_name_is_suggested_and_a_far_one_is_not() -> None:
    assert did_you_mean("livr", ["liver", "kidney"]) == " Did you mean 'liver'?"
    assert did_you_mean("spleen", ["liver", "kidney"]) == ""


@pytest.mark.parametrize("written", ["data/livrs/list.json", "dta/livers/list.json", "data/livers/lst.json"])
def test_a_path_that_differs_in_one_name_is_suggested(tmp_path: Path, written: str) -> None:
    meant = tmp_path / "data" / "livers" / "list.json"
    meant.parent.mkdir(parents=True)
    meant.touch()
    assert did_you_mean_path(tmp_path / written) == f" Did you mean '{meant}'?"
    assert did_you_mean_path(tmp_path / "dta" / "kidneys" / "list.json") == ""
