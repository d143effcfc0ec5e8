"""Mean sizes of a cohort's structures."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from medsize.items import TrainingItem, size_key
from medsize.sizes.likely_sizes import WIDEST
from medsize.sizes.region import region_measure
from medsize.transforms.size_to_fraction import FULLEST

__all__ = ["mean_fractions"]

SMALLEST = 1e-4


def mean_fractions(items: Sequence[TrainingItem], region_mm: Sequence[float]) -> list[float] | None:
    """
    Return the mean fraction of the network's region that each class takes, from the stated sizes of a cohort.

    Args:
        items: training items.
        region_mm: extent of the region along each axis, mm; negative for all of an axis.

    Returns:
        K fractions that sum to 1, the background first, each structure at least 1e-4; ``None`` if no item states a
        size. A structure whose size is never known, or by presence alone, counts with 1e-4. Structures that would fill
        more than 0.7 together are scaled to that.
    """
    found = []
    for item in items:
        key = size_key(item)
        if key is None:
            continue
        low, high = torch.as_tensor(item[key])
        # The middle of wide bounds is no size: that of presence alone, half of the region.
        middle = torch.where(high <= WIDEST * low, (low + high) / 2, torch.nan)
        found.append((middle / region_measure(item, key, region_mm)).reshape(len(middle), -1))
    if not found:
        return None
    mean = torch.cat(found, dim=-1).nanmean(dim=-1).nan_to_num(SMALLEST)
    mean = (mean * FULLEST / mean.sum().clamp_min(FULLEST)).clamp_min(SMALLEST)
    return [1 - float(mean.sum()), *mean.tolist()]
