"""How large the structures of a cohort are on average."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from medsize.sizes.region import region_measure

__all__ = ["mean_fractions"]

SMALLEST = 1e-4


def mean_fractions(items: Sequence[Mapping[str, Any]], region_mm: Sequence[float]) -> list[float] | None:
    """
    Mean fraction of the region given to the network that each class takes, from the sizes that a cohort states.

    Args:
        items: training items; their ``size`` is mm² of slices ``(2, K − 1, Z)`` or mm³ of scans ``(2, K − 1)``.
        region_mm: extent of the region along each axis, mm; negative for all of an axis.

    Returns:
        K fractions that sum to 1, the background first, each structure at 1e-4 at least; ``None`` where no item
        states a size. A structure whose size is never known counts with 1e-4.
    """
    found = []
    for item in items:
        if "size" not in item:
            continue
        middle = torch.as_tensor(item["size"]).mean(dim=0)
        fractions = middle / region_measure(item, region_mm)
        if fractions.ndim == 1:
            fractions = fractions.unsqueeze(-1)
        found.append(torch.where(fractions.isfinite(), fractions, torch.nan))
    if not found:
        return None
    mean = torch.cat(found, dim=-1).nanmean(dim=-1).nan_to_num(SMALLEST).clamp_min(SMALLEST)
    return [1 - float(mean.sum()), *mean.tolist()]
