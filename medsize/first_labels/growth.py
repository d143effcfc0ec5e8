"""Growth from points of a scan: distances that edges and other intensities make long."""

from __future__ import annotations

import itertools

import numpy as np
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import dijkstra

from medsize.first_labels.neighbours import points_apart

__all__ = ["Growth"]

EDGE = 8.0
"""Lengthening of a step by the change of intensity along it, for each standard deviation of the scan."""
UNLIKE = 8.0
"""The same, by the difference to the intensity of what grows."""
NEIGHBOURS = [step for step in itertools.product((-1, 0, 1), repeat=3) if step > (0, 0, 0)]
"""Steps to half of a point's 26 neighbours; the others are their opposites."""


class Growth:
    """
    Growth from points of a scan: the lengths of the shortest paths from them.

    A step of d mm has the length d · (1 + 8 · |Δ| + 8 · δ). Δ is the change of intensity along it, and δ the mean
    difference of its ends to the intensity of what grows. Both are in standard deviations of the scan, of several
    channels the mean. In a scan of one intensity it is the distance in mm, along the 26 directions.

    Source: geodesic distances, Criminisi, Sharp, Blake, "GeoS: Geodesic Image Segmentation", 2008.

    Args:
        intensities: ``(C, Z, h, w)``.
        point_mm: distance of neighbouring points along the axes ``(Z, h, w)``, mm.
    """

    def __init__(self, intensities: torch.Tensor, point_mm: tuple[float, float, float]) -> None:
        values = intensities.double().flatten(1).numpy()
        self.deviation = np.maximum(values.std(axis=1, keepdims=True), 1e-9)
        self.values = values / self.deviation
        self.shape = tuple(intensities.shape[1:])
        index = np.arange(self.values.shape[1], dtype=np.int32).reshape(self.shape)
        steps = []
        for step in NEIGHBOURS:
            here, there = points_apart(step, self.shape)
            a, b = index[here].ravel(), index[there].ravel()
            mm = float(np.linalg.norm(np.multiply(step, point_mm)))
            change = np.abs(self.values[:, a] - self.values[:, b]).mean(axis=0)
            steps.append((a, b, np.full(len(a), mm), mm * (1 + EDGE * change)))
        self.sources, self.targets, self.mm, self.lengths = (np.concatenate(part) for part in zip(*steps, strict=True))

    def distance(self, points: torch.Tensor, typical: torch.Tensor | None = None) -> torch.Tensor:
        """
        Return the length of the shortest path from points to each point of the scan.

        Args:
            points: their indices, ``(N, 3)``, N ≥ 1.
            typical: intensity of what grows, ``(C,)``. Default: that at the points, the mean of the medians of 3 × 3
                points around each within its slice.

        Returns:
            lengths in mm, ``(Z, h, w)``.
        """
        if typical is None:
            around = np.median(self.values[:, _around(points.numpy(), self.shape)], axis=2)
            like = around.mean(axis=1, keepdims=True)
        else:
            like = typical.double().numpy()[:, None] / self.deviation
        unlike = np.abs(self.values - like).mean(axis=0)
        lengths = self.lengths + self.mm * UNLIKE * (unlike[self.sources] + unlike[self.targets]) / 2
        size = self.values.shape[1]
        graph = coo_array((lengths, (self.sources, self.targets)), shape=(size, size)).tocsr()
        starts = np.unique(np.ravel_multi_index(tuple(points.T.numpy()), self.shape))
        found = dijkstra(graph, directed=False, indices=starts, min_only=True)
        return torch.from_numpy(found.reshape(self.shape)).float()


def _around(points: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return the flat indices of 3 × 3 points around each point within its slice, ``(N, 9)``; borders repeat."""
    steps = np.array(list(itertools.product((0,), (-1, 0, 1), (-1, 0, 1))))
    near = (points[:, None] + steps).clip(0, np.array(shape) - 1)
    return np.ravel_multi_index(tuple(np.moveaxis(near, -1, 0)), shape)
