"""Ellipse that fits a structure in a slice or picture, and its circumference."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medsize.sizes.ellipse import ellipse_circumference

__all__ = ["fitted_circumference", "fitted_diameters"]


def fitted_diameters(mask: NDArray[np.bool_], spacing: Sequence[float] = (1.0, 1.0)) -> tuple[float, float]:
    """
    Return the long and the short diameter of the ellipse that fits the largest component, its holes filled.

    It has the component's second moments: a filled ellipse has a variance of d²/16 along a diameter d.

    Args:
        mask: pixels of the structure, along two axes.
        spacing: distance of pixels along each axis.

    Returns:
        both in the unit of ``spacing``; NaN for an empty mask.
    """
    boxes = ndimage.find_objects(mask.astype(np.uint8))
    if not boxes:
        return math.nan, math.nan
    components, _ = ndimage.label(mask[boxes[0]], np.ones((3, 3)))
    filled = ndimage.binary_fill_holes(components == 1 + int(np.bincount(components.ravel())[1:].argmax()))
    sides = np.asarray(spacing, dtype=float)
    covariance = np.cov((np.argwhere(filled) * sides).T, bias=True) + np.diag(sides**2 / 12)  # that of a pixel itself
    short, long = 4 * np.sqrt(np.linalg.eigvalsh(covariance))
    return float(long), float(short)


def fitted_circumference(mask: NDArray[np.bool_], spacing: Sequence[float] = (1.0, 1.0)) -> float:
    """
    Return the circumference of :func:`fitted_diameters`' ellipse; NaN for an empty mask.

    Args:
        mask: pixels of the structure, along two axes.
        spacing: distance of pixels along each axis.
    """
    return ellipse_circumference(*fitted_diameters(mask, spacing))
