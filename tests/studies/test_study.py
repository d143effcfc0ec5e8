"""Settings and cells that studies of every kind have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from medsize.studies.ladder import LadderStudy
from medsize.studies.ladder.run import run_ladder
from medsize.studies.robustness import RobustnessStudy
from medsize.studies.study import Study, load_study

COHORTS = [{"name": "Hearts", "dataset_dir": "hearts"}, {"name": "Livers", "dataset_dir": "livers"}]
LADDER = {
    "bundle": "bundle",
    "table": "table",
    "reference": "masks",
    "rungs": {"masks": {}, "sizes": {}},
    "cohorts": [cohort | {"rungs": ["masks", "sizes"], "seeds": [0, 1]} for cohort in COHORTS],
}
ROBUSTNESS = {
    "title": "a study",
    "bundle": "bundle",
    "reference": "masks",
    "seeds": [0, 1],
    "networks": {"UNet": {}},
    "supervision": {"masks": {"noise_on": "masks"}, "sizes": {"noise_on": "sizes"}},
    "cohorts": COHORTS,
}
kinds = pytest.mark.parametrize(("kind", "content"), [(LadderStudy, LADDER), (RobustnessStudy, ROBUSTNESS)])


def loaded(tmp_path: Path, kind: type[Study], content: dict[str, Any]) -> Study:
    file = tmp_path / "study.yaml"
    file.write_text(yaml.safe_dump(content, sort_keys=False))
    return load_study(file, kind)


@kinds
def test_cells_are_chosen_by_part_of_their_names(tmp_path: Path, kind: type[Study], content: dict[str, Any]) -> None:
    study = loaded(tmp_path, kind, content)
    assert study.chosen(None) == study.cells()
    assert len(study.cells()) == 8
    chosen = study.chosen("Hearts.*sizes.*seed 1")
    assert [(cell.cohort, cell.seed) for cell in chosen] == [("Hearts", 1)]
    with pytest.raises(ValueError, match=r"no cell's name matches 'kidneys'; the first is: Hearts / .*masks.* seed 0"):
        study.chosen("kidneys")
    with pytest.raises(ValueError, match=r"--only '\(' is not a regular expression"):
        study.chosen("(")


@kinds
def test_a_study_whose_cells_would_share_a_folder_is_refused(
    tmp_path: Path, kind: type[Study], content: dict[str, Any]
) -> None:
    cohorts = [cohort | {"name": name} for cohort, name in zip(content["cohorts"], ("A b", "a-B"), strict=True)]
    with pytest.raises(ValueError, match=r"study\.yaml:\n- .*(share a folder|the same folder)"):
        loaded(tmp_path, kind, content | {"cohorts": cohorts})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rungz": {}}, "there is no key 'rungz'. Did you mean 'rungs'?"),
        ({"rungs": {"masks": {"overrids": {}}, "sizes": {}}}, "'rungs.masks.overrids'. Did you mean 'overrides'?"),
        ({"rungs": None}, "rungs is None, expected keys with values."),
        ({"cohorts": [{"name": "Hearts"}]}, "found no key 'cohorts.0.rungs'. Add it."),
    ],
    ids=["a key", "a key of a rung", "no rungs", "a cohort without rungs"],
)
def test_what_is_wrong_in_a_study_is_told(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message.replace("?", r"\?")):
        loaded(tmp_path, LadderStudy, LADDER | change)


def test_an_overlay_that_does_not_exist_is_refused_before_the_first_run(tmp_path: Path) -> None:
    rungs = {"masks": {}, "sizes": {"overlays": ["teecher.yaml"]}}
    file = tmp_path / "study.yaml"
    file.write_text(yaml.safe_dump(LADDER | {"bundle": "size_seg_2d", "rungs": rungs}))
    with pytest.raises(ValueError, match=r"no config 'teecher.yaml'.* Did you mean 'teacher.yaml'"):
        run_ladder(file, tmp_path, tmp_path / "work")
    assert not list((tmp_path / "work").rglob("log.txt"))
