"""Values of a scan's file that flags compare do not depend on the axes that it is stored along."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform

from medsize.scans.file_facts import file_facts


@pytest.mark.parametrize("codes", ["LPI", "RSA", "PIL"])
def test_a_scan_that_is_stored_along_other_axes_has_the_same_values(codes: str, tmp_path: Path) -> None:
    voxels = np.random.default_rng(0).uniform(size=(8, 6, 4)).astype(np.float32)
    scan = nibabel.Nifti1Image(voxels, np.diag([1.0, 1.5, 5.0, 1.0]))
    nibabel.save(scan, tmp_path / "scan.nii.gz")
    turn = ornt_transform(io_orientation(scan.affine), axcodes2ornt(codes))
    nibabel.save(scan.as_reoriented(turn), tmp_path / "turned.nii.gz")
    expected = file_facts(tmp_path / "scan.nii.gz")
    assert expected["slice_mm"] == pytest.approx(5)
    assert file_facts(tmp_path / "scan.nii.gz", orientation="RAS") == expected
    assert file_facts(tmp_path / "turned.nii.gz", orientation="RAS") == pytest.approx(expected)


def test_a_picture_in_colour_has_the_values_of_all_its_channels(tmp_path: Path) -> None:
    colours = np.random.default_rng(0).uniform(size=(8, 6, 1, 3)).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(colours, np.eye(4)), tmp_path / "colour.nii.gz")
    nibabel.save(nibabel.Nifti1Image(colours.reshape(8, 6, 3), np.eye(4)), tmp_path / "scan.nii.gz")
    found, expected = (file_facts(tmp_path / f"{name}.nii.gz") for name in ("colour", "scan"))
    assert found == pytest.approx(expected | {"depth_mm": 1.0})
