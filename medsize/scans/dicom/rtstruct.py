"""Contours of DICOM RTSTRUCT, as drawn for radiotherapy, and masks of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import SimpleITK

from medsize.scans.dicom.polygons import contour_mask
from medsize.scans.structure_name import choose_structure

if TYPE_CHECKING:
    import pydicom

__all__ = ["contours_by_slice", "read_contour_mask", "read_contours", "region_names", "volume_mask"]

OFF_SLICE = 0.25
"""Largest distance of a contour from a slice, in slices: coordinates are stored rounded."""


def read_contours(rtstruct: Path, roi_name: str, frame_of_reference: str | None = None) -> list[np.ndarray]:
    """
    Read the contours of one region in a DICOM RTSTRUCT file. Needs pydicom (``pip install 'medsize[dicom]'``).

    Args:
        rtstruct: the file.
        roi_name: name of the region, or the beginning of its name if no other name begins alike.
        frame_of_reference: UID of the image's frame of reference, which the contours must be in. Default: any.

    Returns:
        closed polygons, each of shape ``(N, 3)``: mm in DICOM's patient coordinates (LPS+).

    Raises:
        ValueError: naming the file, when it is not an RTSTRUCT, does not hold the region exactly once, or holds it in
            another frame of reference or in a form other than closed planar contours.
    """
    dataset = _open(rtstruct)
    regions = dataset.get("StructureSetROISequence", [])
    region = regions[choose_structure(rtstruct, roi_name, [r.ROIName for r in regions])]
    found_frame = region.get("ReferencedFrameOfReferenceUID")
    if frame_of_reference is not None and found_frame != frame_of_reference:
        raise ValueError(
            f"{rtstruct}: '{region.ROIName}' was drawn in the frame of reference {found_frame}, but the image is in "
            f"{frame_of_reference}. Use the RTSTRUCT of this image, or register the two."
        )
    contours = [
        contour
        for drawn in dataset.get("ROIContourSequence", [])
        if drawn.ReferencedROINumber == region.ROINumber
        for contour in drawn.get("ContourSequence", [])
    ]
    if not contours:
        raise ValueError(f"{rtstruct}: '{region.ROIName}' has no contours, expected some. Draw it, or export it again.")
    kinds = {contour.ContourGeometricType for contour in contours}
    if not kinds <= {"CLOSED_PLANAR", "CLOSEDPLANAR_XOR"}:
        raise ValueError(
            f"{rtstruct}: '{region.ROIName}' is drawn as {', '.join(sorted(kinds))}; only CLOSED_PLANAR contours "
            "enclose an area. Export closed contours."
        )
    return [np.asarray(contour.ContourData, dtype=float).reshape(-1, 3) for contour in contours]


def region_names(rtstruct: Path) -> list[str]:
    """Return the names of the regions of an RTSTRUCT."""
    return [region.ROIName for region in _open(rtstruct).get("StructureSetROISequence", [])]


def read_contour_mask(
    rtstruct: Path, roi_name: str, image: SimpleITK.Image, frame_of_reference: str | None = None
) -> np.ndarray:
    """
    Make a mask of one region of an RTSTRUCT: the voxels of the image whose centres its contours enclose.

    Args:
        rtstruct: the file.
        roi_name: see :func:`read_contours`.
        image: the image that the contours were drawn on.
        frame_of_reference: see :func:`read_contours`.

    Returns:
        a boolean array of the image's size in reverse, in SimpleITK's order of axes.

    Raises:
        ValueError: naming the file; see :func:`read_contours` and :func:`contours_by_slice`.
    """
    contours = read_contours(rtstruct, roi_name, frame_of_reference)
    try:
        by_slice = contours_by_slice(contours, image)
    except ValueError as e:
        raise ValueError(f"{rtstruct}: '{roi_name}': {e}") from e
    return volume_mask(by_slice, image.GetSize()[:2])


def contours_by_slice(contours: Sequence[np.ndarray], image: SimpleITK.Image) -> list[list[np.ndarray]]:
    """
    Sort contours by the slices of the image that they were drawn on.

    Args:
        contours: closed polygons of shape ``(N, 3)``, mm in DICOM's patient coordinates.
        image: a volume. A slice without contours is empty, also between others.

    Returns:
        for each slice along the last axis, its polygons: shape ``(N, 2)``, in voxels along the first two axes;
        voxel centres are at whole numbers.

    Raises:
        ValueError: when a contour lies between slices, across them, or outside the image.
    """
    columns, rows, slices = image.GetSize()
    origin, spacing = np.array(image.GetOrigin()), np.array(image.GetSpacing())
    direction = np.array(image.GetDirection()).reshape(3, 3)
    by_slice: list[list[np.ndarray]] = [[] for _ in range(slices)]
    for number, contour in enumerate(contours):
        voxels = (contour - origin) @ direction / spacing  # the direction's inverse is its transpose
        position = voxels[:, 2].mean()
        index = round(position)
        if np.abs(voxels[:, 2] - index).max() > OFF_SLICE:
            raise ValueError(
                f"contour {number} lies at the slices {voxels[:, 2].min():.2f} to {voxels[:, 2].max():.2f}, expected "
                "at one of the image's slices. Was it drawn on another series?"
            )
        low, high = voxels[:, :2].min(axis=0), voxels[:, :2].max(axis=0)
        edge = 1e-3  # voxels, for the rounding of a contour along the image's border
        if (
            not 0 <= index < slices
            or (low < -0.5 - edge).any()
            or (high > np.array([columns, rows]) - 0.5 + edge).any()
        ):
            raise ValueError(
                f"contour {number} reaches out of the image: it covers the voxels ({low[0]:.1f}, {low[1]:.1f}) to "
                f"({high[0]:.1f}, {high[1]:.1f}) of slice {index}, but the image has {columns} × {rows} × {slices}. "
                "Was it drawn on another series, or was the image cropped?"
            )
        by_slice[index].append(voxels[:, :2])
    return by_slice


def volume_mask(by_slice: Sequence[Sequence[np.ndarray]], shape: tuple[int, int]) -> np.ndarray:
    """Mark the voxels that the polygons of each slice enclose: boolean, shape ``(slices, *shape[::-1])``."""
    return np.stack([contour_mask(polygons, shape).T for polygons in by_slice])


def _open(rtstruct: Path) -> pydicom.Dataset:
    import pydicom

    from medsize.scans.dicom.header import PYDICOM_ERRORS

    try:
        dataset = pydicom.dcmread(rtstruct)
    except PYDICOM_ERRORS as e:
        raise ValueError(f"{rtstruct}: it cannot be read as DICOM: {e}") from e
    if dataset.get("Modality") != "RTSTRUCT":
        raise ValueError(f"{rtstruct}: its modality is {dataset.get('Modality')}, expected RTSTRUCT.")
    return dataset
