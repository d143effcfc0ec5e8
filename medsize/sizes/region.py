"""Region of a scan that the network is fed, and the sizes that fit into it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from medsize.items import SizeKey, TrainingItem, is_per_slice
from medsize.scans.space.scan_header import scan_header
from medsize.transforms.size_to_fraction import FULLEST

__all__ = ["fit_into_region", "region_measure", "total_size"]


def region_measure(item: TrainingItem, key: SizeKey, region_mm: Sequence[float]) -> float:
    """
    Return the size of the region in the unit of a key: mm² for ``slice_area_mm2``, mm³ for ``volume_mm3``.

    Args:
        item: a scan.
        key: key of its size.
        region_mm: extent of the region along each axis, mm; negative for all of an axis.
    """
    axes = 2 if is_per_slice(key) else 3
    if min(region_mm[:axes]) >= 0:
        return math.prod(region_mm[:axes])
    zooms, shape = scan_header(item["image"])
    extents = [n * zoom for n, zoom in zip(shape, zooms, strict=True)]
    return math.prod(mm if mm >= 0 else extents[axis] for axis, mm in enumerate(region_mm[:axes]))


def total_size(size: torch.Tensor) -> float:
    """Return the low end of all structures together; of sizes of slices, in the slice that shows most of them."""
    return float(torch.as_tensor(size)[0].sum(dim=0).max())


def fit_into_region(item: TrainingItem, key: SizeKey, region_mm: Sequence[float]) -> torch.Tensor:
    """
    Scale the sizes of a scan alike, such that their low ends fill at most 0.7 of the region together.

    Simulated sizes may be larger than the part of the scan that the network sees.

    Args:
        item: a scan.
        key: key of its size.
        region_mm: see :func:`region_measure`.

    Returns:
        the sizes, float64, in the shape that they have in the item.
    """
    size = torch.as_tensor(item[key], dtype=torch.float64)
    together = size[0].sum(dim=0)
    largest = FULLEST * region_measure(item, key, region_mm)
    return size * torch.where(together > largest, largest / together, 1.0)
