"""DICOM series: the order of their slices in space, their faults, and their voxels."""

from __future__ import annotations

import math
import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import SimpleITK
from pydicom.uid import UID, ExplicitVRLittleEndian, RTStructureSetStorage

from medsize.scans.dicom.colour import COLOURS, make_grey
from medsize.scans.dicom.header import PYDICOM_ERRORS, SEGMENTATIONS, DicomFile, open_dicom, read_header
from medsize.scans.image_file import last_line
from medsize.scans.scan import FoundScan, ScanKind
from medsize.scans.space.grid import Grid

__all__ = ["PICTURES", "SHEETS", "found_series", "is_apart", "read_series"]

OFF_GRID = 0.1
"""Largest distance of a slice from its place, in slice distances: positions are stored rounded."""
TURNED = 1e-3
"""Largest difference of the direction cosines within one orientation: they are stored rounded."""
SAME_PLACE = 0.01
"""mm within which two slices are at the same place."""
VOLUMES_BY_NAME = ("Image", "Parametric Map", "US Volume")
"""Words in the names of the SOP classes that hold images. A name without them is that of a dose, a spectrum, …"""
PICTURES = re.compile(
    r"^(Secondary Capture|Computed Radiography|Digital|X-Ray (Angiographic|Radiofluoroscopic)|RT Image|Ultrasound|"
    r"VL (?!Whole)|Video|Multi-frame .* Secondary Capture|Ophthalmic Photography)"
)
"""Names of the SOP classes that are pictures unless they state a place in space."""
PROJECTIONS = re.compile(rf"{PICTURES.pattern}|^VL Whole")
"""Names of the SOP classes that are volumes only if they state a place in space."""
SHEETS = re.compile(r"screen ?save|\b(dose|protocol|report|results?)\b", re.IGNORECASE)
"""Words of images that are printed sheets, in ImageType or SeriesDescription."""
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
    fault = _kind_fault(kind, slices[0], _nature(slices)) or _pixel_fault(slices)
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
        subject=next((s.series.subject for s in slices if s.series.subject), ""),
        series=next((s.series.uid for s in slices if s.series.uid), ""),
        frame_of_reference=next((s.series.frame_of_reference for s in slices if s.series.frame_of_reference), ""),
        study=first.series.study,
        drawn_on=first.series.drawn_on,
        grid=_grid(slices) if kind is ScanKind.SERIES and not fault else None,
        rewritten=any(map(_is_rewritten, slices)),
        note=_note(slices),
        whole_numbers=len({(s.rescale, s.stored) for s in slices}) == 1 and all(v.is_integer() for v in first.rescale),
    )
    return replace(found, fault=f"{found.source}: {fault}.") if fault else found


def is_apart(s: DicomFile) -> bool:
    """Return whether a file cannot belong to the volume of its series: a localizer or a printed sheet."""
    return "LOCALIZER" in s.image_type or (not s.has_place and bool(SHEETS.search(" ".join(s.image_type))))


def read_series(found: FoundScan) -> SimpleITK.Image:
    """
    Read the rescaled voxels of a series without a fault: integers if they are whole numbers, else float32.

    Raises:
        ValueError: when SimpleITK cannot read it.
    """
    assert found.grid is not None
    reader = SimpleITK.ImageSeriesReader()
    if not found.whole_numbers:
        # The type that the reader takes from the first slice may not hold the others.
        reader.SetOutputPixelType(SimpleITK.sitkFloat32)
    try:
        with _readable_files(found) as files:
            reader.SetFileNames(files)
            image = reader.Execute()
    except PYDICOM_ERRORS as e:
        raise ValueError(f"{found.source}: its voxels cannot be read: {last_line(e)}.{_syntax(found)}") from e
    if image.GetSize() != found.grid.size:
        raise ValueError(
            f"{found.source}: {image.GetSize()} voxels were read, expected {found.grid.size} by its headers."
        )
    found.grid.place(image)  # SimpleITK ignores the place of some SOP classes, such as Secondary Capture
    return image


@contextmanager
def _readable_files(found: FoundScan) -> Iterator[list[str]]:
    """Yield the paths of a series for SimpleITK: of temporary copies or links where it cannot take the files."""
    names = [str(file) for file in found.files]
    if not found.rewritten and all(name.isprintable() for name in names):
        yield names
        return
    with tempfile.TemporaryDirectory() as folder:
        copies = [Path(folder, f"{number:06d}.dcm") for number in range(len(names))]
        for file, copy in zip(found.files, copies, strict=True):
            if not found.rewritten:  # it is a name that is not UTF-8
                copy.symlink_to(file)
                continue
            with open_dicom(file) as opened:
                dataset = pydicom.dcmread(opened, force=True)
            if dataset.get("PhotometricInterpretation") in COLOURS:
                make_grey(dataset)
            if dataset.get("PhotometricInterpretation") == "MONOCHROME1":
                dataset.PhotometricInterpretation = "MONOCHROME2"  # SimpleITK would invert the voxels for display
            syntax = dataset.file_meta.get("TransferSyntaxUID")
            if syntax is not None and syntax.is_deflated:
                dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
            dataset.save_as(copy)
        yield [os.fspath(copy) for copy in copies]


def _is_rewritten(s: DicomFile) -> bool:
    return s.is_deflated or s.photometric == "MONOCHROME1" or _is_colour(s) or s.file.suffix.lower() == ".gz"


def _is_colour(s: DicomFile) -> bool:
    """Return whether a slice has colours that are read as grey."""
    return s.frames == 1 and COLOURS.get(s.photometric) == s.channels


def _syntax(found: FoundScan) -> str:
    """Return the name of a series' transfer syntax, if it is compressed, for messages."""
    try:
        syntax = read_header(found.files[0]).file_meta.TransferSyntaxUID
    except PYDICOM_ERRORS:
        return ""
    if not syntax.is_compressed:
        return ""
    return f" Copy it again from its source, or decompress it first: its transfer syntax is {syntax.name}."


def _note(slices: Sequence[DicomFile]) -> str:
    if any(s.photometric == "MONOCHROME1" for s in slices):
        return "it says MONOCHROME1, to be shown inverted; its stored values were kept"
    if _is_colour(slices[0]):
        return f"it is in colour ({slices[0].photometric}), read as grey (luminance)"
    return ""


def _kind(slices: Sequence[DicomFile]) -> ScanKind:
    first = slices[0]
    if first.sop_class in SEGMENTATIONS:
        return ScanKind.SEGMENTS
    if first.sop_class == RTStructureSetStorage:
        return ScanKind.CONTOURS
    if not all(all(s.size) for s in slices) or _nature(slices):
        return ScanKind.OTHER
    # CT states it; MR shows it by slices of several orientations and its name.
    if "LOCALIZER" in first.image_type or (LOCALIZER.search(first.series.description) and _turned(slices)):
        return ScanKind.LOCALIZER
    return ScanKind.MULTIFRAME if first.frames > 1 else ScanKind.SERIES


def _nature(slices: Sequence[DicomFile]) -> str:
    """Return the name of what has pixels, yet is not a volume; else an empty string."""
    first = slices[0]
    name = UID(first.sop_class).name.removesuffix(" Storage")
    if name != first.sop_class and not any(word in name for word in VOLUMES_BY_NAME):
        return name
    if any(s.has_place for s in slices):
        return ""
    if PROJECTIONS.search(name):
        return f"{name} without a place in space"
    return "printed sheet" if SHEETS.search(" ".join((*first.image_type, first.series.description))) else ""


def _turned(slices: Sequence[DicomFile]) -> int:
    """Count the slices whose orientation differs from that of the first."""
    first = slices[0].orientation
    return sum(len(s.orientation) != len(first) or math.dist(s.orientation, first) > TURNED for s in slices)


def _kind_fault(kind: ScanKind, first: DicomFile, nature: str) -> str:
    if kind is ScanKind.LOCALIZER:
        return "it is a localizer, slices for planning, expected a volume. Leave it out"
    if kind in (ScanKind.SEGMENTS, ScanKind.CONTOURS):
        return f"it is a mask ({kind.value}), expected an image. Read it by place_masks, or leave it out"
    if kind is ScanKind.OTHER and all(first.size):
        return f"it is not a scan ({nature}), expected an image. Leave it out"
    if kind is ScanKind.OTHER:
        return f"it holds no pixels (modality {first.series.modality or 'not stated'}), expected an image. Leave it out"
    return ""


def _pixel_fault(slices: Sequence[DicomFile]) -> str:
    for s in slices:
        if s.is_mosaic:
            return (
                f"{s.file.name} is a mosaic, whose tiles are the slices, expected a slice in each file. Convert it "
                "first, for example by dcm2niix"
            )
        if _is_colour(s) != _is_colour(slices[0]) or (_is_colour(s) and s.rescale != (1, 0)):
            return f"{s.file.name} is {s.photometric}, expected grey values, or colours on all slices. Export these"
        if (s.channels != 1 or s.photometric == "PALETTE COLOR") and not _is_colour(s):
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
        pair = f"{one.file.name} and {other.file.name}"
        if one.file.parent != other.file.parent:
            pair = f"{one.file} and {other.file}"
        if one.instance and one.instance == other.instance:
            return f"{pair} are the same slice twice. Remove one"
        return (
            f"{pair} lie at the same place ({(gaps < SAME_PLACE).sum()} such pairs), "
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
