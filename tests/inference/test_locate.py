"""Regions of interest are found where a network sees something, and nothing of a mask goes into them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from nibabel.affines import apply_affine

from medsize.bundle.run_folder import INFERENCE, WEIGHTS
from medsize.bundle.run_summary import RunSummary
from medsize.data import PHANTOM_CLASSES
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


@pytest.fixture
def run_that_sees_what_is_bright(tmp_path: Path) -> Path:
    """A run of whole scans whose network is one convolution: structure 1 is what is brighter than 0.8."""
    run = tmp_path / "run"
    network = {"_target_": "torch.nn.Conv2d", "in_channels": 1, "out_channels": 4, "kernel_size": 1}
    window = {"spacing": [6.0, 6.0], "roi_size": [32, 32]}
    classes = {"num_classes": 4, "structures": list(PHANTOM_CLASSES[1:])}
    inference = {**window, **classes, "network_def": network, "checkpoint": str(run / WEIGHTS)}
    RunSummary(bundle=str(BUNDLE_2D), roi=False).write(run)
    (run / INFERENCE).write_text(json.dumps(inference))
    weight = torch.tensor([0.0, 50.0, 0.0, 0.0])
    torch.save({"weight": weight[:, None, None, None], "bias": weight * -0.8}, run / WEIGHTS)
    return run


def test_a_data_list_gets_regions_from_a_run(
    command: Callable, run_that_sees_what_is_bright: Path, phantoms: Path, tmp_path: Path
) -> None:
    """Scans of the same file name in two folders keep apart; the sizes stay what they were."""
    content = json.loads((phantoms / "datalist.json").read_text())
    content["training"] = content["training"][:3]
    affine = np.array([[-6.0, 0, 0, 90], [0, 6, 0, -80], [0, 0, 16, 5], [0, 0, 0, 1]])
    centers = {"0/scan.nii.gz": (8.5, 20.5, 2), "1/scan.nii.gz": (22.5, 10.5, 3)}  # there is nothing in the third
    for number, item in enumerate(content["training"]):
        item.pop("label")
        item.pop("scribble")
        item |= {"image": f"{number}/scan.nii.gz", "fold": min(number, 1), "roi": {"center_mm": [0.0, 0.0, 0.0]}}
        voxels = np.zeros((32, 32, 6), dtype=np.float32)
        if item["image"] in centers:
            x, y, z = (int(place) for place in centers[item["image"]])
            voxels[x - 3 : x + 5, y - 3 : y + 5, z - 1 : z + 2] = 1
            voxels[0, 0, 5] = 1  # a smaller piece
        scan = tmp_path / "cohort" / item["image"]
        scan.parent.mkdir(parents=True)
        nibabel.save(nibabel.Nifti1Image(voxels, affine), scan)
    data_list = tmp_path / "cohort" / "datalist.json"
    data_list.write_text(json.dumps(content))
    located = tmp_path / "located.json"
    arguments = ["locate", run_that_sees_what_is_bright, data_list, "--output", located]
    result = command("medsize.cli", *arguments, cwd=tmp_path, check=False)
    items = json.loads(located.read_text())["training"]
    for before, after in zip(content["training"], items, strict=True):
        roi = after.pop("roi", None)
        assert after == {key: value for key, value in before.items() if key != "roi"}
        assert (roi is None) == (f"{after['image']}: found no structure in it" in result.stderr)
        assert (roi is None) == (after["image"] not in centers)
        if roi is not None:
            assert roi == {"center_mm": pytest.approx(apply_affine(affine, centers[after["image"]]))}
    assert result.returncode == 1


def test_a_run_on_regions_finds_none(command: Callable, phantoms: Path, tmp_path: Path) -> None:
    for name in ("model.pt", "inference.json"):
        (tmp_path / name).write_text("{}")
    (tmp_path / "summary.json").write_text('{"roi": true, "bundle": "."}')
    arguments = ["locate", tmp_path, phantoms / "datalist.json", "--output", tmp_path / "new.json"]
    result = command("medsize.cli", *arguments, cwd=tmp_path, check=False)
    assert result.returncode == 2
    assert "take a run on whole scans" in " ".join(result.stderr.replace("│", " ").split())
    assert not (tmp_path / "new.json").exists()
