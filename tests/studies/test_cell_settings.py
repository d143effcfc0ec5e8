"""Results are told apart by what their cells were asked to do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from medsize.studies.cell_settings import check_settings, distinguishing, record_settings
from medsize.studies.ladder import LadderStudy
from medsize.studies.robustness import RobustnessStudy
from medsize.studies.study import Study, load_study
from tests.conftest import PROJECT
from tests.studies.test_study import LADDER

BEFORE = {"overrides": {"max_epochs": 3}, "teacher": {"overrides": {}, "teacher": None}, "locator": None}
"""Settings that were written before bundles made first labels."""


def test_no_first_labels_is_what_all_results_had_before_there_were_any() -> None:
    now = json.loads(json.dumps(BEFORE))
    for settings in (now, now["teacher"]):
        settings["overrides"]["use_first_labels"] = False
    assert distinguishing(now) == BEFORE


@pytest.mark.parametrize("stated", [{}, {"use_first_labels": True}])
def test_first_labels_distinguish_also_by_default_and_in_a_teacher(stated: dict[str, bool]) -> None:
    without, others = {"overrides": {"use_first_labels": False}}, {"overrides": stated}
    assert distinguishing(others) != distinguishing(without)
    assert distinguishing(without | {"teacher": others}) != distinguishing(without | {"teacher": without})


def test_a_work_folder_from_before_goes_on_without_first_labels_only(tmp_path: Path) -> None:
    def study(**changes: object) -> LadderStudy:
        (tmp_path / "study.yaml").write_text(yaml.safe_dump(LADDER | changes))
        return load_study(tmp_path / "study.yaml", LadderStudy)

    without = study(overrides={"use_first_labels": False})
    check_settings(without, tmp_path)
    assert not (tmp_path / without.cohorts[0].name).exists(), "folders of cells are made when they start"
    cell = without.cells()[0]
    record_settings(without, cell, tmp_path)
    (cell.folder(tmp_path) / "log.txt").touch()
    assert "use_first_labels" not in (cell.folder(tmp_path) / "cell.json").read_text()
    check_settings(without, tmp_path)
    with pytest.raises(ValueError, match=r"seed 0: use_first_labels was None, is default"):
        check_settings(study(), tmp_path)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *((name, LadderStudy) for name in ("ladder_2d", "ladder_3d", "ablation_2d")),
        *((name, RobustnessStudy) for name in ("robustness_acdc", "robustness_hippocampus")),
    ],
)
def test_studies_whose_results_come_along_make_no_first_labels(name: str, kind: type[Study]) -> None:
    found = load_study(PROJECT / "benchmarks" / f"{name}.yaml", kind)
    assert all(found.settings(cell)["overrides"]["use_first_labels"] is False for cell in found.cells())
