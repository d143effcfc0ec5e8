"""Geometry of a scan: one decision about its spacing and place in space, for facts, sizes, crops and conversion."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import nibabel
import numpy as np

__all__ = ["Geometry", "geometry_doubts", "geometry_faults", "geometry_of", "num_channels"]

TOLERANCE = 0.01
"""Largest relative difference of spacings that are stated twice: headers are rounded."""
FAR_MM = 10.0
"""Distance between two stated places of a scan above which they are told."""

# Of a pixdim that is 0, geometry_doubts tells once per file, and nibabel at every look at it.
logging.getLogger("nibabel.global").addFilter(lambda record: "pixdim" not in record.getMessage())


class Geometry(NamedTuple):
    """Grid of a scan, three axes; those of a picture are x, y, and a slice."""

    shape: tuple[int, ...]
    """Voxels along each axis of the file."""
    zooms: tuple[float, ...]
    """mm along the first three axes; an axis that the file lacks counts as 1."""
    affine: np.ndarray
    channels: int = 1
    """Values per voxel: 3 for a picture in colour."""


def num_channels(shape: Sequence[int]) -> int:
    """Return the values per voxel of an image of this shape: 3 if it is a picture in colour, ``(W, H, 1, 3)``."""
    return 3 if len(shape) == 4 and tuple(shape[2:]) == (1, 3) else 1


def geometry_of(image: Any) -> Geometry:
    """
    Return the geometry of a nibabel image: that of its affine, which in NIfTI is the sform or, without one, the qform.

    ``pixdim`` of a NIfTI counts for nothing where it says something else, see :func:`geometry_doubts`.
    """
    channels = num_channels(image.shape)
    shape = tuple(image.shape[:3] if channels > 1 else image.shape)
    of_affine = np.linalg.norm(image.affine[:3, :3], axis=0).tolist()
    stated = [float(zoom) for zoom in image.header.get_zooms()[:3]] + [1.0] * (3 - len(shape))
    # Both are rounded: an affine holds products of spacings and cosines.
    zooms = (s if math.isclose(s, a, rel_tol=1e-4) else a for s, a in zip(stated, of_affine, strict=True))
    return Geometry(shape, tuple(zooms), image.affine, channels)


def geometry_faults(image: Any) -> Iterator[str]:
    """Yield a message for each fault of a nibabel image's place in space."""
    zooms = image.header.get_zooms()[:3]
    if isinstance(image, nibabel.Nifti1Image):
        if image.header["qform_code"] == 0 and image.header["sform_code"] == 0:
            yield "the image states no spacing (qform and sform are not set). Sizes in mm need it."
            return
        unit = int(image.header["xyzt_units"]) % 8
        if unit not in (0, 2):  # not stated, or mm
            stated = {1: "meter", 3: "micron"}.get(unit, f"the unknown unit {unit}")
            yield f"the image's spacing is in {stated}, expected mm. Correct its header."
    if not all(math.isfinite(z) and z > 0 for z in zooms):
        yield f"the image's spacing is {tuple(float(z) for z in zooms)}, expected positive numbers. Correct its header."
    elif not np.isfinite(image.affine).all() or not abs(np.linalg.det(image.affine[:3, :3])) > 1e-9:
        yield f"the image's affine is degenerate, a voxel has no volume: {image.affine.tolist()}."


def geometry_doubts(image: Any) -> Iterator[str]:
    """Yield a message if the sform of a NIfTI says another spacing than its qform or pixdim, or another place."""
    if not isinstance(image, nibabel.Nifti1Image) or image.header["sform_code"] == 0:
        return
    used, stated = geometry_of(image).zooms, [float(zoom) for zoom in image.header.get_zooms()[:3]]
    if not np.allclose(used[: len(stated)], stated, rtol=TOLERANCE):
        yield (
            f"its sform states a spacing of {_words(used[: len(stated)])} mm, its pixdim {_words(stated)} mm. "
            "The sform is used. Correct the header if that is wrong."
        )
    qform = image.get_qform(coded=True)[0]
    if qform is not None:
        turned = np.linalg.inv(qform[:3, :3] / np.linalg.norm(qform[:3, :3], axis=0)) @ image.affine[:3, :3]
        if not np.allclose(turned / np.linalg.norm(turned, axis=0), np.eye(3), atol=0.1):
            yield "its sform and qform state different directions of its axes. The sform is used."
            return
        middle = np.array([*(0.5 * (np.array(geometry_of(image).shape[:3]) - 1)), 1])
        apart = np.linalg.norm((qform - image.affine) @ middle)
        if apart > FAR_MM:
            yield (
                f"its sform and qform place its middle {apart:.3g} mm apart. The sform is used. Clicks and regions in "
                "mm must be meant so."
            )


def _words(spacing: Any) -> str:
    return " × ".join(f"{mm:.4g}" for mm in spacing)
