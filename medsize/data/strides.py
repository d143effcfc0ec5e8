"""Strides of a network that halves an axis of coarse voxels later than the others."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["strides_of"]

ALIKE = 2.0
"""Ratio of spacings below which axes count as alike, as in nnU-Net."""
SMALLEST_SIDE = 2
"""Voxels of a window's side that an axis keeps after its last halving."""


def strides_of(spacing: Sequence[float], roi_size: Sequence[int], levels: int) -> list[list[int]]:
    """
    Return the strides of each level of a network, one for each axis: 2 where the level halves it, 1 elsewhere.

    A level halves the axis of the smallest voxels, and those whose voxels are less than twice as long. An axis of
    thick slices thus waits until the others have caught up (Isensee et al., Nature Methods 2021). An odd side is not
    halved, nor one of two voxels, so that a window of any size fits.

    Args:
        spacing: of the voxels that the network sees, mm.
        roi_size: voxels of its window.
        levels: number of levels.
    """
    lengths, sides = list(spacing), list(roi_size)
    strides = []
    for _ in range(levels):
        can_halve = [side % 2 == 0 and side >= 2 * SMALLEST_SIDE for side in sides]
        finest = min((length for length, can in zip(lengths, can_halve, strict=True) if can), default=0.0)
        level = [2 if can and s < ALIKE * finest else 1 for s, can in zip(lengths, can_halve, strict=True)]
        lengths = [length * stride for length, stride in zip(lengths, level, strict=True)]
        sides = [side // stride for side, stride in zip(sides, level, strict=True)]
        strides.append(level)
    return strides
