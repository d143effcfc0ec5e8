"""The untrained teacher marks the brightest voxels, as many as the size has."""

from __future__ import annotations

import pytest
import torch

from medsize.networks import Brightness
from medsize.transforms.soft_label import ShiftToSize


@pytest.mark.parametrize("scale", [50.0, -50.0], ids=["bright", "dark"])
def test_as_many_voxels_as_the_size_has_are_marked(scale: float) -> None:
    image = torch.linspace(0, 1, 1000)[torch.randperm(1000)].reshape(1, 1, 10, 10, 10)
    size = torch.tensor([[[0.9, 0.1], [0.9, 0.1]]])
    soft = ShiftToSize()(Brightness(scale=scale)(image), size)
    assert soft[:, 1].mean() == pytest.approx(0.1, abs=1e-4)
    marked = image[:, 0][soft[:, 1] > 0.5]
    assert 90 <= len(marked) <= 110
    assert (marked > 0.87).all() if scale > 0 else (marked < 0.13).all()


def test_blur_fills_a_dark_middle_and_removes_small_spots_and_leaves_other_axes_alone() -> None:
    image = torch.zeros(1, 1, 40, 40, 2)
    image[:, :, 8:20, 8:20, 0] = 1.0
    image[:, :, 12:16, 12:16, 0] = 0.0
    image[:, :, 30:32, 30:32, 0] = 1.0
    v = 144 / image[0, 0].numel()
    size = torch.tensor([[[1 - v, v], [1 - v, v]]])
    marked = ShiftToSize()(Brightness(scale=50.0, blur=[2.5, 2.5])(image), size)[0, 1] > 0.5
    assert marked[12:16, 12:16, 0].all()
    assert not marked[29:33, 29:33].any()
    assert not marked[..., 1].any()
    sharp = ShiftToSize()(Brightness(scale=50.0)(image), size)[0, 1] > 0.5
    assert not sharp[12:16, 12:16, 0].any()
    assert sharp[30:32, 30:32, 0].all()


def test_blur_keeps_an_even_image_even_up_to_its_edge() -> None:
    even = torch.full((1, 1, 9, 9, 9), 0.7)
    assert torch.allclose(Brightness(blur=[1.0, 2.0, 3.0])(even), Brightness()(even), atol=1e-4)


def test_negative_blur_is_refused() -> None:
    with pytest.raises(ValueError, match="not negative"):
        Brightness(blur=[-1.0])


def test_several_structures_are_refused() -> None:
    with pytest.raises(ValueError, match="the cohort has 2"):
        Brightness(out_channels=3)
