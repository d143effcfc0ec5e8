"""A picture is segmented row by row as MONAI segments it in memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from monai.data import MetaTensor
from monai.inferers import SliceInferer
from monai.transforms import ScaleIntensityRangePercentiles, Spacing
from torch import nn

from medsize.inference.large_picture import (
    Axis,
    Window,
    brightness_range,
    fitted_picture,
    mask_summary,
    segment_rows,
    spaced_blocks,
)
from medsize.metrics.reliability import structure_facts
from medsize.scans.pictures.rows import TILE, TiffRows, write_tiles
from medsize.transforms import FitToWindow


def smooth_noise(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    coarse = torch.from_numpy(rng.random((1, shape[2], shape[0] // 20, shape[1] // 20)))
    fine = nn.functional.interpolate(coarse, shape[:2], mode="bicubic")[0].permute(1, 2, 0).numpy()
    return (np.clip(fine, 0, 1) * 255).astype(np.uint8)


@pytest.mark.parametrize(
    ("shape", "spacing", "layout"),
    [
        ((420, 331, 3), 1.0, {"tile": (128, 64), "compression": "zlib"}),
        ((420, 331, 1), 2.7, {"rowsperstrip": 7}),
        ((203, 157, 3), 0.8, {"tile": (64, 64), "planarconfig": "separate"}),
        ((50, 331, 3), 1.0, {"rowsperstrip": 60}),
    ],
)
def test_a_mask_of_rows_is_that_of_the_whole_picture(
    tmp_path: Path, shape: tuple[int, ...], spacing: float, layout: dict
) -> None:
    pixels = smooth_noise(np.random.default_rng(0), shape)
    stored = np.moveaxis(pixels, -1, 0) if "planarconfig" in layout else pixels
    photometric = "rgb" if shape[2] == 3 else "minisblack"
    tifffile.imwrite(tmp_path / "picture.tif", stored, photometric=photometric, **layout)
    kernels = {"kernel_size": 5, "padding": 2}
    network = nn.Sequential(nn.Conv2d(shape[2], 8, **kernels), nn.ReLU(), nn.Conv2d(8, 4, **kernels)).eval()

    whole = MetaTensor(torch.from_numpy(pixels).float().permute(2, 1, 0)[..., None], affine=torch.eye(4))
    respace = Spacing((spacing, spacing, -1))
    seen = respace(whole)
    scaled = ScaleIntensityRangePercentiles(0.5, 99.5, 0.0, 1.0, clip=True)(seen)
    with torch.no_grad():
        logits = SliceInferer(spatial_dim=2, roi_size=(64, 56), overlap=0.5, mode="gaussian")(scaled[None], network)
    seen.set_array(logits[0].softmax(dim=0))
    expected = respace.inverse(seen).argmax(dim=0)[..., 0].T.numpy()

    height, width = shape[:2]
    x, y = (Axis.spaced(length, spacing) for length in (width, height))
    with TiffRows(tmp_path / "picture.tif") as rows:
        window = Window(network, shape[2], (64, 56), 0.5)
        brightness = brightness_range(spaced_blocks(rows, shape[2], x, y), rows.dtype)
        seen = spaced_blocks(rows, shape[2], x, y)
        strips = segment_rows(seen, window, x, y, (width, height), brightness, TILE)
        write_tiles(strips, (height, width), tmp_path / "mask.tif", (0.25, 0.25))
    with tifffile.TiffFile(tmp_path / "mask.tif") as file:
        assert file.pages[0].is_tiled
        mask = file.asarray()
    with TiffRows(tmp_path / "mask.tif") as rows:
        summary = mask_summary(rows, 4, every=9)
    assert (mask != expected).mean() < 1e-3
    assert len(np.unique(mask)) > 2
    np.testing.assert_array_equal(summary.counts, np.bincount(mask.ravel(), minlength=4))
    assert summary.at_edge == {k for k in range(4) if structure_facts(mask == k, 1.0).at_edge}
    assert summary.at_edge
    np.testing.assert_array_equal(summary.small, mask[::9, ::9])


@pytest.mark.parametrize("shape", [(203, 157, 3), (40, 31, 1)])
def test_a_picture_is_fitted_to_the_window_as_in_memory(tmp_path: Path, shape: tuple[int, ...]) -> None:
    pixels = smooth_noise(np.random.default_rng(0), shape)
    tifffile.imwrite(tmp_path / "picture.tif", pixels, tile=(64, 64))
    fit, whole = FitToWindow((64, 64)), torch.from_numpy(pixels).float().permute(2, 1, 0)[..., None]
    expected = fit(MetaTensor(whole, affine=torch.eye(4)))
    with TiffRows(tmp_path / "picture.tif") as rows:
        x, y = (Axis.fitted(m, n) for m, n in zip(shape[1::-1], expected.shape[1:3], strict=True))
        found = fitted_picture(rows, shape[2], x, y)
    np.testing.assert_allclose(found, expected[..., 0].permute(0, 2, 1).numpy(), atol=0.02)
