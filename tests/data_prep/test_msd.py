"""Decathlon tasks are prepared with all scans of a subject in one fold."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np

from data_prep.msd import subject_of
from medsize.checks import check_scans
from medsize.data import load_cohort
from tests.conftest import PROJECT


def test_both_sides_of_a_hippocampus_are_one_subject() -> None:
    assert subject_of("./imagesTr/hippocampus_007.nii.gz") == subject_of("hippocampus_008.nii.gz")
    assert subject_of("hippocampus_008.nii.gz") != subject_of("hippocampus_009.nii.gz")
    assert subject_of("./imagesTr/liver_007.nii.gz") == "liver_007"


def test_hippocampus(command: Callable, real_scans: Path, tmp_path: Path) -> None:
    source = real_scans / "Task04_Hippocampus"
    command("data_prep.msd", source, "--output-dir", tmp_path / "out", cwd=PROJECT)
    prepared = json.loads((tmp_path / "out" / "datalist.json").read_text())
    assert prepared["labels"] == {"0": "background", "1": "Anterior", "2": "Posterior"}
    assert len(prepared["training"]) == 199
    folds: dict[str, set[int]] = {}
    for item in prepared["training"]:
        folds.setdefault(item["subject"], set()).add(item["fold"])
    assert {len(found) for found in folds.values()} == {1}
    assert set().union(*folds.values()) == {0, 1, 2, 3, 4}
    cohort = load_cohort(tmp_path / "out" / "datalist.json", source)
    assert check_scans(cohort.validation_items(0)[:5], 3) == []


def test_labels_may_be_written_as_nnunet_does_and_faulty_ones_are_refused(command: Callable, tmp_path: Path) -> None:
    for folder in ("imagesTr", "labelsTr"):
        (tmp_path / folder).mkdir()
        mask = np.ones((4, 4, 2), dtype=np.uint8)
        nibabel.save(nibabel.Nifti1Image(mask, np.eye(4)), tmp_path / folder / "a.nii.gz")
    task = {
        "labels": {"background": 0, "liver": 1},
        "training": [{"image": "./imagesTr/a.nii.gz", "label": "./labelsTr/a.nii.gz"}],
    }
    (tmp_path / "dataset.json").write_text(json.dumps(task))
    command("data_prep.msd", tmp_path, "--output-dir", tmp_path / "out", cwd=PROJECT)
    prepared = json.loads((tmp_path / "out" / "datalist.json").read_text())
    assert prepared["labels"] == {"0": "background", "1": "liver"}
    assert prepared["training"][0]["size"] == {"liver": 32.0}
    (tmp_path / "dataset.json").write_text(json.dumps(task | {"labels": {"background": 0, "liver": 2}}))
    result = command("data_prep.msd", tmp_path, "--output-dir", tmp_path / "out2", cwd=PROJECT, check=False)
    assert result.returncode == 2
    assert "no usable labels (their values are 0, 2)" in " ".join(result.stderr.replace("│", " ").split())


def test_one_click_a_structure_lies_inside_it(command: Callable, tmp_path: Path) -> None:
    affine = np.diag([2.0, 1.0, 3.0, 1.0])
    affine[:3, 3] = -10, 5, 7
    mask = np.zeros((20, 20, 6), dtype=np.uint8)
    mask[3:12, 4:9, 1:4], mask[14:18, 12:18, 2:5] = 1, 2
    for folder in ("imagesTr", "labelsTr"):
        (tmp_path / folder).mkdir()
        nibabel.save(nibabel.Nifti1Image(mask, affine), tmp_path / folder / "a.nii.gz")
    scan = {"image": "./imagesTr/a.nii.gz", "label": "./labelsTr/a.nii.gz"}
    task = {"labels": {"0": "background", "1": "liver", "2": "spleen"}, "training": [scan]}
    (tmp_path / "dataset.json").write_text(json.dumps(task))
    command("data_prep.msd", tmp_path, "--output-dir", tmp_path / "out", "--one-click", cwd=PROJECT)
    (item,) = json.loads((tmp_path / "out" / "datalist.json").read_text())["training"]
    assert set(item["clicks"]) == {"liver", "spleen"}
    for value, name in enumerate(item["clicks"], start=1):
        (place,) = item["clicks"][name]
        index = np.linalg.inv(affine) @ [*place, 1]
        assert mask[tuple(np.round(index[:3]).astype(int))] == value
    assert "scribble" not in item


def test_what_is_no_task_is_refused(command: Callable, tmp_path: Path) -> None:
    result = command("data_prep.msd", tmp_path, "--output-dir", tmp_path / "out", cwd=PROJECT, check=False)
    assert result.returncode != 0
    assert "not a Decathlon task" in result.stderr.replace("\n", " ")
