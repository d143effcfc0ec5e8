"""Orientation of scans: the scanner's axes that those of the voxels run along, as codes such as RAS."""

from __future__ import annotations

import numpy as np
from nibabel.orientations import aff2axcodes, axcodes2ornt, io_orientation, ornt_transform

__all__ = ["are_axis_codes", "axis_codes", "order_of_axes", "tilt"]


def axis_codes(affine: np.ndarray) -> str:
    """
    Return the codes of the closest axes of the scanner, such as ``LPS``.

    Args:
        affine: from voxels to scanner mm (RAS+), shape ``(4, 4)``.
    """
    return "".join(aff2axcodes(affine))


def are_axis_codes(codes: str) -> bool:
    """Return whether each letter names an end of another axis of the scanner: L or R, P or A, I or S."""
    try:
        return len({axis for axis, _ in axcodes2ornt(codes)}) == len(codes)
    except ValueError:
        return False


def tilt(affine: np.ndarray) -> float:
    """Return the largest angle between an axis of the voxels and the closest one of the scanner, degrees."""
    directions = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    return float(np.degrees(np.arccos(np.abs(directions).max(axis=0).clip(max=1)).max()))


def order_of_axes(affine: np.ndarray, orientation: str) -> list[int]:
    """
    Return the axis of a stored scan that becomes each axis when the scan is turned.

    Args:
        affine: from voxels to mm, RAS+ or LPS+, shape ``(4, 4)``.
        orientation: codes of the axes that it is turned to; empty: it stays as it is stored.
    """
    if not orientation:
        return [0, 1, 2]
    turn = ornt_transform(io_orientation(affine), axcodes2ornt(orientation))
    return [int(axis) for axis in np.argsort(turn[:, 0])]
