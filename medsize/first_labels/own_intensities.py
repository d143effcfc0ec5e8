"""Intensities of a scan of its own: what its structures look like in it, whatever they look like in others."""

from __future__ import annotations

import math

import torch
from torch.nn import functional as F

from medsize.first_labels.features import gaussian

__all__ = ["explained_by_levels", "intensity_levels", "level_likelihood"]

LEVELS = 16
SPREAD = 1.0
"""Standard deviation of the blur over levels: neighbouring ones look alike."""
UNSEEN = 0.5
"""Count that is added to each level of each class."""


def intensity_levels(image: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """
    Return the level of each point of a scan's grid: one of 16, each as frequent as the others.

    Args:
        image: ``(C, H, W, Z)``.
        size: points of the grid within a slice, ``(h, w)``.

    Returns:
        levels, uint8, ``(C, Z, h, w)``.
    """
    points = F.interpolate(image.movedim(-1, 1).float(), size=list(size), mode="area")
    parts = torch.linspace(0, 1, LEVELS + 1)[1:-1].to(points)
    return torch.stack([_level(channel.contiguous(), parts) for channel in points]).to(torch.uint8)


def level_likelihood(levels: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """
    Return the log-likelihood of a scan's intensities in each class, as its labels tell, as the mean over the channels.

    Source: Van Leemput et al. "Automated model-based tissue classification of MR images of the brain" 1999 (intensities
    of each scan from its own labels, there normal distributions).

    Args:
        levels: see :func:`intensity_levels`, ``(C, Z, h, w)``.
        labels: soft labels of the scan, ``(K, Z, h, w)``.

    Returns:
        ln p of each point's level, ``(K, Z, h, w)``.
    """
    kernel = gaussian(SPREAD, labels.device).to(labels).view(1, 1, -1)
    radius = kernel.shape[-1] // 2
    likelihood = torch.zeros_like(labels)
    for channel in levels.long():
        counts = _counts(channel, labels)
        blurred = F.conv1d(F.pad(counts.unsqueeze(1), (radius, radius), mode="replicate"), kernel).squeeze(1) + UNSEEN
        likelihood += (blurred / blurred.sum(dim=1, keepdim=True)).log()[:, channel]
    return likelihood / len(levels)


def explained_by_levels(levels: torch.Tensor, labels: torch.Tensor) -> float:
    """
    Return how much of the classes a scan's intensities explain: their mutual information over the classes' entropy.

    Args:
        levels: see :func:`intensity_levels`, ``(C, Z, h, w)``.
        labels: soft labels of the scan, ``(K, Z, h, w)``.

    Returns:
        0 to 1, the mean over the channels; NaN where the labels hold one class alone.
    """
    classes = labels.double() / labels.double().sum()
    entropy = float(torch.special.entr(classes.flatten(1).sum(dim=1)).sum())
    if entropy < 1e-4:
        return math.nan
    found = []
    for channel in levels.long():
        joint = _counts(channel, classes)
        apart = torch.special.entr(joint.sum(dim=0)).sum() + entropy - torch.special.entr(joint).sum()
        found.append(float(apart) / entropy)
    return sum(found) / len(found)


def _counts(channel: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the sum of each class's labels ``(K, Z, h, w)`` at each level, ``(K, 16)``."""
    return labels.new_zeros(len(labels), LEVELS).index_add_(1, channel.flatten(), labels.flatten(1))


def _level(points: torch.Tensor, parts: torch.Tensor) -> torch.Tensor:
    """Return the number of quantiles below each point."""
    ordered = points.flatten().sort().values
    return torch.bucketize(points, ordered[(parts * (len(ordered) - 1)).round().long()])
