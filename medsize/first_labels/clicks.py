"""Evidence of clicks and scribbles: certain points, and what grows from them to the structure's own volume."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from medsize.first_labels.growth import Growth
from medsize.losses.composite import IGNORE_INDEX

__all__ = ["GrowingScan", "ball_radius", "labelled_points"]

AT_THE_CLICK = 1.0
STEEPNESS = 1.5
"""Log-odds at the click, and their fall from there to where the structure has its volume."""
CERTAIN = 50.0
"""Log-odds of a labelled point."""
FAR = -1000.0
"""Least evidence, so that half precision holds it."""
CORE = 0.3
"""Part of a structure's volume that is its core, in labels that were found before."""


def ball_radius(volume_mm3: float) -> float:
    """Return the radius in mm of a ball of this volume."""
    return float((3 * volume_mm3 / (4 * math.pi)) ** (1 / 3))


def disc_radius(area_mm2: float) -> float:
    """Return the radius in mm of a disc of this area."""
    return math.sqrt(area_mm2 / math.pi)


def labelled_points(scribble: torch.Tensor, num_classes: int, grid: Sequence[int]) -> dict[int, torch.Tensor]:
    """
    Return the points of a grid that clicks and scribbles label.

    Args:
        scribble: class indices, 255 where unlabelled, ``(H, W, Z)``.
        num_classes: K, with the background.
        grid: points of a slice along both axes, ``(h, w)``; a point stands for ``H // h`` × ``W // w`` voxels.

    Returns:
        indices ``(N, 3)`` in ``(Z, h, w)`` by class, of the classes that are labelled.
    """
    labelled = ((scribble != IGNORE_INDEX) & (scribble < num_classes)).nonzero()
    classes = scribble[tuple(labelled.T)].long()
    row = (labelled[:, 0] * grid[0] // scribble.shape[0]).clamp_max(grid[0] - 1)
    column = (labelled[:, 1] * grid[1] // scribble.shape[1]).clamp_max(grid[1] - 1)
    points = torch.stack([labelled[:, 2], row, column], dim=1)
    return {k: points[classes == k] for k in classes.unique().tolist()}


@dataclass(frozen=True)
class GrowingScan:
    """A scan in which structures grow to their volumes."""

    image: torch.Tensor
    """Intensities at the points of the grid, ``(C, Z, h, w)``."""
    points: Mapping[int, torch.Tensor]
    """Labelled points of each class, see :func:`labelled_points`."""
    volumes_mm3: Sequence[float]
    """Volume of each structure, NaN where unknown, K − 1 numbers."""
    point_mm: tuple[float, float, float]
    """Distance of neighbouring points along the axes ``(Z, h, w)``, mm."""
    possible: torch.Tensor | None = None
    """Points where each class may be, bool, ``(K, Z, h, w)``. Default: anywhere."""

    def evidence(self, labels: torch.Tensor | None = None) -> torch.Tensor:
        """
        Return what growth says about the class of each point of the grid.

        A structure grows from its labelled points, see :class:`medsize.first_labels.growth.Growth`, until it has its
        volume, at the distance r. It gains 1 − 1.5 · d² / r² in log-probability at the distance d. From several
        points, such as those of several lesions, it grows at once. A labelled voxel makes its point certain. A
        structure of unknown volume gains nothing beyond its points.

        With ``labels`` of a round before, the core of a structure is known: its likeliest points, three tenths of its
        volume. A structure that is not labelled grows from it. The intensity of what grows is then the median of the
        core: that around a click may be of a vessel or of a cyst. Without ``labels``, a structure that is not labelled
        gains nothing.

        Args:
            labels: soft labels of the scan, ``(K, Z, h, w)``. Default: none yet.

        Returns:
            evidence ``(K, Z, h, w)``.
        """
        evidence = torch.zeros(len(self.volumes_mm3) + 1, *self.image.shape[1:])
        growth: Growth | None = None
        for k, volume_mm3 in enumerate(self.volumes_mm3, start=1):
            if not volume_mm3 > 0:  # NaN, too
                continue
            core = None if labels is None else self._core(labels[k], volume_mm3)
            starts = self.points.get(k, core)
            if starts is None:
                continue
            growth = growth or Growth(self.image, self.point_mm)
            typical = None if core is None else self.image[(slice(None), *core.T)].median(dim=1).values
            distance = growth.distance(starts, typical)
            reach = self._reach(distance, k, k in self.points)
            evidence[k] = (AT_THE_CLICK - STEEPNESS * (distance / reach).square()).clamp_min(FAR)
        for k, points in self.points.items():
            evidence[(k, *points.T)] = CERTAIN
        return evidence

    def _number(self, volume_mm3: float) -> int:
        """Return the number of points that have a volume."""
        return round(volume_mm3 / math.prod(self.point_mm))

    def _core(self, label: torch.Tensor, volume_mm3: float) -> torch.Tensor:
        """Return the likeliest points of a structure, ``(N, 3)``."""
        number = min(max(1, int(CORE * self._number(volume_mm3))), label.numel())
        return torch.stack(torch.unravel_index(label.flatten().topk(number).indices, label.shape), dim=1)

    def _reach(self, distance: torch.Tensor, k: int, is_labelled: bool) -> float:
        """
        Return the distance within which a structure has its volume.

        From labelled points it is at least the radius of a ball or disc of this volume.
        """
        volume_mm3 = self.volumes_mm3[k - 1]
        allowed = distance.flatten() if self.possible is None else distance[self.possible[k]]
        number = min(self._number(volume_mm3), len(allowed))
        is_flat = self.image.shape[1] == 1
        radius = disc_radius(volume_mm3 / self.point_mm[0]) if is_flat else ball_radius(volume_mm3)
        if number == 0:
            return radius
        return max(float(allowed.kthvalue(number).values), radius if is_labelled else min(self.point_mm))
