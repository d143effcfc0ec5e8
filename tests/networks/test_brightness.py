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


def test_several_structures_are_refused() -> None:
    with pytest.raises(ValueError, match="the cohort has 2"):
        Brightness(out_channels=3)
