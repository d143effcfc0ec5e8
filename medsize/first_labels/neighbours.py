"""Neighbours of points: those across an edge count less."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch

__all__ = ["mean_of_neighbours", "points_apart"]

SPREAD = 1.0
"""Standard deviation of the weight of neighbours in a slice, points of the grid."""
ACROSS = 3.0
"""Weight of the same point in the slices before and after; the point itself has 1."""
EDGE = 2.0
"""Levels of intensity between two points that make them neighbours of 0.6 of their weight."""
STEPS = [
    *(
        ((0, *step), math.exp(-(step[0] ** 2 + step[1] ** 2) / (2 * SPREAD**2)))
        for step in itertools.product((-2, -1, 0, 1, 2), repeat=2)
        if step > (0, 0)
    ),
    ((1, 0, 0), ACROSS),
]
"""Steps to half of a point's neighbours, with their weights; the others are their opposites."""


def mean_of_neighbours(labels: torch.Tensor, levels: torch.Tensor) -> torch.Tensor:
    """
    Return the weighted mean of the labels at each point and at its neighbours.

    Within a slice the weights are those of a normal distribution, and each is multiplied by exp(−d² / 2 · 2²), where d
    is the difference of the two points' levels of intensity: the root of its mean square over the channels.

    Source: Tomasi, Manduchi. "Bilateral filtering for gray and color images" 1998.

    Args:
        labels: soft labels of a scan, ``(K, Z, h, w)``.
        levels: see :func:`medsize.first_labels.intensity_levels`, ``(C, Z, h, w)``.

    Returns:
        the means, ``(K, Z, h, w)``.
    """
    total, weights = labels.clone(), torch.ones_like(labels[:1])
    shown = levels.to(labels)
    for step, weight in STEPS:
        here, there = ((slice(None), *points) for points in points_apart(step, labels.shape[1:]))
        apart = (shown[here] - shown[there]).square().mean(dim=0, keepdim=True)
        like = weight * (-apart / (2 * EDGE**2)).exp()
        for these, others in ((here, there), (there, here)):
            total[these] += like * labels[others]
            weights[these] += like
    return total / weights


def points_apart(step: Sequence[int], shape: Sequence[int]) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Return the points of a grid from which a step leads to another one, and where it leads, as slices."""
    back = [-distance for distance in step]
    here, there = (
        tuple(slice(max(0, -distance), n - max(0, distance)) for distance, n in zip(along, shape, strict=True))
        for along in (step, back)
    )
    return here, there
