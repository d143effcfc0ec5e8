"""Contours of DICOM RTSTRUCT, as drawn for radiotherapy, and masks of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import SimpleITK
from scipy.ndimage import distance_transform_edt

from medsize.scans.dicom.polygons import contour_mask
from medsize.scans.space.grid import Grid
from medsize.scans.structure_name import choose_structure
from medsize.suggest import first_few

if TYPE_CHECKING:
    import pydicom

__all__ = [
    "contours_by_slice",
    "held_regions",
    "interpolated_slices",
    "read_contour_mask",
    "read_contours",
    "region_names",
    "volume_mask",
]

OFF_SLICE = 0.25
"""Largest distance of a contour from a slice, in slices: coordinates are stored rounded."""
CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")
"""Kinds of contours that enclose an area."""


@dataclass
class _Region:
    """Region of an RTSTRUCT. Its contours are those that enclose an area."""

    name: str
    number: int
    frame_of_reference: str
    contours: list[np.ndarray] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    """Number of other contours, by their kind or fault."""


def read_contours(rtstruct: Path, roi_name: str, frame_of_reference: str | None = None) -> list[np.ndarray]:
    """
    Read the contours of one region in a DICOM RTSTRUCT file. Needs pydicom (``pip install 'medsize[dicom]'``).

    Points, open lines, contours of fewer than three points and repeated ones are left out.

    Args:
        rtstruct: the file.
        roi_name: name of the region, or the beginning of its name if no other name begins alike.
        frame_of_reference: UID of the image's frame of reference, which the contours must be in if both are stated.
            Default: any.

    Returns:
        closed polygons, each of shape ``(N, 3)``: mm in DICOM's patient coordinates (LPS+).

    Raises:
        ValueError: naming the file, when it is not an RTSTRUCT, does not hold the region exactly once, or holds it in
            another frame of reference or without closed planar contours.
    """
    named = [region for region in _regions(rtstruct) if region.name]
    drawn = [region for region in named if region.contours]
    try:
        region = drawn[choose_structure(rtstruct, roi_name, [r.name for r in drawn])]
    except ValueError:
        region = named[choose_structure(rtstruct, roi_name, [r.name for r in named])]
    found_frame = region.frame_of_reference
    if frame_of_reference and found_frame and found_frame != frame_of_reference:
        raise ValueError(
            f"{rtstruct}: '{region.name}' was drawn in the frame of reference {found_frame}, but the image is in "
            f"{frame_of_reference}. Use the RTSTRUCT of this image, or register the two."
        )
    if not region.contours and region.skipped:
        raise ValueError(
            f"{rtstruct}: '{region.name}' is drawn as {', '.join(sorted(region.skipped))}; only CLOSED_PLANAR contours "
            "enclose an area. Export closed contours."
        )
    if not region.contours:
        raise ValueError(f"{rtstruct}: '{region.name}' has no contours, expected some. Draw it, or export it again.")
    return region.contours


def region_names(rtstruct: Path, undrawn: bool = False) -> list[str]:
    """Return the names of the regions of an RTSTRUCT that enclose an area, or of those that do not."""
    return [region.name for region in _regions(rtstruct) if region.name and undrawn != bool(region.contours)]


def held_regions(rtstruct: Path, grid: Grid | None = None) -> tuple[list[str], list[str]]:
    """
    Return the names of the regions of an RTSTRUCT that enclose an area, and what there is to say about the others.

    Args:
        rtstruct: the file.
        grid: grid of the image, to tell slices without a contour between others. Default: these are not told.
    """
    regions = _regions(rtstruct)
    names = [region.name for region in regions if region.name and region.contours]
    notes = []
    if unnamed := sum(not region.name for region in regions):
        notes.append(f"{unnamed} regions without a name were left out")
    empty = [region for region in regions if region.name and not region.contours]
    if points := [f"'{r.name}' ({', '.join(sorted(r.skipped))})" for r in empty if r.skipped]:
        notes.append(f"regions that enclose no area were left out: {first_few(points)}")
    if undrawn := [f"'{r.name}'" for r in empty if not r.skipped]:
        notes.append(f"regions without contours were left out: {first_few(undrawn)}")
    parts = [
        f"'{r.name}' ({n} {what})" for r in regions if r.name and r.contours for what, n in sorted(r.skipped.items())
    ]
    if parts:
        notes.append(f"contours that enclose no area, or the same again, were left out: {first_few(parts)}")
    if grid is not None:
        notes += _gaps([region for region in regions if region.name and region.contours], grid)
    return names, notes


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
    """
    Mark the voxels that the polygons of each slice enclose; see :func:`interpolated_slices` for slices without any.

    Returns:
        a boolean array of shape ``(slices, *shape[::-1])``.
    """
    mask = np.stack([contour_mask(polygons, shape).T for polygons in by_slice])
    drawn = [index for index, polygons in enumerate(by_slice) if polygons]
    for index in interpolated_slices(drawn):
        below, above = max(i for i in drawn if i < index), min(i for i in drawn if i > index)
        if mask[below].any() and mask[above].any():
            share = (index - below) / (above - below)
            mask[index] = (1 - share) * _depth(mask[below]) + share * _depth(mask[above]) > 0
    return mask


def interpolated_slices(drawn: Sequence[int]) -> list[int]:
    """
    Return the slices between those with contours that must be interpolated: only each second, third, … was drawn.

    Wider gaps than usual stay empty, since they may lie between two parts.

    Args:
        drawn: numbers of the slices with contours, in their order.
    """
    steps = np.diff(drawn)
    usual = int(np.median(steps)) if len(steps) > 1 else 1
    return [i for at, step in zip(drawn, steps, strict=False) if 1 < step <= usual for i in range(at + 1, at + step)]


def _depth(mask: np.ndarray) -> np.ndarray:
    """Return the distance of each pixel to the outline of a mask, positive inside."""
    return distance_transform_edt(mask) - distance_transform_edt(~mask)


def _gaps(regions: Sequence[_Region], grid: Grid) -> Iterator[str]:
    """Yield what there is to say about slices without a contour between others; slices count from 0."""
    to_voxels = np.linalg.inv(grid.affine)
    filled: list[str] = []
    empty: list[str] = []
    for region in regions:
        places = (to_voxels[2, :3] @ contour.mean(axis=0) + to_voxels[2, 3] for contour in region.contours)
        drawn = sorted({round(place) for place in places})
        missing = sorted(set(range(drawn[0], drawn[-1])) - set(drawn))
        between = interpolated_slices(drawn)
        for slices, listed in ((between, filled), (sorted(set(missing) - set(between)), empty)):
            if slices:
                listed.append(f"'{region.name}' (slices {first_few(list(map(str, slices)))})")
    if filled:
        yield f"slices without a contour were interpolated between others: {first_few(filled)}"
    if empty:
        yield f"slices without a contour between others stay empty: {first_few(empty)}"


def _regions(rtstruct: Path) -> Sequence[_Region]:
    state = rtstruct.stat() if rtstruct.exists() else None
    return _regions_of(rtstruct, state and (state.st_size, state.st_mtime_ns))


@lru_cache(maxsize=1)  # each region of a file is asked for by itself
def _regions_of(rtstruct: Path, state: object) -> Sequence[_Region]:
    from medsize.scans.dicom.header import PYDICOM_ERRORS

    try:
        return _read_regions(_open(rtstruct))
    except PYDICOM_ERRORS as e:
        if isinstance(e, ValueError) and str(rtstruct) in str(e):
            raise
        raise ValueError(f"{rtstruct}: its regions cannot be read: {str(e) or type(e).__name__}.") from e


def _read_regions(dataset: pydicom.Dataset) -> list[_Region]:
    regions = [
        _Region(
            str(stated.get("ROIName") or "").strip(),
            int(stated.get("ROINumber", -1)),
            str(stated.get("ReferencedFrameOfReferenceUID") or ""),
        )
        for stated in dataset.get("StructureSetROISequence") or []
    ]
    by_number = {region.number: region for region in regions}
    for drawn in dataset.get("ROIContourSequence") or []:
        region = by_number.get(int(drawn.get("ReferencedROINumber", -1)))
        if region is None:
            continue
        seen = set()
        for contour in drawn.get("ContourSequence") or []:
            kind = str(contour.get("ContourGeometricType") or CLOSED[0])
            points = _points(contour)
            if kind not in CLOSED:
                region.skipped[kind] += 1
            elif points is None:
                region.skipped["without valid points"] += 1
            elif len(points) < 3:
                region.skipped["of fewer than 3 points"] += 1
            elif (corners := np.unique(points.round(3), axis=0).tobytes()) in seen:
                region.skipped["repeated"] += 1  # maybe from another corner on, or the other way round
            else:
                seen.add(corners)
                region.contours.append(points)
    return regions


def _points(contour: pydicom.Dataset) -> np.ndarray | None:
    """Return the points of a contour; ``None`` if they are missing or no numbers."""
    if "ContourData" not in contour:
        return None
    stated = contour.get_item("ContourData").value
    # Thousands of points are read faster from the bytes than by pydicom.
    numbers = stated.split(b"\\") if isinstance(stated, bytes) else stated
    try:
        points = np.array(numbers, dtype=float).reshape(-1, 3)
    except (TypeError, ValueError):
        return None
    return points if len(points) and np.isfinite(points).all() else None


def _open(rtstruct: Path) -> pydicom.Dataset:
    import pydicom
    from pydicom.uid import RTStructureSetStorage

    from medsize.scans.dicom.header import PYDICOM_ERRORS, open_dicom

    try:
        with open_dicom(rtstruct) as opened:
            dataset = pydicom.dcmread(opened)
    except PYDICOM_ERRORS as e:
        raise ValueError(f"{rtstruct}: it cannot be read as DICOM: {e}") from e
    if RTStructureSetStorage not in (dataset.get("SOPClassUID"), dataset.file_meta.get("MediaStorageSOPClassUID")):
        raise ValueError(f"{rtstruct}: its modality is {dataset.get('Modality')}, expected RTSTRUCT.")
    return dataset
