"""Sizes and masks from drawn contours: DICOM RTSTRUCT, as radiotherapy keeps them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import SimpleITK
from matplotlib.path import Path as Polygon

from medsize.data.structure_name import choose_structure

if TYPE_CHECKING:
    import pydicom

__all__ = [
    "contour_area",
    "contour_mask",
    "contours_by_slice",
    "read_contour_mask",
    "read_contours",
    "region_names",
    "volume_mask",
]

OFF_SLICE = 0.25
"""Slices that a contour may lie beside a slice: coordinates are stored rounded."""


def read_contours(rtstruct: Path, roi_name: str, frame_of_reference: str | None = None) -> list[np.ndarray]:
    """
    Contours of one region in a DICOM RTSTRUCT file. Needs pydicom (``pip install 'medsize[dicom]'``).

    Args:
        rtstruct: the file.
        roi_name: name of the region, or the beginning of its name if no other region's begins so.
        frame_of_reference: UID of the image's frame of reference, which the contours must be in. Default: any.

    Returns:
        closed polygons, each of shape ``(N, 3)``: mm in DICOM's patient coordinates (LPS+).

    Raises:
        ValueError: naming the file, when it is no RTSTRUCT, does not hold the region exactly once, or holds it in
            another frame of reference or as anything but closed planar contours.
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
        raise ValueError(f"{rtstruct}: '{region.ROIName}' has no contours. Nothing was drawn, or it was not exported.")
    kinds = {contour.ContourGeometricType for contour in contours}
    if not kinds <= {"CLOSED_PLANAR", "CLOSEDPLANAR_XOR"}:
        raise ValueError(
            f"{rtstruct}: '{region.ROIName}' is drawn as {', '.join(sorted(kinds))}; only CLOSED_PLANAR contours "
            "enclose an area. Export closed contours."
        )
    return [np.asarray(contour.ContourData, dtype=float).reshape(-1, 3) for contour in contours]


def region_names(rtstruct: Path) -> list[str]:
    """Names of the regions of an RTSTRUCT."""
    return [region.ROIName for region in _open(rtstruct).get("StructureSetROISequence", [])]


def read_contour_mask(
    rtstruct: Path, roi_name: str, image: SimpleITK.Image, frame_of_reference: str | None = None
) -> np.ndarray:
    """
    Mask of one region of an RTSTRUCT: the voxels of the image whose centres its contours enclose.

    Args:
        rtstruct: the file.
        roi_name: see :func:`read_contours`, as is ``frame_of_reference``.
        image: the image that they were drawn on.

    Returns:
        a boolean array of the image's size in reverse, as SimpleITK's arrays are.

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
    Put contours on the slices of the image that they were drawn on.

    Args:
        contours: closed polygons of shape ``(N, 3)``, mm in DICOM's patient coordinates.
        image: a volume. A slice on which nothing was drawn is empty, also between others.

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
        edge = 1e-3  # of a voxel: what rounding does to a contour along the image's border
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


def contour_area(polygons: Sequence[np.ndarray]) -> float:
    """
    Area that the polygons of a slice enclose.

        A = Σ_p (−1)^{d_p} · ½ · |Σ_n (x_n · y_{n+1} − x_{n+1} · y_n)|

    where d_p is how many other polygons the polygon p lies within (even-odd rule: a polygon in another one is a hole,
    one in a hole is filled). The inner sum is the shoelace formula, which also leaves out a hole that
    one polygon reaches through a slit ("keyhole"). Polygons may lie apart or within each other, but not cross.

    Args:
        polygons: each of shape ``(N, 2)``; the last vertex is joined to the first.

    Returns:
        the area in the square of the vertices' unit. The volume of a structure in mm³ is the sum of its slices' areas
        in mm² times the distance of the slices in mm.
    """
    area = 0.0
    for number, polygon in enumerate(polygons):
        others = (other for i, other in enumerate(polygons) if i != number)
        # Of most vertices, not one: contours may touch.
        depth = sum(Polygon(other).contains_points(polygon).mean() > 0.5 for other in others)
        x, y = (polygon - polygon[0]).T
        area += (-1) ** depth * abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2
    return area


def volume_mask(by_slice: Sequence[Sequence[np.ndarray]], shape: tuple[int, int]) -> np.ndarray:
    """Voxels that the polygons of each slice enclose: a boolean array of shape ``(slices, *shape[::-1])``."""
    return np.stack([contour_mask(polygons, shape).T for polygons in by_slice])


def contour_mask(polygons: Sequence[np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    """
    Voxels of a slice whose centres the polygons enclose, by the even-odd rule.

    Args:
        polygons: each of shape ``(N, 2)``, in voxels along the two axes; voxel centres are at whole numbers.
        shape: voxels along the two axes.

    Returns:
        a boolean array of that shape.
    """
    inside = np.zeros(shape, dtype=bool)
    for polygon in polygons:
        low = np.clip(np.floor(polygon.min(axis=0)), 0, shape).astype(int)
        high = np.clip(np.ceil(polygon.max(axis=0)) + 1, 0, shape).astype(int)
        box = np.stack(np.meshgrid(*map(np.arange, low, high), indexing="ij"), axis=-1)
        # Centres that lie exactly on the slit of a "keyhole" would fall out: next to it they are inside.
        probes = box.reshape(-1, 2) + np.array([1e-6, 1.6e-6])
        inside[low[0] : high[0], low[1] : high[1]] ^= Polygon(polygon).contains_points(probes).reshape(box.shape[:2])
    return inside


def _open(rtstruct: Path) -> pydicom.Dataset:
    import pydicom

    from medsize.data.dicom_file import PYDICOM_ERRORS

    try:
        dataset = pydicom.dcmread(rtstruct)
    except PYDICOM_ERRORS as e:
        raise ValueError(f"{rtstruct}: it cannot be read as DICOM: {e}") from e
    if dataset.get("Modality") != "RTSTRUCT":
        raise ValueError(f"{rtstruct}: its modality is {dataset.get('Modality')}, expected RTSTRUCT.")
    return dataset
