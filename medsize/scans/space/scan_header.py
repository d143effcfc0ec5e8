"""Grid of a scan, from its header."""

from __future__ import annotations

from pathlib import Path

import nibabel
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError

from medsize.scans.space.geometry import geometry_faults, geometry_of

__all__ = ["scan_header"]


def scan_header(image: str | Path) -> tuple[list[float], list[int]]:
    """
    Return the voxel size and shape of a scan along three axes; an axis that the file lacks counts as 1.

    Args:
        image: the file.

    Returns:
        mm along each axis, and voxels along each axis.

    Raises:
        ValueError: naming the file, when it cannot be read or states no spacing in mm.
    """
    try:
        opened = nibabel.load(image)
        if fault := next(geometry_faults(opened), None):
            raise ValueError(f"the image {image} cannot be measured: {fault}")
        grid = geometry_of(opened)
    except (OSError, EOFError, ImageFileError, HeaderDataError) as e:
        raise ValueError(f"the image {image} cannot be read: {e}") from e
    return list(grid.zooms), [*grid.shape, 1, 1][:3]
