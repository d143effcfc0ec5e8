"""Voxel grids: the size of a scan, and its place in space."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import SimpleITK

__all__ = ["Grid", "is_on_voxels", "on_grid"]

OFF_VOXEL = 0.25
"""Largest distance of a mask from its image's grid, in voxels: positions are stored rounded."""


class Grid(NamedTuple):
    """Grid of voxels as SimpleITK describes it: patient coordinates (LPS+), mm."""

    size: tuple[int, int, int]
    """Voxels along each axis."""
    spacing: tuple[float, float, float]
    """mm along each axis."""
    origin: tuple[float, float, float]
    """Centre of the first voxel, mm."""
    direction: tuple[float, ...]
    """The axes' directions: nine cosines, row by row; the axes are the columns."""

    @classmethod
    def of(cls, image: SimpleITK.Image) -> Grid:
        """Return the grid of a volume."""
        return cls(image.GetSize(), image.GetSpacing(), image.GetOrigin(), image.GetDirection())

    @classmethod
    def of_affine(cls, shape: Sequence[int], affine: np.ndarray) -> Grid:
        """Return the grid of a NIfTI image by its affine (RAS+); an axis that it lacks has one voxel."""
        to_mm = np.diag([-1, -1, 1, 1]) @ affine
        spacing = np.linalg.norm(to_mm[:3, :3], axis=0)
        x, y, z = (*shape, 1, 1, 1)[:3]
        mm_x, mm_y, mm_z = spacing.tolist()
        at_x, at_y, at_z = to_mm[:3, 3].tolist()
        direction = tuple((to_mm[:3, :3] / spacing).ravel().tolist())
        return cls((x, y, z), (mm_x, mm_y, mm_z), (at_x, at_y, at_z), direction)

    @property
    def affine(self) -> np.ndarray:
        """Matrix of shape ``(4, 4)`` from voxels to mm."""
        affine = np.eye(4)
        affine[:3, :3] = np.reshape(self.direction, (3, 3)) * self.spacing
        affine[:3, 3] = self.origin
        return affine

    @property
    def voxel_mm3(self) -> float:
        """Volume of a voxel, mm³."""
        return math.prod(self.spacing)

    def place(self, image: SimpleITK.Image) -> None:
        """Set an image's spacing, origin and direction to those of this grid."""
        image.SetSpacing(self.spacing)
        image.SetOrigin(self.origin)
        image.SetDirection(self.direction)

    def __str__(self) -> str:
        size = " × ".join(map(str, self.size))
        spacing = " × ".join(f"{s:.4g}" for s in self.spacing)
        origin = ", ".join(f"{c:.2f}" for c in self.origin)
        return f"{size} voxels of {spacing} mm from ({origin})"


def is_on_voxels(mask: Grid, grid: Grid) -> bool:
    """Return whether the voxels of a mask are those of an image, or would be if the image were larger."""
    return _whole_steps(mask, grid) is not None


def on_grid(mask: SimpleITK.Image, grid: Grid) -> np.ndarray:
    """
    Put a mask on an image's grid, without resampling.

    The mask's axes may be in another order or run the other way, and it may cover a part of the image only.

    Args:
        mask: a label map; 0 outside.
        grid: grid of the image.

    Returns:
        its values on that grid, an array of shape ``size[::-1]``, in SimpleITK's order of axes.

    Raises:
        ValueError: when the mask's voxels are not those of the image, or it is not empty beyond the image.
    """
    found = _whole_steps(Grid.of(mask), grid)
    if found is None:
        swapped = sorted(mask.GetSize()) == sorted(grid.size) and mask.GetSize() != grid.size
        raise ValueError(
            f"it is not on the image's voxels: it has {Grid.of(mask)}; the image has {grid}. "
            + ("Were its axes swapped when it was saved? " if swapped else "")
            + "Save the mask on the grid of this image, without resampling either."
        )
    steps, start = found
    values = SimpleITK.GetArrayViewFromImage(mask)
    inside = np.nonzero(values)
    places = steps @ np.stack(inside[::-1]) + start[:, None]
    if ((places < 0) | (places >= np.array(grid.size)[:, None])).any():
        raise ValueError("it reaches out of the image. Was it drawn on another series, or was the image cropped?")
    result = np.zeros(grid.size[::-1], dtype=values.dtype)
    result[tuple(places[::-1])] = values[inside]
    return result


def _whole_steps(mask: Grid, grid: Grid) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the whole steps from a mask's voxels to an image's, and their start; ``None`` if there are none."""
    to_image = np.linalg.inv(grid.affine) @ mask.affine
    last = np.array(mask.size) - 1
    steps = to_image[:3, :3] * (last > 0)  # the thickness of a single slice does not matter
    whole = steps.round()
    start = to_image[:3, 3].round()
    # Largest distance of the corners from the places to which whole steps lead.
    deviation = np.abs(to_image[:3, 3] - start) + np.abs(steps - whole) @ last
    axes_kept = np.allclose(np.abs(whole).sum(axis=0), last > 0) and (np.abs(whole).sum(axis=1) <= 1).all()
    return (whole.astype(int), start.astype(int)) if axes_kept and deviation.max() <= OFF_VOXEL else None
