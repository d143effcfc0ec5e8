"""Growth from points of a scan: distances that edges and other intensities make long."""

from __future__ import annotations

import itertools

import numpy as np
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import dijkstra

from medsize.first_labels.neighbours import points_apart

__all__ = ["growth_distance"]

EDGE = 8.0
"""Lengthening of a step by the change of intensity along it, for each standard deviation of the scan."""
UNLIKE = 8.0
"""The same, by the difference to the intensity at the points it starts from."""
NEIGHBOURS = [step for step in itertools.product((-1, 0, 1), repeat=3) if step > (0, 0, 0)]
"""Steps to half of a point's 26 neighbours; the others are their opposites."""


def growth_distance(
    intensities: torch.Tensor, points: torch.Tensor, point_mm: tuple[float, float, float]
) -> torch.Tensor:
    """
    Return the length of the shortest path from points to each point of a scan.

    A step of d mm has the length d · (1 + 8 · |Δ| + 8 · δ). Δ is the change of intensity along it, and δ the mean
    difference of its ends to the intensity at the points that paths start from: the mean of the medians of 3 × 3 points
    around each within its slice. Both are in standard deviations of the scan, of several channels the mean. In a scan
    of one intensity it is the distance in mm, along the 26 directions.

    Source: geodesic distances, Criminisi, Sharp, Blake, "GeoS: Geodesic Image Segmentation", 2008.

    Args:
        intensities: ``(C, Z, h, w)``.
        points: their indices, ``(N, 3)``, N ≥ 1.
        point_mm: distance of neighbouring points along the axes ``(Z, h, w)``, mm.

    Returns:
        lengths in mm, ``(Z, h, w)``.
    """
    values = intensities.double().flatten(1).numpy()
    values = values / np.maximum(values.std(axis=1, keepdims=True), 1e-9)
    shape = tuple(intensities.shape[1:])
    starts = np.ravel_multi_index(tuple(points.T.numpy()), shape)
    around = np.median(values[:, _around(points.numpy(), shape)], axis=2)
    unlike = np.abs(values - around.mean(axis=1, keepdims=True)).mean(axis=0)
    index = np.arange(values.shape[1], dtype=np.int32).reshape(shape)
    sources, targets, lengths = [], [], []
    for step in NEIGHBOURS:
        here, there = points_apart(step, shape)
        a, b = index[here].ravel(), index[there].ravel()
        mm = float(np.linalg.norm(np.multiply(step, point_mm)))
        change = np.abs(values[:, a] - values[:, b]).mean(axis=0)
        sources.append(a)
        targets.append(b)
        lengths.append(mm * (1 + EDGE * change + UNLIKE * (unlike[a] + unlike[b]) / 2))
    ends = np.concatenate(sources), np.concatenate(targets)
    graph = coo_array((np.concatenate(lengths), ends), shape=(index.size, index.size)).tocsr()
    found = dijkstra(graph, directed=False, indices=np.unique(starts), min_only=True)
    return torch.from_numpy(found.reshape(shape)).float()


def _around(points: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return the flat indices of 3 × 3 points around each point within its slice, ``(N, 9)``; borders repeat."""
    steps = np.array(list(itertools.product((0,), (-1, 0, 1), (-1, 0, 1))))
    near = (points[:, None] + steps).clip(0, np.array(shape) - 1)
    return np.ravel_multi_index(tuple(np.moveaxis(near, -1, 0)), shape)
