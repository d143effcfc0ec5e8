"""Geometry and intensities of a scan's file, for the comparison with those of other scans."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import nibabel
import numpy as np
import SimpleITK

from medsize.metrics.reliability import image_facts
from medsize.scans.image_file import is_nifti, read_image_file
from medsize.scans.space.geometry import num_channels
from medsize.scans.space.grid import Grid
from medsize.scans.space.orientation import order_of_axes

__all__ = ["file_facts", "scan_values"]


def file_facts(file: str | Path, window: Sequence[float] | None = None, orientation: str = "") -> dict[str, float]:
    """
    Return the values of a scan or picture, see :func:`medsize.metrics.reliability.image_facts`.

    Args:
        file: file of the scan, or of the picture as NIfTI.
        window: intensities that the network sees as 0 and 1. Default: percentiles.
        orientation: codes of the axes that the network sees; empty: those of the file.
    """
    try:
        if is_nifti(Path(file)) and num_channels((colours := nibabel.load(file)).shape) > 1:
            return image_facts(np.asarray(colours.dataobj), colours.header.get_zooms()[:3], window)
        image = read_image_file(Path(file))
    except (OSError, ValueError):  # a check that cannot be made, and is said so
        return {}
    return scan_values(image, window, orientation)


def scan_values(
    image: SimpleITK.Image, window: Sequence[float] | None = None, orientation: str = ""
) -> dict[str, float]:
    """
    Return the values of a scan in memory, as :func:`file_facts` does.

    Args:
        image: the scan.
        window: intensities that the network sees as 0 and 1. Default: percentiles.
        orientation: codes of the axes that the network sees; empty: those of the scan.
    """
    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
        return {}
    order = order_of_axes(Grid.of(image).affine, orientation)
    voxels = SimpleITK.GetArrayViewFromImage(image).transpose().transpose(order)
    return image_facts(voxels, [image.GetSpacing()[axis] for axis in order], window)
