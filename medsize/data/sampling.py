"""In which proportion scans with and without a mask are drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.utils.data import RandomSampler, Sampler, WeightedRandomSampler

__all__ = ["mixed_label_sampler"]


def mixed_label_sampler(
    items: Sequence[Mapping[str, Any]],
    num_samples: int,
    mask_share: float | None = None,
    generator: torch.Generator | None = None,
) -> Sampler[int]:
    """
    Sampler for cohorts in which a few scans have a mask and the others have other labels.

    Drawn as they come, a few masks are in so few batches that the other labels pull the network away from them.

    Args:
        items: training items; those with ``label`` have a mask.
        num_samples: scans to draw for an epoch.
        mask_share: part of them that shall have a mask, drawn with replacement, where some items have one and some
            have none. Else, and for ``None``, all items are drawn equally often.
        generator: source of randomness.

    Raises:
        ValueError: when ``mask_share`` is not between 0 and 1.
    """
    if mask_share is not None and not 0 < mask_share < 1:
        raise ValueError(f"mask_share is {mask_share}: it must lie between 0 and 1, or be null.")
    masked = ["label" in item for item in items]
    if mask_share is None or all(masked) or not any(masked):
        return RandomSampler(items, num_samples=num_samples, generator=generator)
    with_mask, without = sum(masked), len(items) - sum(masked)
    weights = [mask_share / with_mask if has else (1 - mask_share) / without for has in masked]
    return WeightedRandomSampler(weights, num_samples, replacement=True, generator=generator)
