"""Pictures of any shape fit the window, with their sizes, and come back to their own shape."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, Invertd, ResizeWithPadOrCropd

from medsize.transforms import ComputeSizeTarget, FitToWindowd, SizeToFraction, TilePicturesd


def picture(width: int, height: int, channels: int = 1) -> tuple[MetaTensor, MetaTensor]:
    """Return a picture and its mask, a disc in the middle."""
    x, y = np.meshgrid(np.arange(width), np.arange(height), indexing="ij")
    disc = torch.as_tensor((x - width / 2) ** 2 + (y - height / 2) ** 2 < (0.3 * min(width, height)) ** 2)
    affine = torch.diag(torch.tensor([-0.2, -0.2, 1.0, 1.0], dtype=torch.float64))
    mask = MetaTensor(disc.float()[None, ..., None], affine=affine)
    return MetaTensor(mask.as_tensor().repeat(channels, 1, 1, 1) * 0.8, affine=affine), mask


@pytest.mark.parametrize("shape", [(400, 270), (30, 64), (97, 97)])
def test_the_aspect_and_the_sizes_stay_and_the_padding_is_not_compared(shape: tuple[int, int]) -> None:
    image, mask = picture(*shape, channels=3)
    size = ComputeSizeTarget(2)(mask)
    prepare = Compose(
        [
            FitToWindowd(["image", "label"], [96, 64], ["bilinear", "nearest"], region_channels=1),
            ResizeWithPadOrCropd(["image", "label", "region"], [96, 64, -1]),
        ]
    )
    fitted = prepare({"image": image, "label": mask})
    assert fitted["image"].shape == (3, 96, 64, 1)
    inside = fitted["region"][0, ..., 0].nonzero()
    spans = (inside.amax(dim=0) - inside.amin(dim=0) + 1).tolist()
    assert max(spans[0] / 96, spans[1] / 64) == 1
    assert spans[0] / spans[1] == pytest.approx(shape[0] / shape[1], rel=0.02)
    part = float(size) / (0.2**2 * shape[0] * shape[1])
    fraction = SizeToFraction()(size, fitted["image"], fitted["region"])
    assert fraction[:, 1].tolist() == pytest.approx([part, part], rel=0.02)
    seen = float(fitted["label"].sum() / fitted["region"].sum())
    assert seen == pytest.approx(part, rel=0.05)

    fitted["pred"] = fitted["label"].clone()
    back = Invertd("pred", prepare, orig_keys="image", nearest_interp=True)(fitted)["pred"]
    assert back.shape == mask.shape
    both = 2 * (back * mask).sum() / (back.sum() + mask.sum())
    assert float(both) > 0.93
    assert torch.allclose(back.affine, mask.affine)


def test_tiles_hold_the_whole_picture_once() -> None:
    image, mask = picture(70, 50)
    tiled = TilePicturesd(["image", "label"], [32, 32], region_channels=2)({"image": image, "label": mask})
    assert tiled["image"].shape == (1, 32, 32, 6)
    assert tiled["region"].shape == (2, 32, 32, 6)
    assert int(tiled["region"][0].sum()) == 70 * 50
    assert int(tiled["label"].sum()) == int(mask.sum())
    shown = tiled["image"][0, :, :18, 3].as_tensor()
    assert torch.equal(shown, image[0, 32:64, 32:, 0].as_tensor())
    size = ComputeSizeTarget(2)(mask)
    fraction = SizeToFraction()(size, tiled["image"], tiled["region"])
    assert float(fraction[0, 1]) == pytest.approx(float(mask.sum()) / 3500, rel=1e-5)
