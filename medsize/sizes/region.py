"""The region of a scan that is given to the network, and what it can hold."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import nibabel
import torch

__all__ = ["FULLEST", "fit_into_region", "region_measure"]

FULLEST = 0.7
"""Part of the region that structures may fill together: a random zoom by 10 % along three axes leaves 0.73 of it."""


def region_measure(item: Mapping[str, Any], region_mm: Sequence[float]) -> float:
    """mm² of the region for an item with sizes of slices, mm³ for one with the size of the whole scan."""
    axes = 2 if torch.as_tensor(item["size"]).ndim == 3 else 3
    if min(region_mm[:axes]) >= 0:
        return math.prod(region_mm[:axes])
    image = nibabel.load(item["image"])
    extents = [n * float(zoom) for n, zoom in zip(image.shape, image.header.get_zooms(), strict=False)]
    return math.prod(mm if mm >= 0 else extents[axis] for axis, mm in enumerate(region_mm[:axes]))


def fit_into_region(item: Mapping[str, Any], region_mm: Sequence[float]) -> torch.Tensor:
    """
    The sizes of an item, all scaled alike where their low ends would fill more than 0.7 of the region together.

    Sizes that were made, rather than measured, may be larger than what the network is shown.

    Args:
        item: its ``size`` is mm² of slices ``(2, K − 1, Z)`` or mm³ of a scan ``(2, K − 1)``.
        region_mm: extent of the region along each axis, mm; negative for all of an axis.

    Returns:
        ``size`` in float64, of its shape.
    """
    size = torch.as_tensor(item["size"], dtype=torch.float64)
    together = size[0].sum(dim=0)
    largest = FULLEST * region_measure(item, region_mm)
    return size * torch.where(together > largest, largest / together, 1.0)
