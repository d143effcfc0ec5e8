"""Grid of a scan, from its header."""

from __future__ import annotations

from pathlib import Path

import nibabel
from nibabel.filebasedimages import ImageFileError

__all__ = ["scan_header"]


def scan_header(image: str | Path) -> tuple[list[float], list[int]]:
    """
    Return the voxel size and shape of a scan along three axes; an axis that the file lacks counts as 1.

    Args:
        image: the file.

    Returns:
        mm along each axis, and voxels along each axis.

    Raises:
        ValueError: naming the file, when it cannot be read.
    """
    try:
        header = nibabel.load(image).header
        zooms, shape = [float(z) for z in header.get_zooms()[:3]], list(header.get_data_shape()[:3])
    except (OSError, EOFError, ImageFileError) as e:
        raise ValueError(f"the image {image} cannot be read: {e}") from e
    return zooms + [1.0] * (3 - len(zooms)), shape + [1] * (3 - len(shape))
