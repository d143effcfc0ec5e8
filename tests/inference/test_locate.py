"""Regions of interest are found where a network sees something, and nothing of a mask goes into them."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
import yaml
from nibabel.affines import apply_affine

from medsize.inference.locate import Region, find_region, locate, middle_of
from tests.inference.bright_runs import write_bright_run


def test_the_centre_is_that_of_the_largest_piece_in_scanner_mm(tmp_path: Path) -> None:
    mask = np.zeros((20, 30, 10), dtype=np.uint8)
    mask[2:5, 2:5, 1] = 1
    mask[10:15, 20:25, 4:7] = 2
    mask[12, 22, 5] = 1
    affine = np.array([[0, -2.0, 0, 50], [1.5, 0, 0, -20], [0, 0, 8.0, 3], [0, 0, 0, 1]])
    nibabel.save(nibabel.Nifti1Image(mask, affine), tmp_path / "mask.nii.gz")
    region = find_region(tmp_path / "mask.nii.gz")
    assert region is not None
    assert region.center_mm == pytest.approx([50 - 2 * 22, -20 + 1.5 * 12, 3 + 8 * 5])
    assert region.extent_mm == pytest.approx([5 * 1.5, 5 * 2, 3 * 8])


def test_a_window_around_the_centre_holds_two_organs_that_lie_apart(tmp_path: Path) -> None:
    mask = np.zeros((40, 10, 10), dtype=np.uint8)
    mask[4:8, 2:6, 2:6] = 1
    mask[30:33, 2:6, 2:6] = 2
    nibabel.save(nibabel.Nifti1Image(mask, np.eye(4)), tmp_path / "mask.nii.gz")
    region = find_region(tmp_path / "mask.nii.gz")
    assert region is not None
    assert region.center_mm[0] == pytest.approx((4 * 5.5 + 3 * 31) / 7, abs=0.01)
    assert region.center_mm[0] + region.extent_mm[0] / 2 == pytest.approx(32.5, abs=0.01)


def test_the_mask_of_one_slice_has_a_region(tmp_path: Path) -> None:
    """MONAI drops the last axis of a picture's mask when it writes it."""
    mask = np.zeros((20, 30), dtype=np.uint8)
    mask[10:15, 20:25] = 1
    nibabel.save(nibabel.Nifti1Image(mask, np.diag([0.5, 0.5, 3.0, 1.0])), tmp_path / "mask.nii.gz")
    region = find_region(tmp_path / "mask.nii.gz")
    assert region is not None
    assert region.center_mm == pytest.approx([6, 11, 0])
    assert region.extent_mm == pytest.approx([2.5, 2.5, 3])


def test_an_empty_mask_has_no_centre(tmp_path: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 4, 2), dtype=np.uint8), np.eye(4)), tmp_path / "mask.nii.gz")
    assert find_region(tmp_path / "mask.nii.gz") is None


def test_a_data_list_gets_regions_from_a_run(command: Callable, phantoms: Path, tmp_path: Path) -> None:
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
    located, run = tmp_path / "located.json", write_bright_run(tmp_path / "run")
    arguments = ["locate", run, data_list, "--output", located, "--overlay", tmp_path / "closer.yaml"]
    result = command("medsize.cli", *arguments, cwd=tmp_path, check=False)
    content_after = json.loads(located.read_text())
    items = content_after["training"]
    assert f"{located}: the same scans, 2 of 3 with a roi" in result.stdout
    assert content_after["located_by"] == str(run)
    overlay = yaml.safe_load((tmp_path / "closer.yaml").read_text())
    assert overlay == {"data_list": str(located), "use_roi": True, "spacing": [6.0, 6.0], "roi_size": [32, 32]}
    for before, after in zip(content["training"], items, strict=True):
        roi = after.pop("roi", None)
        assert after == {key: value for key, value in before.items() if key != "roi"}
        assert (roi is None) == (f"{after['image']}: found no structure in it" in result.stderr)
        assert (roi is None) == (after["image"] not in centers)
        if roi is not None:
            assert roi == {"center_mm": pytest.approx(apply_affine(affine, centers[after["image"]]))}
    assert result.returncode == 1


def test_where_nothing_is_found_the_window_holds_the_whole_scans(
    phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = importlib.import_module("medsize.inference.locate")
    monkeypatch.setattr(module, "find_regions", lambda run, bundle, images, report: [None] * len(images))
    options = [write_bright_run(tmp_path / "run"), phantoms / "datalist.json", phantoms, tmp_path / "located.json"]
    with pytest.raises(ValueError, match="found an input as the output"):
        locate(*options[:3], phantoms / "datalist.json")
    with pytest.raises(ValueError, match="found no structure in any of 9 scans"):
        locate(*options, overlay=tmp_path / "closer.yaml")
    assert len(locate(*options, overlay=tmp_path / "closer.yaml", middle_if_missed=True)) == 9
    overlay = yaml.safe_load((tmp_path / "closer.yaml").read_text())
    assert (overlay["spacing"], overlay["roi_size"]) == ([6.0, 6.0], [32, 32])
    item = json.loads((tmp_path / "located.json").read_text())["training"][0]
    assert item["roi"]["center_mm"] == middle_of(phantoms / item["image"])


@pytest.mark.parametrize(
    ("sizes", "side"),
    [
        ([{"slice_size": {"lesion": [0.0, 1000.0, 0.0, 0.0]}}] * 3, 54),  # 1.5 times what was found
        ([{"slice_size": {"lesion": [0.0, 4000.0, 1000.0, 0.0]}}] * 3, 107),  # 1.5 times the disc's diameter
        ([{"size": {"lesion": 200_000.0}}] * 3, 109),  # 1.5 times the ball's
        (
            [{"size": {"lesion": 1.0}}] * 20 + [{"slice_size": {"lesion": [0.0, 9000.0, 0.0, 0.0]}}],
            113,
        ),  # 0.7 of the window
    ],
)
def test_the_window_holds_the_known_sizes_where_the_network_found_less(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sizes: list[dict[str, Any]], side: float
) -> None:
    items = [{"image": f"{number}.nii.gz", "fold": 0, **size} for number, size in enumerate(sizes)]
    for item in items:
        nibabel.save(
            nibabel.Nifti1Image(np.zeros((256, 256, 4), np.float32), np.diag([1, 1, 20, 1])), tmp_path / item["image"]
        )
    labels = {"0": "background", "1": "lesion"}
    (tmp_path / "list.json").write_text(json.dumps({"labels": labels, "size_unit": "mm3", "training": items}))
    module = importlib.import_module("medsize.inference.locate")
    region = Region([0.0, 0.0, 0.0], [36.0, 36.0, 20.0])
    monkeypatch.setattr(module, "find_regions", lambda run, bundle, images, report: [region] * len(images))
    closer, located = tmp_path / "closer.yaml", tmp_path / "located.json"
    locate(write_bright_run(tmp_path / "run"), tmp_path / "list.json", tmp_path, located, overlay=closer)
    overlay = yaml.safe_load(closer.read_text())
    window = [n * mm for n, mm in zip(overlay["roi_size"], overlay["spacing"], strict=True)]
    assert all(side <= mm < 1.25 * side for mm in window), window


def test_a_run_on_regions_finds_none(command: Callable, phantoms: Path, tmp_path: Path) -> None:
    torch.save({}, tmp_path / "model.pt")
    (tmp_path / "inference.json").write_text("{}")
    (tmp_path / "summary.json").write_text('{"roi": true, "bundle": "."}')
    arguments = ["locate", tmp_path, phantoms / "datalist.json", "--output", tmp_path / "new.json"]
    result = command("medsize.cli", *arguments, cwd=tmp_path, check=False)
    assert result.returncode == 2
    assert "take a run on whole scans" in " ".join(result.stderr.replace("│", " ").split())
    assert not (tmp_path / "new.json").exists()
