"""Cohorts whose sizes a simulated reader has read."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest

from benchmarks.read_cohort import read_sizes
from medsize.sizes.ellipsoid import ELLIPSOID_ERROR


@pytest.fixture
def data_list(tmp_path: Path) -> Path:
    """Two scans of a ball of 33510 mm³, of folds 0 and 1; a cyst is in neither."""
    grid = np.stack(np.meshgrid(*[np.arange(30) - 14.5] * 3, indexing="ij"), axis=-1)
    ball = (np.linalg.norm(grid, axis=-1) < 10).astype(np.uint8)
    nibabel.save(nibabel.Nifti1Image(ball, np.diag([2.0, 2.0, 2.0, 1.0])), tmp_path / "mask.nii.gz")
    item = {"image": "scan.nii.gz", "label": "mask.nii.gz", "size": {"ball": 33510, "cyst": 0}, "slice_size": {}}
    content = {
        "labels": {"0": "background", "1": "ball", "2": "cyst"},
        "size_unit": "mm3",
        "training": [item | {"fold": fold} for fold in (0, 1)],
    }
    file = tmp_path / "datalist.json"
    file.write_text(json.dumps(content))
    return file


def test_trained_scans_get_intervals_of_the_method_and_tested_ones_keep_their_sizes(data_list: Path) -> None:
    error = read_sizes(data_list, data_list.parent, "3 diameters")
    tested, trained = json.loads(data_list.read_text())["training"]
    assert tested["size"] == {"ball": 33510, "cyst": 0}
    ellipsoid = 4 / 3 * np.pi * 10**3 * 8
    assert trained["size"]["ball"] == pytest.approx([end * ellipsoid for end in ELLIPSOID_ERROR[3]], rel=0.15)
    assert trained["size"]["cyst"] == 0
    assert "slice_size" not in trained
    assert 0 < error < 0.15


def test_what_no_point_hits_becomes_unknown(data_list: Path) -> None:
    mask = nibabel.load(data_list.parent / "mask.nii.gz")
    small = np.zeros(mask.shape, dtype=np.uint8)
    small[3, 3, 3] = 2
    nibabel.save(nibabel.Nifti1Image(small, mask.affine), data_list.parent / "mask.nii.gz")
    read_sizes(data_list, data_list.parent, "points, 20 mm, each slice", seed=1)
    assert json.loads(data_list.read_text())["training"][1]["size"] == {"ball": 0, "cyst": None}


def test_of_pictures_a_fraction_is_read(data_list: Path) -> None:
    mask = np.zeros((40, 40, 1), dtype=np.uint8)
    mask[10:30, 10:30] = 1
    nibabel.save(nibabel.Nifti1Image(mask, np.eye(4)), data_list.parent / "mask.nii.gz")
    data_list.write_text(data_list.read_text().replace("mm3", "fraction"))
    read_sizes(data_list, data_list.parent, "percent, in steps of 5")
    (interval,) = json.loads(data_list.read_text())["training"][1]["slice_size"]["ball"]
    assert interval == pytest.approx([0.7 * 0.25, 1.4 * 0.25])


def test_an_unknown_method_is_named_with_those_that_are_known(data_list: Path) -> None:
    with pytest.raises(ValueError, match="found '4 diameters', expected one of 1 diameter, 2 diameters"):
        read_sizes(data_list, data_list.parent, "4 diameters")
