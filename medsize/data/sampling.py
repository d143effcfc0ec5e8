"""Sampling of scans with and without a mask in a set proportion."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import islice

import torch
from torch.utils.data import RandomSampler, Sampler, WeightedRandomSampler

from medsize.items import TrainingItem

__all__ = ["enough_epochs", "mixed_label_sampler"]


def enough_epochs(epoch_scans: int, batch_size: int, least_steps: int = 1000, usual: int = 60) -> int:
    """
    Return the number of epochs of a training: the usual one, or more, as an epoch of few scans has few steps.

    Args:
        epoch_scans: scans drawn for an epoch.
        batch_size: scans in a batch.
        least_steps: steps that the training needs. Defaults to 1000.
        usual: epochs for a large cohort. Defaults to 60.
    """
    return max(usual, math.ceil(least_steps / max(epoch_scans // batch_size, 1)))


def mixed_label_sampler(
    items: Sequence[TrainingItem],
    num_samples: int,
    mask_share: float | None = None,
    generator: torch.Generator | None = None,
    rank: int = 0,
    world_size: int = 1,
) -> Sampler[int]:
    """
    Make a sampler for cohorts in which a few scans have a mask and the others have other labels.

    Without it, masks are in so few batches that the other labels pull the network away from them.

    Args:
        items: training items; those with ``label`` have a mask.
        num_samples: number of scans to draw for an epoch, in all processes together.
        mask_share: part of them that shall have a mask, drawn with replacement, if only some items have one. Else, and
            for ``None``, all items are drawn equally often.
        generator: source of randomness, in the same state in all processes.
        rank: number of this process. Each process takes its share of the drawn scans. Defaults to 0.
        world_size: number of processes. Defaults to 1.

    Raises:
        ValueError: when ``mask_share`` is not between 0 and 1.
    """
    if mask_share is not None and not 0 < mask_share < 1:
        raise ValueError(f"mask_share is {mask_share}, expected a number between 0 and 1, or null.")
    drawn = _sampler(items, num_samples, mask_share, generator)
    return drawn if world_size == 1 else _Share(drawn, rank, world_size)


def _sampler(
    items: Sequence[TrainingItem],
    num_samples: int,
    mask_share: float | None,
    generator: torch.Generator | None,
) -> Sampler[int]:
    masked = ["label" in item for item in items]
    if mask_share is None or all(masked) or not any(masked):
        return RandomSampler(items, num_samples=num_samples, generator=generator)
    with_mask, without = sum(masked), len(items) - sum(masked)
    weights = [mask_share / with_mask if has else (1 - mask_share) / without for has in masked]
    return WeightedRandomSampler(weights, num_samples, replacement=True, generator=generator)


class _Share(Sampler[int]):
    """Every ``world_size``-th draw of a sampler; together, the batches of all processes are those of one process."""

    def __init__(self, sampler: Sampler[int], rank: int, world_size: int) -> None:
        self.sampler = sampler
        self.rank = rank
        self.world_size = world_size

    def __iter__(self) -> Iterator[int]:
        return islice(self.sampler, self.rank, len(self) * self.world_size, self.world_size)

    def __len__(self) -> int:
        return len(self.sampler) // self.world_size  # type: ignore[arg-type]
