"""DICOM series: the order of their slices in space, their faults, and their voxels."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import SimpleITK
from pydicom.uid import RTStructureSetStorage, SegmentationStorage

from medsize.scans.dicom.header import DicomFile
from medsize.scans.grid import Grid
from medsize.scans.scan import FoundScan, ScanKind

__all__ = ["found_series", "read_series"]

OFF_GRID = 0.1
"""Largest distance of a slice from its place, in slice distances: positions are stored rounded."""
TURNED = 1e-3
"""Largest difference of the direction cosines within one orientation: they are stored rounded."""
SAME_PLACE = 0.01
"""mm within which two slices are at the same place."""
LOCALIZER = re.compile(r"locali[sz]er|scout|topogram|surview|survey", re.IGNORECASE)


def found_series(slices: Sequence[DicomFile]) -> FoundScan:
    """
    Describe one series by its headers, with its slices in their order in space.

    Args:
        slices: all files with one SeriesInstanceUID; or one multi-frame file, SEG or RTSTRUCT.

    Returns:
        the scan. Its ``fault`` states the first of these: slices that are missing, doubled, of differing orientation,
        size or spacing, cut off, or tilted against their stack (gantry tilt); no place in space; colour; text burned
        into the image.
    """
    kind = _kind(slices)
    fault = _kind_fault(kind, slices[0]) or _pixel_fault(slices)
    if kind is ScanKind.SERIES:
        fault = fault or _attribute_fault(slices)
        if not fault:
            slices = sorted(slices, key=_place_along_normal)
            fault = _stack_fault(slices)
    first = slices[0]
    found = FoundScan(
        kind=kind,
        files=tuple(s.file for s in slices),
        modality=first.series.modality,
        description=first.series.description,
        subject=first.series.subject,
        series=first.series.uid,
        frame_of_reference=first.series.frame_of_reference,
        drawn_on=first.series.drawn_on,
        grid=_grid(slices) if kind is ScanKind.SERIES and not fault else None,
        whole_numbers=len({(s.rescale, s.stored) for s in slices}) == 1 and all(v.is_integer() for v in first.rescale),
    )
    return replace(found, fault=f"{found.source}: {fault}.") if fault else found


def read_series(found: FoundScan) -> SimpleITK.Image:
    """
    Read the rescaled voxels of a series without a fault: integers if they are whole numbers, else float32.

    Raises:
        ValueError: when SimpleITK cannot read it.
    """
    assert found.grid is not None
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames([str(file) for file in found.files])
    if not found.whole_numbers:
        # The type that the reader takes from the first slice may not hold the others.
        reader.SetOutputPixelType(SimpleITK.sitkFloat32)
    try:
        image = reader.Execute()
    except RuntimeError as e:
        raise ValueError(f"{found.source}: its voxels cannot be read: {str(e).strip().splitlines()[-1]}") from e
    if image.GetSize() != found.grid.size:
        raise ValueError(
            f"{found.source}: {image.GetSize()} voxels were read, expected {found.grid.size} by its headers."
        )
    found.grid.place(image)  # SimpleITK ignores the place of some SOP classes, such as Secondary Capture
    return image


def _kind(slices: Sequence[DicomFile]) -> ScanKind:
    first = slices[0]
    if first.sop_class == SegmentationStorage:
        return ScanKind.SEGMENTS
    if first.sop_class == RTStructureSetStorage:
        return ScanKind.CONTOURS
    if not all(all(s.size) for s in slices):
        return ScanKind.OTHER
    # CT states it; MR shows it by slices of several orientations and its name.
    if "LOCALIZER" in first.image_type or (LOCALIZER.search(first.series.description) and _turned(slices)):
        return ScanKind.LOCALIZER
    return ScanKind.MULTIFRAME if first.frames > 1 else ScanKind.SERIES


def _turned(slices: Sequence[DicomFile]) -> int:
    """Count the slices whose orientation differs from that of the first."""
    first = slices[0].orientation
    return sum(len(s.orientation) != len(first) or math.dist(s.orientation, first) > TURNED for s in slices)


def _kind_fault(kind: ScanKind, first: DicomFile) -> str:
    if kind is ScanKind.LOCALIZER:
        return "it is a localizer, slices for planning, expected a volume. Leave it out"
    if kind in (ScanKind.SEGMENTS, ScanKind.CONTOURS):
        return f"it is a mask ({kind.value}), expected an image. Read it by read_masks, or leave it out"
    if kind is ScanKind.OTHER:
        return f"it holds no pixels (modality {first.series.modality or 'not stated'}), expected an image. Leave it out"
    return ""


def _pixel_fault(slices: Sequence[DicomFile]) -> str:
    for s in slices:
        if s.channels != 1:
            return f"{s.file.name} has {s.channels} values per voxel (colour), expected one. Export the grey values"
        if s.burned_in:
            return f"{s.file.name} has text burned into the image, which may name the patient. Remove it first"
        if not all(map(math.isfinite, s.rescale)) or s.rescale[0] == 0:
            return (
                f"{s.file.name} states the RescaleSlope and -Intercept {list(s.rescale)}, expected numbers, the slope "
                "not 0. Correct them"
            )
        if s.missing_bytes:
            return f"{s.file.name} ends {s.missing_bytes} bytes before its last pixel. Copy it again from its source"
    return ""


def _attribute_fault(slices: Sequence[DicomFile]) -> str:
    """Return the fault by which slices have no place in space, or are not one stack; else an empty string."""
    first = slices[0]
    for s in slices:
        lacking = [
            name
            for name, values in (
                ("ImagePositionPatient", s.position),
                ("ImageOrientationPatient", s.orientation),
                ("PixelSpacing", s.spacing),
            )
            if not values
        ]
        if lacking:
            return f"{s.file.name} states no valid {', '.join(lacking)}: it has no place in space. Export it with them"
        if min(s.spacing) <= 0:
            return f"{s.file.name} states the PixelSpacing {list(s.spacing)} mm, expected positive numbers. Correct it"
        if s.size != first.size or math.dist(s.spacing, first.spacing) > 1e-3 * min(first.spacing):
            return (
                f"{s.file.name} has {_pixels(s)}, expected {_pixels(first)} as {first.file.name}. "
                "Export each stack as a series of its own"
            )
    row, column = np.reshape(first.orientation, (2, 3))
    if not np.allclose([row @ row, column @ column, row @ column], [1, 1, 0], atol=1e-2):
        return (
            f"{first.file.name} states the ImageOrientationPatient {list(first.orientation)}, expected two "
            "perpendicular directions of length 1. Correct it"
        )
    if turned := _turned(slices):
        return (
            f"{turned} of its {len(slices)} slices lie in another orientation than {first.file.name}, expected one "
            "orientation. Export each stack as a series of its own"
        )
    if len(slices) == 1 and not first.thickness > 0:
        return f"{first.file.name} is a single slice of unknown thickness, expected a volume. Leave it out"
    return ""


def _pixels(s: DicomFile) -> str:
    return f"{s.size[0]} × {s.size[1]} pixels of {s.spacing[1]:g} × {s.spacing[0]:g} mm"


def _place_along_normal(s: DicomFile) -> tuple[float, str]:
    row, column = np.reshape(s.orientation, (2, 3))
    return float(np.cross(row, column) @ s.position), s.file.name


def _stack_fault(slices: Sequence[DicomFile]) -> str:
    """Return the fault by which ordered slices do not fill a box evenly; else an empty string."""
    if len(slices) == 1:
        return ""
    row, column = np.reshape(slices[0].orientation, (2, 3))
    places = np.array([s.position for s in slices])
    along = places @ np.cross(row, column)
    gaps = np.diff(along)
    if (gaps < SAME_PLACE).any():
        at = int(np.argmax(gaps < SAME_PLACE))
        one, other = slices[at], slices[at + 1]
        if one.instance == other.instance:
            return f"{one.file.name} and {other.file.name} are the same slice twice. Remove one"
        return (
            f"{one.file.name} and {other.file.name} lie at the same place ({(gaps < SAME_PLACE).sum()} such pairs), "
            "expected one volume: slices are there twice, or it holds several times, echoes or b-values. Export each "
            "volume as a series of its own"
        )
    distance = (along[-1] - along[0]) / len(gaps)
    if np.abs(along - along[0] - distance * np.arange(len(slices))).max() > OFF_GRID * distance:
        usual = float(np.median(gaps))
        at = int(np.argmax(np.abs(gaps - usual)))
        return (
            f"between {slices[at].file.name} and {slices[at + 1].file.name} are {gaps[at]:.2f} mm, expected "
            f"{usual:.2f} mm as between the others. Is a slice missing? Export the whole series"
        )
    sideways = (places - places[0]) @ np.stack([row, column], axis=1)
    if np.abs(sideways).max() > OFF_GRID * distance:
        angle = np.degrees(np.arctan2(np.linalg.norm(sideways[-1]), along[-1] - along[0]))
        return (
            f"its slices are shifted against each other, by {angle:.1f}° (gantry tilt), expected a box with right "
            "angles. Resample it to one first, for example by dcm2niix"
        )
    return ""


def _grid(slices: Sequence[DicomFile]) -> Grid:
    first, last = slices[0], slices[-1]
    row, column = np.reshape(first.orientation, (2, 3))
    normal = np.cross(row, column)
    between_rows, between_columns = first.spacing
    length = float(np.linalg.norm(np.subtract(last.position, first.position)))
    return Grid(
        size=(*first.size, len(slices)),
        spacing=(between_columns, between_rows, length / (len(slices) - 1) if length else first.thickness),
        origin=(first.position[0], first.position[1], first.position[2]),
        direction=tuple(np.stack([row, column, normal], axis=1).ravel().tolist()),
    )
