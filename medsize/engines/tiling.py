"""Windows that cover a scan, and the core of each that counts."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional as F

__all__ = ["Tile", "tiles_of"]

EVERYTHING: tuple[slice, ...] = (slice(None), slice(None))
"""All items and channels."""


@dataclass(frozen=True)
class Tile:
    """
    Window of a scan, which the network sees, with its core, which counts.

    Args:
        window: the window in the scan, a slice for each spatial axis, inside the scan.
        core: the core in the scan.
        padding: zeros to put before and behind each axis, where the scan is smaller than the window.
    """

    window: tuple[slice, ...]
    core: tuple[slice, ...]
    padding: tuple[tuple[int, int], ...]

    @property
    def voxels(self) -> int:
        """Number of voxels of the core."""
        return math.prod(part.stop - part.start for part in self.core)

    def cut_window(self, image: torch.Tensor) -> torch.Tensor:
        """Cut the window from ``(B, C, *spatial)``, padded with zeros to its full size."""
        window = image[EVERYTHING + self.window]
        amounts = [amount for pair in reversed(self.padding) for amount in pair]
        return F.pad(window, amounts) if any(amounts) else window

    def cut_core(self, x: torch.Tensor) -> torch.Tensor:
        """Cut the core from ``(B, C, *spatial)``."""
        return x[EVERYTHING + self.core]

    def core_of_window(self, x: torch.Tensor) -> torch.Tensor:
        """Cut the core from a tensor of the padded window's size."""
        starts = [window.start - before for window, (before, _) in zip(self.window, self.padding, strict=True)]
        core = tuple(slice(c.start - start, c.stop - start) for c, start in zip(self.core, starts, strict=True))
        return x[EVERYTHING + core]


def tiles_of(shape: Sequence[int], roi_size: Sequence[int], halo: Sequence[int]) -> list[Tile]:
    """
    Cover a scan with evenly spaced windows of one size, whose cores do not overlap.

    Windows lie inside the scan; they are padded only along an axis on which the scan is smaller. Neighbouring windows
    overlap by twice the halo or more, and their cores meet in the middle of the overlap.

    Args:
        shape: voxels of the scan along each axis.
        roi_size: voxels of a window.
        halo: smallest number of voxels around a core that the network sees as context, except at the scan's border.

    Returns:
        the tiles, the last axis varying fastest.

    Raises:
        ValueError: when the numbers of axes differ, or a halo is negative or leaves no core.
    """
    if not len(shape) == len(roi_size) == len(halo):
        raise ValueError(
            f"the scan has {len(shape)} spatial axes, but roi_size is {tuple(roi_size)} and halo {tuple(halo)}: each "
            "needs one number for every axis."
        )
    axes = []
    for length, window, margin in zip(shape, roi_size, halo, strict=True):
        if not 0 <= 2 * margin < window:
            raise ValueError(
                f"halo {tuple(halo)} must not be negative, and less than half of roi_size {tuple(roi_size)}: there "
                "must be voxels between the halos."
            )
        axes.append(list(_along_axis(length, window, margin)))
    return [Tile(*zip(*parts, strict=True)) for parts in itertools.product(*axes)]


def _along_axis(length: int, window: int, halo: int) -> list[tuple[slice, slice, tuple[int, int]]]:
    if length <= window:
        lacking = window - length
        return [(slice(0, length), slice(0, length), (lacking // 2, lacking - lacking // 2))]
    number = 1 + math.ceil((length - window) / (window - 2 * halo))
    starts = [i * (length - window) // (number - 1) for i in range(number)]
    edges = [0, *((after + before + window) // 2 for before, after in itertools.pairwise(starts)), length]
    return [
        (slice(start, start + window), slice(*edge), (0, 0))
        for start, edge in zip(starts, itertools.pairwise(edges), strict=True)
    ]
