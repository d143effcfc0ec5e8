"""Areas and voxels that polygons enclose in a slice."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.path import Path as Polygon

__all__ = ["contour_area", "contour_mask"]


def contour_area(polygons: Sequence[np.ndarray]) -> float:
    """
    Compute the area that the polygons of a slice enclose.

        A = Σ_p (−1)^{d_p} · ½ · |Σ_n (x_n · y_{n+1} − x_{n+1} · y_n)|

    where d_p is the number of other polygons around the polygon p (even-odd rule: a polygon within another is a hole,
    one within a hole is filled). The inner sum is the shoelace formula, which also leaves out a hole that one polygon
    reaches through a slit ("keyhole"). Polygons may lie apart or within each other, but must not cross.

    Args:
        polygons: each of shape ``(N, 2)``; the last vertex is joined to the first.

    Returns:
        the area in the square of the vertices' unit. The volume of a structure in mm³ is the sum of its slices' areas
        in mm² times the distance of the slices in mm.
    """
    area = 0.0
    for number, polygon in enumerate(polygons):
        others = (other for i, other in enumerate(polygons) if i != number)
        # By most vertices rather than one: contours may touch.
        depth = sum(Polygon(other).contains_points(polygon).mean() > 0.5 for other in others)
        x, y = (polygon - polygon[0]).T
        area += (-1) ** depth * abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2
    return area


def contour_mask(polygons: Sequence[np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    """
    Mark the voxels of a slice whose centres the polygons enclose, by the even-odd rule.

    Args:
        polygons: each of shape ``(N, 2)``, in voxels along the two axes; voxel centres are at whole numbers.
        shape: voxels along the two axes.

    Returns:
        a boolean array of that shape.
    """
    inside = np.zeros(shape, dtype=bool)
    for polygon in polygons:
        low = np.clip(np.floor(polygon.min(axis=0)), 0, shape).astype(int)
        high = np.clip(np.ceil(polygon.max(axis=0)) + 1, 0, shape).astype(int)
        box = np.stack(np.meshgrid(*map(np.arange, low, high), indexing="ij"), axis=-1)
        # Centres exactly on the slit of a "keyhole" would count as outside: just beside it they are inside.
        probes = box.reshape(-1, 2) + np.array([1e-6, 1.6e-6])
        inside[low[0] : high[0], low[1] : high[1]] ^= Polygon(polygon).contains_points(probes).reshape(box.shape[:2])
    return inside
