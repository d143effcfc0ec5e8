"""CropToRoid cuts what scanner coordinates say."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, Invertd

from medsize.transforms import ComputeSizeTarget, CropToRoi, CropToRoid, SizeToFraction

AFFINE = torch.tensor([[-2.0, 0, 0, 90], [0, 1.5, 0, -40], [0, 0, 8, -20], [0, 0, 0, 1]])


def image(affine: torch.Tensor = AFFINE) -> MetaTensor:
    return MetaTensor(torch.arange(40 * 50 * 10.0).view(1, 40, 50, 10), affine=affine)


def scanner(affine: torch.Tensor, voxel: list[float]) -> list[float]:
    return (affine.double() @ torch.tensor([*voxel, 1.0], dtype=torch.float64))[:3].tolist()


def test_center_cuts_the_extent_around_a_click() -> None:
    result = CropToRoi([20.0, 15.0, -1])(image(), {"center_mm": scanner(AFFINE, [20, 25, 3])})
    assert result.shape == (1, 10, 10, 10)
    center = (result.affine @ torch.tensor([4.5, 4.5, 3.0, 1.0], dtype=torch.float64))[:3]
    assert (center - torch.tensor(scanner(AFFINE, [20, 25, 3]))).abs()[:2].max() <= 1.0
    result = CropToRoi([20.0, 15.0, -1])(image(), {"center_mm": scanner(AFFINE, [20.2, 24.9, 3])})
    torch.testing.assert_close(result.as_tensor(), image().as_tensor()[:, 16:26, 20:30])


def test_box_cuts_the_voxels_within_it() -> None:
    corners = [scanner(AFFINE, [4.6, 9.6, 1.6]), scanner(AFFINE, [12.4, 30.4, 6.4])]
    result = CropToRoi([-1, -1, -1])(image(), {"box_mm": corners})
    torch.testing.assert_close(result.as_tensor(), image().as_tensor()[:, 5:13, 10:31, 2:7])


def test_box_of_an_oblique_image_is_held_whole() -> None:
    rotation, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))
    affine = torch.eye(4, dtype=torch.float64)
    affine[:3, :3] = torch.tensor(rotation)
    middle = scanner(affine, [20, 25, 5])
    box = [[c - 2 for c in middle], [c + 2 for c in middle]]
    result = CropToRoi([-1, -1, -1])(image(affine), {"box_mm": box})
    corners = torch.tensor([[*corner, 1.0] for corner in itertools.product(*zip(*box, strict=True))])
    voxels = (corners.double() @ torch.linalg.inv(result.affine).T)[:, :3]
    low, high = voxels.min(dim=0).values, voxels.max(dim=0).values
    last = torch.tensor(result.shape[1:]) - 1
    assert (low >= -0.5).all()
    assert (high <= last + 0.5).all()
    assert (low <= 0.5).all()  # and nothing more than that
    assert (high >= last - 0.5).all()


def test_what_lies_outside_the_image_is_left_out() -> None:
    result = CropToRoi([20.0, 15.0, -1])(image(), {"center_mm": scanner(AFFINE, [1, 1, 3])})
    assert result.shape[1] < 10
    assert result.shape[2] < 10


def test_sizes_stay_right_in_the_crop() -> None:
    mask = MetaTensor(torch.zeros(1, 40, 50, 10), affine=AFFINE)
    mask[:, 15:25, 20:30, 3:6] = 1
    sizes = ComputeSizeTarget(2)(mask)
    crop = CropToRoi([30.0, 24.0, -1])(mask, {"center_mm": scanner(AFFINE, [20, 25, 4])})
    counted = float((crop == 1).float().mean())
    assert float(SizeToFraction()(sizes, crop)[0, 1]) == pytest.approx(counted, rel=1e-5)


def test_is_invertible() -> None:
    pipeline = Compose([CropToRoid("image", extent=[20.0, 15.0, -1])])
    item = {"image": image(), "roi": {"center_mm": scanner(AFFINE, [20, 25, 3])}}
    cropped = pipeline(item)
    cropped["pred"] = cropped["image"].clone()
    restored = Invertd("pred", pipeline, "image", nearest_interp=False)(cropped)["pred"]
    assert restored.shape == item["image"].shape
    inside = restored.as_tensor() != 0
    torch.testing.assert_close(restored.as_tensor()[inside], item["image"].as_tensor()[inside])
    assert int(inside.sum()) == cropped["image"].numel()


@pytest.mark.parametrize(
    ("roi", "message"),
    [
        ({"center_mm": [1e4, 0, 0]}, "lies outside the image"),
        ({}, "expected center_mm or box_mm"),
        ([0, 0, 0], "expected center_mm or box_mm"),
        ({"center_mm": [0, 0]}, "expected x, y and z in mm"),
        ({"box_mm": [[0, 0, 0], [1, 1, math.nan]]}, "expected x, y and z in mm"),
    ],
)
def test_bad_rois_are_refused(roi: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CropToRoi([20.0, 15.0, -1])(image(), roi)


def test_item_without_roi_is_refused() -> None:
    with pytest.raises(ValueError, match="has no 'roi' to crop to"):
        CropToRoid("image", extent=[20.0, 15.0, -1])({"image": image()})


def test_an_extent_has_three_axes() -> None:
    with pytest.raises(ValueError, match=r"extent must have three numbers, .*, got \(20.0, 15.0\)"):
        CropToRoi([20.0, 15.0])
