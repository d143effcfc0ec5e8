"""Masks on other voxels than their scan's: their place is checked, and they are resampled."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import SimpleITK

from medsize.scans.space.grid import Grid, is_on_voxels

__all__ = ["check_place", "resampled"]

TIE = 1e-4
"""Largest difference of shares that count as equal: their weights are rounded."""


class _View(NamedTuple):
    """Box around a mask's field of view, in an image's voxels along its axes."""

    low: np.ndarray
    high: np.ndarray
    voxel: np.ndarray
    """Length of a voxel of the mask."""

    @classmethod
    def of(cls, mask: Grid, grid: Grid) -> _View:
        to_image = np.linalg.inv(grid.affine) @ mask.affine
        ends = [(-0.5, size - 0.5) for size in mask.size]
        corners = to_image[:3, :3] @ np.array(np.meshgrid(*ends)).reshape(3, -1) + to_image[:3, 3:]
        return cls(corners.min(axis=1), corners.max(axis=1), np.abs(to_image[:3, :3]).sum(axis=1))


def check_place(mask: SimpleITK.Image, grid: Grid) -> None:
    """
    Check that a mask's place in space can be believed, and that it lies in the field of view of its image.

    Args:
        mask: a label map; 0 outside.
        grid: grid of the image.

    Raises:
        ValueError: naming both grids, when the fields of view do not overlap, the mask's file states no place, or its
            axes or place are in doubt; and when the mask is not empty beyond the image.
    """
    own, size = Grid.of(mask), np.array(grid.size)
    view = _View.of(own, grid)
    both = f"it has {own}; the image has {grid}"
    on_voxels = is_on_voxels(own, grid)
    nearly = np.maximum(view.voxel, 1) + TIE
    agree = (np.abs(view.low + 0.5) <= nearly).all() and (np.abs(view.high - size + 0.5) <= nearly).all()
    if not agree and sorted(own.size) == sorted(grid.size) and not (on_voxels and own.size == grid.size):
        swapped = own.size != grid.size
        raise ValueError(
            f"it is not on the image's voxels: {both}. "
            + ("Were its axes swapped when it was saved? " if swapped else "It has as many, but elsewhere. ")
            + "Save the mask on the grid of this image, without resampling either."
        )
    if not agree and _is_unplaced(own, grid):
        raise ValueError(f"its file states no place in space: {both}. Save the mask with its place, or on this grid.")
    if (view.high <= -0.5).any() or (view.low >= size - 0.5).any():
        raise ValueError(f"it lies beside the image: {both}. Was it drawn on another series?")
    if on_voxels:
        return  # its voxels are looked at when they are put on the image's
    touching = view.voxel / 2 + TIE
    low, high = -0.5 - touching, size - 0.5 + touching
    if (view.low < low).any() or (view.high > high).any():
        to_image = np.linalg.inv(grid.affine) @ own.affine
        inside = np.stack(np.nonzero(SimpleITK.GetArrayViewFromImage(mask))[::-1])
        places = to_image[:3, :3] @ inside + to_image[:3, 3:]
        if ((places < low[:, None]) | (places > high[:, None])).any():
            raise ValueError(
                f"it reaches out of the image: {both}. Was it drawn on another series, or was the image cropped?"
            )


def resampled(mask: SimpleITK.Image, grid: Grid) -> np.ndarray:
    """
    Resample a label map to an image's grid.

    The share of each class in a voxel is the linear interpolation of its indicator. A voxel has the class of the
    largest share, the background's included; of equal ones a structure. So a single structure has those from 0.5.

    Args:
        mask: class indices up to 255.
        grid: grid of the image.

    Returns:
        class indices, an array of shape ``size[::-1]``, uint8.
    """
    values = SimpleITK.GetArrayViewFromImage(mask)
    own = Grid.of(mask)
    to_image = np.linalg.inv(grid.affine) @ own.affine
    result = np.zeros(grid.size[::-1], dtype=np.uint8)
    most = np.zeros(result.shape, dtype=np.float32)
    background = np.ones(result.shape, dtype=np.float32)
    for value in np.unique(values):
        if not value:
            continue
        inside = values == value
        filled = [np.flatnonzero(inside.any(axis=tuple({0, 1, 2} - {axis}))) for axis in (2, 1, 0)]
        low = np.array([max(f[0] - 1, 0) for f in filled])
        high = np.array([min(f[-1] + 2, size) for f, size in zip(filled, own.size, strict=True)])
        ends = np.array(np.meshgrid(*zip(low - 0.5, high - 0.5, strict=True))).reshape(3, -1)
        corners = to_image[:3, :3] @ ends + to_image[:3, 3:]
        start = np.clip(np.floor(corners.min(axis=1)), 0, grid.size).astype(int)
        stop = np.clip(np.ceil(corners.max(axis=1)) + 1, 0, grid.size).astype(int)
        if (stop <= start).any():
            continue
        indicator = SimpleITK.GetImageFromArray(inside.astype(np.float32))
        own.place(indicator)
        (x, y, z), (to_x, to_y, to_z) = low.tolist(), high.tolist()
        share = SimpleITK.Resample(
            indicator[x:to_x, y:to_y, z:to_z],
            (stop - start).tolist(),
            SimpleITK.Transform(),
            SimpleITK.sitkLinear,
            (grid.affine[:3, :3] @ start + grid.affine[:3, 3]).tolist(),
            grid.spacing,
            grid.direction,
            0.0,
            SimpleITK.sitkFloat32,
        )
        part = tuple(slice(begin, end) for begin, end in zip(start[::-1], stop[::-1], strict=True))
        of_value = SimpleITK.GetArrayViewFromImage(share)
        background[part] -= of_value
        larger = of_value > most[part] + TIE
        most[part][larger] = of_value[larger]
        result[part][larger] = value
    result[most < background - TIE] = 0
    return result


def _is_unplaced(mask: Grid, grid: Grid) -> bool:
    """Return whether a mask begins at 0 mm, as in a file that states no place."""
    upright = any(np.allclose(mask.direction, np.diag(signs).ravel()) for signs in ([1, 1, 1], [-1, -1, 1]))
    return upright and not any(mask.origin) and (mask.spacing == (1, 1, 1) or any(grid.origin))
