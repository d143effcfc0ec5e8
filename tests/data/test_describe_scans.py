"""Measured sizes and simulated clicks are those of the mask as it is."""

from __future__ import annotations

import importlib
import json
import os
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from medsize.data import describe_scans, write_clicks
from medsize.sizes.mask_sizes import describe_mask


def write_mask(file: Path, index: int, mtime_ns: int, depth: int = 2) -> None:
    mask = np.zeros((12, 12, depth), dtype=np.uint8)
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


def test_masks_are_measured_once_until_they_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured = []

    def count(file: Path, *arguments: Any) -> dict[str, Any]:
        measured.append(file)
        return describe_mask(file, *arguments)

    module = importlib.import_module("medsize.data.describe_scans")  # the package's attribute is the function
    monkeypatch.setattr(module, "describe_mask", count)

    def sizes(folder: Path, *names: str) -> list[float]:
        scans = [{"image": name, "label": f"{name}.nii", "subject": name, "fold": 0} for name in names]
        describe_scans(tmp_path / "list.json", folder, scans, ["background", "liver"])
        return [item["size"]["liver"] for item in json.loads((tmp_path / "list.json").read_text())["training"]]

    first, second = tmp_path / "first", tmp_path / "second"
    for folder, depth in ((first, 2), (second, 3)):
        folder.mkdir()
        for name in ("p1", "p2"):
            write_mask(folder / f"{name}.nii", 1, mtime_ns=1, depth=depth)
    assert sizes(first, "p1", "p2") == sizes(first, "p1", "p2") == [72, 72]
    assert len(measured) == 2
    (second / "p2.nii").unlink()
    assert sizes(second, "p1") == [108]  # the same path and time, in another folder
