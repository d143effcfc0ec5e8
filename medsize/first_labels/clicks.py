"""Evidence of clicks and scribbles: certain points, and what grows from them to the structure's own volume."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from medsize.first_labels.growth import growth_distance
from medsize.losses.composite import IGNORE_INDEX

__all__ = ["ball_radius", "click_evidence"]

AT_THE_CLICK = 1.0
STEEPNESS = 1.5
"""Log-odds at the click, and their fall from there to where the structure has its volume."""
CERTAIN = 50.0
"""Log-odds of a labelled point."""
FAR = -1000.0
"""Least evidence, so that half precision holds it."""


def ball_radius(volume_mm3: float) -> float:
    """Return the radius in mm of a ball of this volume."""
    return float((3 * volume_mm3 / (4 * math.pi)) ** (1 / 3))


def disc_radius(area_mm2: float) -> float:
    """Return the radius in mm of a disc of this area."""
    return math.sqrt(area_mm2 / math.pi)


def click_evidence(
    image: torch.Tensor,
    scribble: torch.Tensor,
    volumes_mm3: Sequence[float],
    point_mm: tuple[float, float, float],
    possible: torch.Tensor | None = None,
) -> torch.Tensor:
    """
    Return what clicks and scribbles say about the class of each point of a grid.

    A structure grows from its labelled points, see :func:`medsize.first_labels.growth.growth_distance`, until it has
    its volume, at the distance r. It gains 1 − 1.5 · d² / r² in log-probability at the distance d. From several points,
    such as those of several lesions, it grows at once. A labelled voxel makes its point certain. A structure that is
    not labelled in this scan gains nothing, nor does one of unknown volume beyond its points.

    Args:
        image: intensities at the points of the grid, ``(C, Z, h, w)``.
        scribble: class indices, 255 where unlabelled, ``(H, W, Z)``; a point stands for ``H // h`` × ``W // w`` voxels.
        volumes_mm3: volume of each structure, NaN where unknown, K − 1 numbers.
        point_mm: distance of neighbouring points along the grid's axes, in the order ``(Z, h, w)``.
        possible: points where each class may be, bool, ``(K, Z, h, w)``. Default: anywhere.

    Returns:
        evidence ``(K, Z, h, w)``.
    """
    num_classes, grid = len(volumes_mm3) + 1, image.shape[2:]
    evidence = torch.zeros(num_classes, scribble.shape[2], *grid)
    labelled = ((scribble != IGNORE_INDEX) & (scribble < num_classes)).nonzero()
    if not len(labelled):
        return evidence
    classes = scribble[tuple(labelled.T)].long()
    row = (labelled[:, 0] * grid[0] // scribble.shape[0]).clamp_max(grid[0] - 1)
    column = (labelled[:, 1] * grid[1] // scribble.shape[1]).clamp_max(grid[1] - 1)
    for k in classes.unique().tolist():
        at = classes == k
        points = torch.stack([labelled[at, 2], row[at], column[at]], dim=1)
        if k > 0 and volumes_mm3[k - 1] > 0:  # false for NaN
            distance = growth_distance(image, points, point_mm)
            allowed = distance if possible is None else distance[possible[k]]
            reach = _reach(allowed.flatten(), volumes_mm3[k - 1], point_mm, is_flat=scribble.shape[2] == 1)
            evidence[k] = (AT_THE_CLICK - STEEPNESS * (distance / reach).square()).clamp_min(FAR)
        evidence[(k, *points.T)] = CERTAIN
    return evidence


def _reach(distances: torch.Tensor, volume_mm3: float, point_mm: Sequence[float], is_flat: bool) -> float:
    """Return the distance within which points have a volume; of less than some points, the radius of a ball or disc."""
    number = min(round(volume_mm3 / math.prod(point_mm)), len(distances))
    radius = disc_radius(volume_mm3 / point_mm[0]) if is_flat else ball_radius(volume_mm3)
    return max(float(distances.kthvalue(number).values), radius) if number > 0 else radius
