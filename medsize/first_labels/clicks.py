"""Evidence of clicks and scribbles: certain points, and a ball of the structure's own volume around them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from scipy.ndimage import distance_transform_edt, label

from medsize.losses.composite import IGNORE_INDEX

__all__ = ["ball_radius", "click_evidence"]

AT_THE_CLICK = 1.0
STEEPNESS = 1.5
"""Log-odds at the click, and their fall at √2 radii from it: within the ball a structure gains, outside it loses."""
CERTAIN = 50.0
"""Log-odds of a labelled point."""
TOUCHING = [[[1] * 3] * 3] * 3
"""Neighbours of a voxel, across edges and corners, too."""
FAR = -1000.0
"""Least evidence, so that half precision holds it."""


def ball_radius(volume_mm3: float) -> float:
    """Return the radius in mm of a ball of this volume."""
    return float((3 * volume_mm3 / (4 * math.pi)) ** (1 / 3))


def disc_radius(area_mm2: float) -> float:
    """Return the radius in mm of a disc of this area."""
    return math.sqrt(area_mm2 / math.pi)


def click_evidence(
    scribble: torch.Tensor, volumes_mm3: Sequence[float], grid: Sequence[int], point_mm: Sequence[float]
) -> torch.Tensor:
    """
    Return what clicks and scribbles say about the class of each point of a grid.

    A structure with a click gains 1 − 1.5 · d² / 2r² in log-probability: d is the distance to its nearest labelled
    voxel, r the radius of a ball of the structure's own volume, in a scan of one slice of a disc of its area. Clicks
    that do not touch, such as those of several lesions, share it equally. A labelled voxel makes its point certain. A
    structure that is not labelled in this scan gains nothing, nor does one of unknown volume beyond its points.

    Args:
        scribble: class indices, 255 where unlabelled, ``(H, W, Z)``.
        volumes_mm3: volume of each structure, NaN where unknown, K − 1 numbers.
        grid: points of the grid, ``(h, w)``; each stands for ``H // h`` × ``W // w`` voxels.
        point_mm: distance of neighbouring points along the grid's axes, in the order ``(Z, h, w)``.

    Returns:
        evidence ``(K, Z, h, w)``.
    """
    num_classes = len(volumes_mm3) + 1
    evidence = torch.zeros(num_classes, scribble.shape[2], *grid)
    labelled = ((scribble != IGNORE_INDEX) & (scribble < num_classes)).nonzero()
    if not len(labelled):
        return evidence
    classes = scribble[tuple(labelled.T)].long()
    row = (labelled[:, 0] * grid[0] // scribble.shape[0]).clamp_max(grid[0] - 1)
    column = (labelled[:, 1] * grid[1] // scribble.shape[1]).clamp_max(grid[1] - 1)
    for k in classes.unique().tolist():
        at = classes == k
        points = (labelled[at, 2], row[at], column[at])
        if k > 0 and volumes_mm3[k - 1] > 0:  # false for NaN
            elsewhere = torch.ones(evidence.shape[1:], dtype=torch.bool)
            elsewhere[points] = False
            distance = torch.from_numpy(distance_transform_edt(elsewhere.numpy(), sampling=list(point_mm))).float()
            _, pieces = label(scribble.numpy() == k, structure=TOUCHING)
            volume = volumes_mm3[k - 1] / pieces
            radius = disc_radius(volume / point_mm[0]) if scribble.shape[2] == 1 else ball_radius(volume)
            ball = AT_THE_CLICK - STEEPNESS * distance.square() / (2 * radius**2)
            evidence[k] = ball.clamp_min(FAR)
        evidence[(k, *points)] = CERTAIN
    return evidence
