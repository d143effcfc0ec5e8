"""Simulated clicks in scanner mm, from masks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import nibabel
import numpy as np

from medsize.sizes.mask_sizes import read_mask
from medsize.transforms import ClickFromMask

__all__ = ["clicks_in"]


def clicks_in(mask_file: Path, class_names: Sequence[str]) -> dict[str, list[Sequence[float]]]:
    """
    Return the place deepest inside each structure of a mask, scanner mm (RAS+), as a data list has clicks.

    Args:
        mask_file: the mask.
        class_names: its classes, the background first.
    """
    clicked = np.asarray(ClickFromMask(radius=0, include_background=False)(read_mask(mask_file))[0])
    affine = nibabel.load(mask_file).affine
    return {
        name: [[round(float(x), 2) for x in (affine @ [*np.argwhere(clicked == index)[0], 1])[:3]]]
        for index, name in enumerate(class_names[1:], start=1)
        if (clicked == index).any()
    }
