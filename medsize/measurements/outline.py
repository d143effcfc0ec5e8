"""Diameters and inner points of outlines in a plane."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.spatial import ConvexHull

__all__ = ["long_and_short", "point_within", "smooth_closed"]

MOST = 400
"""Points of an outline from which on only those of its convex hull are compared with each other."""


def long_and_short(outline: Sequence[Sequence[float]] | np.ndarray) -> tuple[float, float]:
    """
    Return the longest diameter of an outline and its width at right angles to it, as RECIST measures.

    Source: Eisenhauer et al. "New response evaluation criteria in solid tumours". European Journal of Cancer 2009.

    Args:
        outline: its points, two or three coordinates each, in mm.
    """
    flat, _ = _in_plane(np.asarray(outline, dtype=float))
    if len(flat) > MOST:
        flat = flat[ConvexHull(flat, qhull_options="QJ").vertices]  # joggled, so that points may lie on a line
    between = (flat[:, None] - flat[None]).reshape(-1, 2)
    long = between[(between**2).sum(axis=-1).argmax()]
    length = float(np.hypot(*long))
    return length, float(np.ptp(flat @ np.array([-long[1], long[0]]))) / length if length else 0.0


def point_within(outline: Sequence[Sequence[float]]) -> tuple[float, ...]:
    """
    Return a point within an outline: its centre of area, or if that is outside, the middle of the widest chord.

    Args:
        outline: its points, two or three coordinates each.
    """
    points = np.asarray(outline, dtype=float)
    flat, axes = _in_plane(points)
    x, y = flat.T
    cross = x * np.roll(y, -1) - np.roll(x, -1) * y
    if abs(cross.sum()) < 1e-9:
        return tuple(points.mean(axis=0).tolist())
    centre = np.array([((c + np.roll(c, -1)) * cross).sum() / (3 * cross.sum()) for c in (x, y)])
    ends = _chord_ends(flat, centre[1])
    inner = list(zip(ends[::2], ends[1::2], strict=False))
    if inner and not any(low <= centre[0] <= high for low, high in inner):
        low, high = max(inner, key=lambda pair: pair[1] - pair[0])
        centre[0] = (low + high) / 2
    return tuple((points.mean(axis=0) + centre @ axes).tolist())


def smooth_closed(points: Sequence[Sequence[float]], per_segment: int = 8) -> np.ndarray:
    """Return points on a smooth closed curve through the given ones: a periodic cubic spline over the chords."""
    from scipy.interpolate import CubicSpline

    closed = np.asarray([*points, points[0]], dtype=float)
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(closed, axis=0), axis=1))])
    if len(points) < 4 or (np.diff(along) <= 0).any():
        return closed[:-1]
    return CubicSpline(along, closed, bc_type="periodic")(np.linspace(0, along[-1], per_segment * len(points) + 1)[:-1])


def _in_plane(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the points in two coordinates of their plane, from their mean, and the directions of both."""
    offset = points - points.mean(axis=0)
    axes = np.eye(2) if points.shape[1] == 2 else np.linalg.svd(offset, full_matrices=False)[2][:2]
    return offset @ axes.T, axes


def _chord_ends(flat: np.ndarray, y: float) -> list[float]:
    """Return the places, from low to high, at which a line of constant y crosses the outline."""
    a, b = flat, np.roll(flat, -1, axis=0)
    crossed = (a[:, 1] > y) != (b[:, 1] > y)
    a, b = a[crossed], b[crossed]
    return sorted((a[:, 0] + (y - a[:, 1]) / (b[:, 1] - a[:, 1]) * (b[:, 0] - a[:, 0])).tolist())
