"""A study runs every cell once, tells of each, and writes what it found."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import yaml

from medsize.studies import load_study
from medsize.studies.ladder import paired_gain
from tests.conftest import BUNDLE_2D


def study(phantoms: Path) -> dict[str, object]:
    return {
        "bundle": str(BUNDLE_2D),
        "table": "ladder",
        "reference": "masks",
        "comparisons": [["size", "masks"]],
        "overrides": {"spacing": "[6.0, 6.0]", "roi_size": "[32, 32]", "max_epochs": 1, "val_interval": 1},
        "rungs": {
            "masks": {"overlays": ["mask_supervision.yaml"], "overrides": {"epoch_scans": 640, "learning_rate": 0.01}},
            "size": {},
            "student": {"replace_overlays": True, "overlays": ["teacher.yaml"], "teacher": "size"},
            "closer": {"locator": "masks", "overrides": {"use_roi": True, "roi_size": "[32, 32]"}},
        },
        "cohorts": [
            {
                "name": "Phantoms, small",
                "dataset_dir": phantoms.name,
                "data_list": f"{phantoms.name}/datalist.json",
                "overlays": ["imagenet.yaml"],
                "rungs": ["masks", "size", "student", "closer"],
            }
        ],
    }


def test_every_cell_runs_once_with_its_own_settings_and_students_learn_from_their_teacher(
    command: Callable, phantoms: Path, tmp_path: Path
) -> None:
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(study(phantoms)))
    arguments = ["ladder", "study.yaml", "--data", phantoms.parent, "--work-dir", "runs"]
    first = command("medsize.cli", *arguments, cwd=tmp_path).stdout.splitlines()
    rungs = ("closer", "masks", "size", "student")
    assert sorted(first) == [f"Phantoms, small / {rung} / seed 0: done" for rung in rungs]
    table = pd.read_csv(tmp_path / "ladder.csv").set_index("rung")
    assert list(table.index) == ["masks", "size", "student", "closer"]
    assert table["dice"].between(0, 1).all()
    assert (table["seconds"] > 0).all()
    teacher = tmp_path / "runs" / "phantoms_small" / "size_seed_0" / "model.pt"
    assert str(teacher) in (tmp_path / "runs" / "phantoms_small" / "student_seed_0" / "log.txt").read_text()
    located = json.loads((tmp_path / "runs" / "phantoms_small" / "located_by_masks_seed_0.json").read_text())
    assert all("center_mm" in item["roi"] for item in located["training"])
    assert "| Phantoms, small | student | 1 |" in (tmp_path / "ladder.md").read_text()
    assert "| Phantoms, small | size | masks | 1 | 3 |" in (tmp_path / "ladder_gains.md").read_text()
    assert (tmp_path / "ladder.png").read_bytes().startswith(b"\x89PNG")

    second = command("medsize.cli", *arguments, "--only", "masks", cwd=tmp_path).stdout.splitlines()
    assert second == ["Phantoms, small / masks / seed 0: kept"]
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "ladder.csv").set_index("rung"), table)

    changed = study(phantoms)
    changed["overrides"]["max_epochs"] = 2  # type: ignore[index]
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(changed))
    third = command("medsize.cli", *arguments, "--only", "masks", cwd=tmp_path, check=False)
    assert third.returncode == 2
    told = " ".join(third.stderr.replace("│", " ").split())
    assert "masks / seed 0: max_epochs was 1, is 2" in told
    assert "student / seed 0: max_epochs was 1, is 2, teacher: max_epochs was 1, is 2" in told

    changed = study(phantoms)
    changed["rungs"]["size"] = {"overrides": {"learning_rate": 0.1}}  # type: ignore[index]
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(changed))
    shutil.rmtree(tmp_path / "runs" / "phantoms_small" / "size_seed_0")
    fourth = command("medsize.cli", *arguments, "--only", "masks", cwd=tmp_path, check=False)
    assert fourth.returncode == 2
    told = " ".join(fourth.stderr.replace("│", " ").split())
    assert "student / seed 0: teacher: learning_rate was None, is 0.1" in told
    assert "/ size / seed 0" not in told


def cases(dice: dict[str, list[float]]) -> pd.DataFrame:
    """``metrics.csv`` with some scans of each subject, one structure."""
    rows = [(subject, value) for subject, values in dice.items() for value in values]
    return pd.DataFrame(rows, columns=["subject", "dice"]).assign(structure="liver")


def test_a_gain_is_measured_subject_by_subject() -> None:
    first = cases({"A": [0.8, 0.9], "B": [0.7], "C": [0.65], "D": [0.6], "E": [0.5]})
    second = cases({"A": [0.7, 0.8], "B": [0.6], "C": [0.5], "D": [0.45], "E": [0.42]})
    gain = paired_gain(first, second)
    assert gain["subjects"] == 5
    assert gain["gain"] == pytest.approx((0.1 + 0.1 + 0.15 + 0.15 + 0.08) / 5)
    assert 0.08 < gain["low"] < gain["gain"] < gain["high"] < 0.15
    back = paired_gain(second, first)
    assert (back["low"], back["high"]) == (
        pytest.approx(-gain["high"], abs=0.01),
        pytest.approx(-gain["low"], abs=0.01),
    )


def test_one_subject_has_no_interval() -> None:
    gain = paired_gain(cases({"A": [0.8]}), cases({"A": [0.6]}))
    assert gain["gain"] == pytest.approx(0.2)
    assert math.isnan(gain["low"])


def test_a_run_that_fails_is_told_of_and_does_not_stop_the_others(
    command: Callable, phantoms: Path, tmp_path: Path
) -> None:
    faulty = study(phantoms)
    faulty["rungs"]["masks"] = {"overrides": {"supervision": "organ"}}  # type: ignore[index]
    faulty["cohorts"][0]["rungs"] = ["masks", "size"]  # type: ignore[index]
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(faulty))
    result = command(
        *("medsize.cli", "ladder", "study.yaml", "--data", phantoms.parent, "--work-dir", "runs"),
        cwd=tmp_path,
        check=False,
    )
    assert result.returncode == 1
    assert "masks / seed 0: failed with exit code 1, see" in result.stdout
    assert "size / seed 0: done" in result.stdout


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"reference": "mask"}, "there is no rung mask"),
        ({"bundel": "x"}, "bundel"),
        ({"rungs": {"masks": {"overlay": []}}}, "overlay"),
    ],
)
def test_a_faulty_study_is_refused(phantoms: Path, tmp_path: Path, change: dict, message: str) -> None:
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(study(phantoms) | change))
    with pytest.raises(ValueError, match=message):
        load_study(tmp_path / "study.yaml")
