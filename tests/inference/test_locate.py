"""Regions of interest are found where a network sees something, and nothing of a mask goes into them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest

from medsize.inference.locate import center_of_largest
from tests.conftest import BUNDLE_2D


def test_the_centre_is_that_of_the_largest_piece_in_scanner_mm(tmp_path: Path) -> None:
    mask = np.zeros((20, 30, 10), dtype=np.uint8)
    mask[2:5, 2:5, 1] = 1
    mask[10:15, 20:25, 4:7] = 2
    mask[12, 22, 5] = 1
    affine = np.array([[0, -2.0, 0, 50], [1.5, 0, 0, -20], [0, 0, 8.0, 3], [0, 0, 0, 1]])
    nibabel.save(nibabel.Nifti1Image(mask, affine), tmp_path / "mask.nii.gz")
    assert center_of_largest(tmp_path / "mask.nii.gz") == pytest.approx([50 - 2 * 22, -20 + 1.5 * 12, 3 + 8 * 5])


def test_an_empty_mask_has_no_centre(tmp_path: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 4, 2), dtype=np.uint8), np.eye(4)), tmp_path / "mask.nii.gz")
    assert center_of_largest(tmp_path / "mask.nii.gz") is None


def test_a_data_list_gets_regions_from_a_run(command: Callable, phantoms: Path, tmp_path: Path) -> None:
    """Scans of the same file name in two folders keep apart; the sizes stay what they were."""
    content = json.loads((phantoms / "datalist.json").read_text())
    content["training"] = content["training"][:3]
    for number, item in enumerate(content["training"]):
        scan = tmp_path / "cohort" / str(number) / "scan.nii.gz"
        scan.parent.mkdir(parents=True)
        scan.write_bytes((phantoms / item["image"]).read_bytes())
        for key in ("label", "scribble", "roi"):
            item.pop(key, None)
        item |= {"image": f"{number}/scan.nii.gz", "fold": min(number, 1)}
    data_list = tmp_path / "cohort" / "datalist.json"
    data_list.write_text(json.dumps(content))
    command(
        *("medsize.cli", "train", BUNDLE_2D, "--overlay", "imagenet.yaml", "--dataset_dir", data_list.parent),
        *("--output_dir", tmp_path / "run", "--spacing", "[6.0,6.0]", "--roi_size", "[32,32]", "--max_epochs", 1),
        cwd=tmp_path,
    )
    located = tmp_path / "located.json"
    arguments = ["locate", tmp_path / "run", data_list, "--output", located]
    result = command("medsize.cli", *arguments, cwd=tmp_path, check=False)
    items = json.loads(located.read_text())["training"]
    for before, after in zip(content["training"], items, strict=True):
        roi = after.pop("roi", None)
        assert after == before
        assert (roi is None) == (f"{after['image']}: nothing was found in it" in result.stderr)
    assert result.returncode == int("nothing was found" in result.stderr)


def test_a_run_on_regions_finds_none(command: Callable, phantoms: Path, tmp_path: Path) -> None:
    for name in ("model.pt", "inference.json"):
        (tmp_path / name).write_text("{}")
    (tmp_path / "summary.json").write_text('{"roi": true, "bundle": "."}')
    arguments = ["locate", tmp_path, phantoms / "datalist.json", "--output", tmp_path / "new.json"]
    result = command("medsize.cli", *arguments, cwd=tmp_path, check=False)
    assert result.returncode == 2
    assert "take a run on whole scans" in " ".join(result.stderr.replace("│", " ").split())
    assert not (tmp_path / "new.json").exists()
