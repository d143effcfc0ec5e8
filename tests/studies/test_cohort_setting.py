"""A study's cohort is prepared by a module of the current folder, or of a clone."""

from __future__ import annotations

from pathlib import Path

import pytest

import medsize
from medsize.studies.cohort_setting import CohortSetting

WRITES_A_DATA_LIST = """\
import pathlib
import sys

folder = pathlib.Path(sys.argv[sys.argv.index("--output-dir") + 1])
folder.mkdir(parents=True, exist_ok=True)
(folder / "datalist.json").write_text("{}")
"""


@pytest.mark.parametrize("place", ["current folder", "clone"])
def test_a_module_prepares_the_cohort(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    module = tmp_path / place / "my_prep" / "liver.py"
    module.parent.mkdir(parents=True)
    module.write_text(WRITES_A_DATA_LIST)
    if place == "clone":
        monkeypatch.setattr(medsize, "__file__", str(tmp_path / place / "medsize" / "__init__.py"))
        monkeypatch.chdir(tmp_path)
    else:
        monkeypatch.chdir(tmp_path / place)
    CohortSetting(name="Liver", prepare=["my_prep.liver"], dataset_dir="livers").make_ready(tmp_path, tmp_path / "work")
    assert (tmp_path / "work" / "liver" / "datalist.json").is_file()


def test_without_a_clone_its_preparation_is_missed_with_a_message(tmp_path: Path) -> None:
    cohort = CohortSetting(name="Liver", prepare=["data_prop.acdc"], dataset_dir="livers")
    with pytest.raises(ValueError, match=r"Liver: prepare: found no module data_prop.*run the study in a clone"):
        cohort.make_ready(tmp_path, tmp_path / "work")
