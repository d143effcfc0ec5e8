"""A closer look: first labels of small structures again, in ever smaller windows around what was found."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from monai.transforms import SpatialCropd
from torch.nn import functional as F

from medsize.first_labels.features import blur_slices

__all__ = ["Look", "Window", "look_closer"]

AROUND = 2.0
"""Side of the last window, in diameters of a disc as large as all structures in the slice that shows most of them."""
SMALL = 0.7
"""Largest side of the last window that is worth it, as a part of the view's shorter side."""
SHRINK = 0.7
"""Side of a window over that of the one before: the first look may have found some structures beside their place."""
TOGETHER = 0.8
"""Least share of what was found that a window has to hold in most scans. Structures that lie apart have less."""
LEAST_AREA = 1.5
"""Least area of the last window, over that of the structures in any slice."""
CROPPED = ("image", "label", "scribble", "region")


@dataclass(frozen=True)
class Window:
    """A part of a scan's slices: first voxels and sides along both axes."""

    start: tuple[int, int]
    sides: tuple[int, int]

    def crop(self, item: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Crop the images of an item."""
        slices = [slice(n, n + side) for n, side in zip(self.start, self.sides, strict=True)]
        return dict(SpatialCropd(CROPPED, roi_slices=slices, allow_missing_keys=True)(dict(item)))

    def paste(self, label: torch.Tensor, view: Window, stride: int) -> torch.Tensor:
        """Return a label ``(K, Z, h, w)`` of the window on the grid of the whole view: around it is background."""
        height, width = (max(side // stride, 1) for side in view.sides)
        row, column = (n // stride for n in self.start)
        around = (column, width - column - label.shape[3], row, height - row - label.shape[2])
        whole = F.pad(label, around)
        whole[0] += 1 - whole.sum(dim=0)
        return whole


Look = Callable[[Sequence[Window], int], list[torch.Tensor]]
"""Makes soft labels, ``(K, Z, h, w)``, of windows of all scans, with so many voxels between two points of the grid."""


def look_closer(
    labels: list[torch.Tensor], views: Sequence[Window], stride: int, look: Look, finest: int = 1
) -> tuple[list[torch.Tensor], int | None]:
    """
    Make the labels of small structures again, in windows around what was found.

    Where structures take a small part of the view, what looks like them elsewhere disturbs, and the grid is coarse for
    them. So windows shrink around what the last look has found, by 0.7 each time, and the last look has a finer grid.

    Args:
        labels: soft labels of the scans, ``(K, Z, h, w)``.
        views: all that the slices show, a window for each scan.
        stride: voxels between two points of their grid.
        look: makes labels of windows.
        finest: least stride of the last look. Defaults to 1.

    Returns:
        the labels on the grid of the whole view, and the side of the last window, voxels. Where structures take much
        of the view, or lie apart, these are the labels that were given, and None.
    """
    shortest = min(min(view.sides) for view in views) // stride
    side = _needed_side(labels)
    if side is None or side > SMALL * shortest:
        return labels, None
    windows, extent, found, fine = list(views), shortest, labels, max(stride // 2, finest)
    while extent > side:
        extent = max(side, math.ceil(SHRINK * extent))
        closer = _windows_around(found, windows, extent, stride)
        if closer is None:
            return labels, None
        windows = closer
        found = look(windows, stride if extent > side else fine)
    parts = zip(windows, found, views, strict=True)
    return [window.paste(label, view, fine) for window, label, view in parts], side * stride


def _needed_side(labels: Sequence[torch.Tensor]) -> int | None:
    """Return the side of a window that holds the structures of most scans, points; None if there are none."""
    areas = torch.stack([label[1:].float().sum(dim=(0, 2, 3)).max() for label in labels])
    if not bool((areas >= 1).any()):
        return None
    diameter = 2 * math.sqrt(float(torch.quantile(areas[areas >= 1], 0.9)) / math.pi)
    return math.ceil(max(AROUND * diameter, math.sqrt(LEAST_AREA * float(areas.max()))))


def _windows_around(
    labels: Sequence[torch.Tensor], windows: Sequence[Window], side: int, stride: int
) -> list[Window] | None:
    """
    Return windows within windows, around most of what labels show there; ``side`` in points.

    Those of scans that show nothing have the median place of the others. None if structures lie apart.
    """
    shown = [label[1:].float().sum(dim=(0, 1)) for label in labels]
    present = torch.stack([one.sum() for one in shown]) >= 1
    seen = [blur_slices(one.unsqueeze(0), side / 4)[0] for one in shown]
    centers = torch.stack([torch.stack(torch.unravel_index(one.argmax(), one.shape)) for one in seen])
    centers[~present] = centers[present].median(dim=0).values
    held, closer = [], []
    for center, one, window in zip(centers.tolist(), shown, windows, strict=True):
        row, column = (min(max(n - side // 2, 0), size - side) for n, size in zip(center, one.shape, strict=True))
        held.append(one[row : row + side, column : column + side].sum() / one.sum().clamp_min(1e-6))
        start = (window.start[0] + row * stride, window.start[1] + column * stride)
        closer.append(Window(start, (side * stride, side * stride)))
    return closer if bool(torch.stack(held)[present].median() >= TOGETHER) else None
