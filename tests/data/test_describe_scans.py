"""Simulated clicks are those of the mask as it is."""

from __future__ import annotations

import os
from pathlib import Path

import nibabel
import numpy as np

from medsize.data import write_clicks


def write_mask(file: Path, index: int, mtime_ns: int) -> None:
    mask = np.zeros((12, 12, 2), dtype=np.uint8)
    mask[3:9, 3:9] = index
    nibabel.save(nibabel.Nifti1Image(mask, np.eye(4)), file)
    os.utime(file, ns=(mtime_ns, mtime_ns))


def clicked(file: Path) -> set[int]:
    return set(np.unique(np.asarray(nibabel.load(file).dataobj)).tolist()) - {255}


def test_clicks_are_kept_until_the_mask_changes(tmp_path: Path) -> None:
    mask, clicks = tmp_path / "mask.nii.gz", tmp_path / "clicks.nii.gz"
    write_mask(mask, 1, mtime_ns=1)
    write_clicks(mask, clicks)
    assert clicked(clicks) == {0, 1}
    written = clicks.stat().st_mtime_ns
    write_clicks(mask, clicks)
    assert clicks.stat().st_mtime_ns == written
    write_mask(mask, 2, mtime_ns=written + 1)
    write_clicks(mask, clicks)
    assert clicked(clicks) == {0, 2}
