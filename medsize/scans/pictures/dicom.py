"""DICOM pictures: ultrasound, X-ray, photographs and secondary captures. Needs pydicom."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.pixels import apply_color_lut, pixel_array
from pydicom.uid import UID

from medsize.scans.dicom.header import PYDICOM_ERRORS, DicomFile, open_dicom, read_header
from medsize.scans.dicom.series import PICTURES, SHEETS
from medsize.scans.image_file import MAX_BYTES, check_memory
from medsize.scans.pictures.picture import Picture, as_picture

__all__ = ["is_dicom_picture", "num_frames", "picture_fault", "picture_spacing", "read_frame"]

CENTIMETRES = 3
"""Unit of an axis of a region of ultrasound."""
PLANE = 1
"""Spatial format of a region of ultrasound: 2D, in contrast to M-mode, spectra and waveforms."""


def is_dicom_picture(file: Path) -> bool:
    """Return whether a DICOM file is a picture, and not a slice or a volume, by its header."""
    try:
        header = read_header(file)
    except PYDICOM_ERRORS:
        return False
    name = UID(str(header.get("SOPClassUID", ""))).name
    has_place = "ImagePositionPatient" in header or "PerFrameFunctionalGroupsSequence" in header
    return bool(PICTURES.search(name)) and not has_place and bool(header.get("Rows"))


def picture_fault(header: DicomFile) -> str | None:
    """Return the reason why a DICOM picture cannot be used, "" if it can; ``None`` if it is not a picture."""
    name = UID(header.sop_class).name
    is_sheet = SHEETS.search(" ".join((*header.image_type, header.series.description)))
    if not PICTURES.search(name) or header.has_place or not all(header.size) or is_sheet:
        return None
    if header.burned_in:
        return "it has text burned into the image, which may name the patient. Remove it first."
    if header.missing_bytes:
        return f"it ends {header.missing_bytes} bytes before its last pixel. Copy it again from its source."
    return ""


def num_frames(file: Path) -> int:
    """
    Return the number of frames of a DICOM file.

    Raises:
        ValueError: naming the file, when it cannot be read.
    """
    try:
        return int(read_header(file).get("NumberOfFrames") or 1)
    except PYDICOM_ERRORS as e:
        raise _broken(file, e) from e


def read_frame(file: Path, frame: int = 0, max_bytes: int = MAX_BYTES) -> Picture:
    """
    Read a frame of a DICOM picture. MONOCHROME1 is inverted, so that bright means the same in all pictures.

    Raises:
        ValueError: naming the file, when it cannot be read, or is larger than allowed.
    """
    try:
        with warnings.catch_warnings(), open_dicom(file) as opened:
            warnings.simplefilter("ignore")
            dataset = pydicom.dcmread(opened, force=True)
            rows, columns, frames = (int(dataset.get(key) or 1) for key in ("Rows", "Columns", "NumberOfFrames"))
            samples, bits = int(dataset.get("SamplesPerPixel") or 1), int(dataset.get("BitsAllocated") or 8)
            check_memory(file, (columns, rows, samples), max(1, bits // 8), max_bytes)
            if frame >= frames:
                raise ValueError(f"{file}: found {frames} frames, expected frame {frame + 1}. Correct its number.")
            pixels = pixel_array(dataset, index=frame)
            spacing, notes = picture_spacing(dataset)
            photometric = str(dataset.get("PhotometricInterpretation") or "")
            if photometric == "PALETTE COLOR":
                pixels = apply_color_lut(pixels, dataset)
                pixels = (pixels >> 8).astype(np.uint8) if pixels.dtype.itemsize > 1 else pixels
            stored = int(dataset.get("BitsStored") or bits)
            if int(dataset.get("PixelRepresentation") or 0) and pixels.min() < 0:
                pixels = (pixels.astype(np.int32) + 2 ** (stored - 1)).astype(np.uint16)
                notes.append(f"{2 ** (stored - 1)} was added to its values, which were negative")
            if photometric == "MONOCHROME1":
                pixels = (2**stored - 1 - pixels.astype(np.int32)).clip(0).astype(pixels.dtype)
                notes.append("it says MONOCHROME1: it was inverted, as it is to be shown")
        return as_picture(pixels, spacing, tuple(notes))
    except PYDICOM_ERRORS as e:
        raise e if isinstance(e, ValueError) and str(e).startswith(str(file)) else _broken(file, e) from e


def picture_spacing(header: Any) -> tuple[tuple[float, float] | None, list[str]]:
    """
    Return the width and height of a picture's pixels in mm, ``None`` if unknown; and remarks on them.

    Args:
        header: data set of the DICOM file.
    """
    regions = list(header.get("SequenceOfUltrasoundRegions") or ())
    planes = [
        region
        for region in regions
        if region.get("RegionSpatialFormat", PLANE) == PLANE
        and region.get("PhysicalUnitsXDirection") == region.get("PhysicalUnitsYDirection") == CENTIMETRES
    ]
    if planes:
        found = [(abs(float(r.PhysicalDeltaX)) * 10, abs(float(r.PhysicalDeltaY)) * 10) for r in planes]
        first = found[0]
        if all(math.isclose(a, b, rel_tol=1e-3) for one in found for a, b in zip(one, first, strict=True)):
            return _valid(first, [])
        return None, [f"its {len(planes)} regions of ultrasound state different sizes of a pixel: none was taken"]
    for keyword in ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing"):
        stated = header.get(keyword)
        if stated is not None and not isinstance(stated, str | float) and len(stated) == 2:
            notes = [] if keyword == "PixelSpacing" else [f"its pixels are those of its {keyword}, at the detector"]
            return _valid((float(stated[1]), float(stated[0])), notes)
    return None, []


def _valid(spacing: tuple[float, float], notes: list[str]) -> tuple[tuple[float, float] | None, list[str]]:
    if all(math.isfinite(mm) and mm > 0 for mm in spacing):
        return spacing, notes
    return None, [f"it states pixels of {spacing} mm, which were not taken"]


def _broken(file: Path, error: BaseException) -> ValueError:
    reason = (str(error) or type(error).__name__).splitlines()[0].rstrip(".")
    return ValueError(
        f"{file}: found DICOM that cannot be read as a picture ({reason}), expected whole pixels. Copy it again from "
        "its source, or decompress it."
    )
