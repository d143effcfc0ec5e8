"""Facts about scans and masks, each read from the file once."""

from __future__ import annotations

import hashlib
import math
import os
import zlib
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.orientations import axcodes2ornt, inv_ornt_aff, io_orientation, ornt_transform
from nibabel.spatialimages import HeaderDataError
from pydantic import BaseModel, ConfigDict

from medsize.scans.fact_cache import cached_facts
from medsize.scans.space.geometry import geometry_doubts, geometry_faults, geometry_of
from medsize.scans.space.orientation import order_of_axes

__all__ = [
    "UNREADABLE",
    "ImageFacts",
    "ImagePlace",
    "MaskFacts",
    "first_line",
    "image_facts",
    "image_place",
    "mask_facts",
]

UNREADABLE = (OSError, EOFError, ValueError, ImageFileError, HeaderDataError, OverflowError, zlib.error)
"""Exceptions of nibabel and zlib for truncated and broken files."""
MAX_COMPRESSION = 1100
"""Largest ratio of file sizes; deflate compresses at most 1032 times."""
MAX_VALUES = 1000
"""Largest number of values that are kept of a mask; a file with more is not a mask."""
SAMPLED = 1_000_000
"""Approximate number of voxels, evenly spaced, for percentiles."""


class _Placed(BaseModel):
    """Grid of a NIfTI file."""

    model_config = ConfigDict(frozen=True, ser_json_inf_nan="constants")

    shape: tuple[int, ...]
    zooms: tuple[float, ...]
    """mm along the first three axes."""
    affine: tuple[tuple[float, ...], ...]
    channels: int = 1
    """Values per voxel: 3 for a picture in colour."""

    @property
    def voxel_mm3(self) -> float:
        """mm³ of a voxel."""
        return math.prod(self.zooms)

    @property
    def extent_mm(self) -> list[float]:
        """mm along the first three axes."""
        return [zoom * voxels for zoom, voxels in zip(self.zooms, self.shape, strict=False)]

    @property
    def view_mm3(self) -> float:
        """mm³ of the whole grid."""
        return math.prod(self.extent_mm)


class ImagePlace(_Placed):
    """Grid of an image, from its header alone."""

    faults: tuple[str, ...]
    """Faults of its place in space."""
    doubts: tuple[str, ...] = ()
    """Disagreements within its header."""

    def turned(self, orientation: str) -> ImagePlace:
        """
        Return the grid of the image when it is turned, of three axes.

        Args:
            orientation: codes of the axes that it is turned to, such as RAS; empty: it stays as it is stored.
        """
        if not orientation:
            return self
        order = order_of_axes(np.asarray(self.affine), orientation)
        turn = ornt_transform(io_orientation(np.asarray(self.affine)), axcodes2ornt(orientation))
        affine = np.asarray(self.affine) @ inv_ornt_aff(turn, self.shape)
        grid = {"shape": tuple(self.shape[axis] for axis in order), "zooms": tuple(self.zooms[axis] for axis in order)}
        return self.model_copy(update={**grid, "affine": tuple(map(tuple, affine.tolist()))})


class ImageFacts(ImagePlace):
    """Facts about an image."""

    non_finite: int
    """Number of intensities that are NaN or infinite."""
    lowest: float
    percentiles: tuple[float, float, float]
    """0.5, 50 and 99.5, of the finite intensities."""
    distinct: int
    """Number of different intensities among those sampled."""
    digest: str
    """Hash of the intensities in their order, whatever the file's format."""


class MaskFacts(_Placed):
    """Facts about a mask."""

    values: tuple[float, ...]
    """Its values, at most 1000."""
    counts: tuple[int, ...]
    """Number of voxels of each value."""
    box: tuple[tuple[int, ...], tuple[int, ...]] | None
    """First and last voxel along each axis that is not 0; ``None`` if all voxels are 0."""
    cut_off: tuple[float, ...]
    """Values other than 0 in the first or last slice, or at the edge of the view."""

    def volume_mm3(self, value: int) -> float:
        """Return the volume of a class in mm³."""
        return sum(n for v, n in zip(self.values, self.counts, strict=True) if v == value) * self.voxel_mm3

    def box_mm(self, margin: float) -> list[list[float]] | None:
        """
        Return a box around the voxels other than 0, in the form of a ``roi``: two opposite corners, scanner mm.

        Args:
            margin: mm from these voxels to the box, on each side.
        """
        if self.box is None:
            return None
        affine = np.asarray(self.affine)
        ends = np.array([np.array(self.box[0]) - 0.5, np.array(self.box[1]) + 0.5])
        corners = np.array(np.meshgrid(*ends.T, indexing="ij")).reshape(3, -1).T @ affine[:3, :3].T + affine[:3, 3]
        return [np.round(corners.min(axis=0) - margin, 2).tolist(), np.round(corners.max(axis=0) + margin, 2).tolist()]


def image_place(file: str | Path) -> ImagePlace:
    """
    Return the grid of a NIfTI image, from its header or from the cache.

    Raises:
        OSError, ValueError and others of ``UNREADABLE``: when it cannot be read.
    """
    return cached_facts(file, "place", ImagePlace, lambda: ImagePlace(**_place(_load(file))))


def image_facts(file: str | Path) -> ImageFacts:
    """
    Return facts about a NIfTI image, from the cache if it was read before.

    Raises:
        OSError, ValueError and others of ``UNREADABLE``: when it cannot be read.
    """
    return cached_facts(file, "image", ImageFacts, lambda: _read_image(file))


def mask_facts(file: str | Path) -> MaskFacts:
    """Return facts about a mask; see :func:`image_facts`."""
    return cached_facts(file, "mask", MaskFacts, lambda: _read_mask(file))


def first_line(error: Exception) -> str:
    """Return the first line of an error's message, without a full stop."""
    return (str(error) or type(error).__name__).splitlines()[0].rstrip(".")


def _load(file: str | Path) -> Any:
    """Open an image by nibabel; refuse a header that states more voxels than the file can hold."""
    image = nibabel.load(file)
    needed = math.prod(image.shape) * image.get_data_dtype().itemsize
    held = os.path.getsize(image.file_map["image"].filename)
    if needed > MAX_COMPRESSION * held:
        voxels = " × ".join(map(str, image.shape))
        raise ValueError(f"its header states {voxels} voxels, {needed / 2**30:.3g} GiB, but the file has {held} bytes")
    return image


def _grid(image: Any) -> dict[str, Any]:
    grid = geometry_of(image)
    return {
        "shape": grid.shape,
        "zooms": grid.zooms[: len(grid.shape)],
        "affine": grid.affine.tolist(),
        "channels": grid.channels,
    }


def _place(image: Any) -> dict[str, Any]:
    faults = tuple(geometry_faults(image))
    return {**_grid(image), "faults": faults, "doubts": () if faults else tuple(geometry_doubts(image))}


def _read_image(file: str | Path) -> ImageFacts:
    image = _load(file)
    if image.get_data_dtype().kind not in "iufb":
        raise ValueError(
            f"its voxels are of the type {image.get_data_dtype()}, expected numbers. Convert colours to grey"
        )
    intensities = np.asarray(image.dataobj)
    digest = hashlib.sha256(str(image.shape).encode())
    for part in intensities.T:  # slice by slice, since a copy takes memory
        digest.update(np.ascontiguousarray(part, dtype=np.float32).data)
    non_finite = 0
    if intensities.dtype.kind not in "iub":
        non_finite = intensities.size - sum(int(np.isfinite(part).sum()) for part in intensities.T)
    sampled = intensities.ravel(order="K")[:: max(1, intensities.size // SAMPLED)].astype(float)
    sampled = sampled[np.isfinite(sampled)]
    return ImageFacts(
        **_place(image),
        non_finite=non_finite,
        lowest=float(sampled.min(initial=np.inf)),
        percentiles=tuple(np.percentile(sampled, [0.5, 50, 99.5])) if sampled.size else (0.0, 0.0, 0.0),
        distinct=len(np.unique(sampled)),
        digest=digest.hexdigest(),
    )


def _read_mask(file: str | Path) -> MaskFacts:
    mask = _load(file)
    labels = np.asarray(mask.dataobj)
    values, counts = np.unique(labels, return_counts=True)
    box = None
    if labels.ndim == 3 and labels.any():
        filled = [np.flatnonzero(labels.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
        box = (tuple(int(f[0]) for f in filled), tuple(int(f[-1]) for f in filled))
    return MaskFacts(
        **_grid(mask),
        values=tuple(map(float, values[:MAX_VALUES])),
        counts=tuple(map(int, counts[:MAX_VALUES])),
        box=box,
        cut_off=_at_edges(labels),
    )


def _at_edges(labels: np.ndarray) -> tuple[float, ...]:
    """Return the values other than 0 in the outermost voxels; an axis of one voxel, as of a picture, has no ends."""
    axes = [axis for axis, voxels in enumerate(labels.shape) if voxels > 1]
    ends = [np.unique(labels.take(end, axis=axis)) for axis in axes for end in (0, -1)]
    return tuple(float(value) for value in np.unique(np.concatenate([[0], *ends])) if value)[:MAX_VALUES]
