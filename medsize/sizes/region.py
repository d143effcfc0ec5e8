"""The region of a scan that is given to the network, and what it can hold."""

from __future__ import annotations

import math
from collections.abc import Sequence

import nibabel
import torch

from medsize.items import SizeKey, TrainingItem, is_per_slice

__all__ = ["FULLEST", "fit_into_region", "region_measure"]

FULLEST = 0.7
"""Part of the region that structures may fill together: a random zoom by 10 % along three axes leaves 0.73 of it."""


def region_measure(item: TrainingItem, key: SizeKey, region_mm: Sequence[float]) -> float:
    """
    Return the size of the region, in the unit of a size: mm² for ``slice_area_mm2``, mm³ for ``volume_mm3``.

    Args:
        item: a scan.
        key: of its size.
        region_mm: extent of the region along each axis, mm; negative for all of an axis.
    """
    axes = 2 if is_per_slice(key) else 3
    if min(region_mm[:axes]) >= 0:
        return math.prod(region_mm[:axes])
    header = nibabel.load(item["image"]).header
    extents = [n * float(zoom) for n, zoom in zip(header.get_data_shape(), header.get_zooms(), strict=False)]
    return math.prod(mm if mm >= 0 else extents[axis] for axis, mm in enumerate(region_mm[:axes]))


def fit_into_region(item: TrainingItem, key: SizeKey, region_mm: Sequence[float]) -> torch.Tensor:
    """
    The sizes of a scan, all scaled alike where their low ends would fill more than 0.7 of the region together.

    Sizes that were made, rather than measured, may be larger than what the network is shown.

    Args:
        item: a scan.
        key: of its size.
        region_mm: see :func:`region_measure`.

    Returns:
        the size in float64, of its shape.
    """
    size = torch.as_tensor(item[key], dtype=torch.float64)
    together = size[0].sum(dim=0)
    largest = FULLEST * region_measure(item, key, region_mm)
    return size * torch.where(together > largest, largest / together, 1.0)
