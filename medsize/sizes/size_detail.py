"""Sizes with less detail: the mean of the cohort, or only the presence of structures."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from medsize.items import TrainingItem, size_key
from medsize.sizes.region import fit_into_region, region_measure

__all__ = ["SIZE_DETAILS", "with_size_detail"]

SIZE_DETAILS = ("given", "cohort mean", "tags")


def with_size_detail(items: Sequence[TrainingItem], size_detail: str, region_mm: Sequence[float]) -> list[TrainingItem]:
    """
    Replace the sizes of training items by less detailed ones, for comparisons.

    An absent structure (size 0) stays absent, and an unknown size stays unknown.

    Args:
        items: training items; those with a size all have ``volume_mm3``, or all ``slice_area_mm2``.
        size_detail: {``"given"``, ``"cohort mean"``, ``"tags"``}. ``"given"`` keeps the sizes. ``"cohort mean"`` gives
            every structure its mean over the slices (scans) of the cohort that show it. ``"tags"`` gives equal parts of
            the region to the background and every present structure. In the last two, structures fill at most 0.7 of
            the region together.
        region_mm: extent of the region given to the network along each axis, mm; negative for all of an axis.

    Returns:
        new items.

    Raises:
        ValueError: when ``size_detail`` is not one of these.
    """
    if size_detail not in SIZE_DETAILS:
        raise ValueError(f"size_detail is '{size_detail}', expected one of {', '.join(SIZE_DETAILS)}.")
    sized = [_as_columns(item[key]) for item in items if (key := size_key(item))]
    if size_detail == "given" or not sized:
        return list(items)
    known = torch.cat([size.mean(dim=0) for size in sized], dim=-1)
    mean = torch.where(known.isfinite() & (known > 0), known, torch.nan).nanmean(dim=-1, keepdim=True)
    coarse = []
    for item in items:
        if key := size_key(item):
            size = _as_columns(item[key])
            present = (size[1] > 0) & size[1].isfinite()
            if size_detail == "tags":
                value = region_measure(item, key, region_mm) / (1 + present.sum(dim=0, keepdim=True))
            else:
                value = mean
            shape = torch.as_tensor(item[key]).shape
            item = item.copy()
            item[key] = torch.where(present, value, size).reshape(shape)
            item[key] = fit_into_region(item, key, region_mm)
        coarse.append(item)
    return coarse


def _as_columns(size: torch.Tensor) -> torch.Tensor:
    """Return a size as ``(2, K − 1, Z)``, with Z = 1 for the size of a whole scan."""
    size = torch.as_tensor(size, dtype=torch.float64)
    return size.reshape(*size.shape[:2], -1)
