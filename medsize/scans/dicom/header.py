"""Headers of DICOM files. Needs pydicom (``pip install 'medsize[dicom]'``)."""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.uid import MediaStorageDirectoryStorage, RTStructureSetStorage, SegmentationStorage

__all__ = ["PYDICOM_ERRORS", "DicomFile", "DicomSeries", "read_dicom_file"]

PYDICOM_ERRORS = (
    OSError,
    EOFError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    RuntimeError,
    struct.error,
    BytesLengthException,
    InvalidDicomError,
)
"""Exceptions of pydicom and highdicom for files that break off or do not follow the standard."""
IDENTIFYING = [
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientBirthName",
    "PatientMotherBirthName",
    "PatientAddress",
    "PatientTelephoneNumbers",
    "OtherPatientIDs",
    "OtherPatientNames",
    "AccessionNumber",
    "ReferringPhysicianName",
    "PerformingPhysicianName",
    "OperatorsName",
]


@dataclass(frozen=True)
class DicomSeries:
    """Series of a DICOM file, by its header. Missing attributes are empty."""

    uid: str
    modality: str
    description: str
    subject: str
    frame_of_reference: str
    drawn_on: tuple[str, ...]
    """For a mask: UIDs of the series that it names."""


@dataclass(frozen=True)
class DicomFile:
    """Header of a DICOM file, as far as a scan needs it. Missing or invalid attributes are empty or 0."""

    file: Path
    sop_class: str
    instance: str
    series: DicomSeries
    image_type: tuple[str, ...]
    burned_in: bool
    """True if text is burned into the image."""
    size: tuple[int, int]
    """Columns and rows."""
    frames: int
    channels: int
    position: tuple[float, ...]
    orientation: tuple[float, ...]
    spacing: tuple[float, ...]
    """mm between rows, and between columns."""
    thickness: float
    """mm between slices if the header states it, else the thickness of a slice."""
    stored: tuple[int, int, bool]
    """Bits allocated, bits stored, signed."""
    rescale: tuple[float, float]
    """Slope and intercept."""
    missing_bytes: int
    """Number of pixel bytes missing at the end of the file."""

    @property
    def is_slice(self) -> bool:
        """True if the file is a part of a series, and not a scan or mask of its own."""
        return self.frames == 1 and self.sop_class not in (SegmentationStorage, RTStructureSetStorage)


def read_dicom_file(file: Path, known: dict[str, DicomSeries] | None = None) -> DicomFile | None:
    """
    Read the header of a DICOM file.

    Args:
        file: the file.
        known: series of the files read before, by UID. A new series is added, so that the attributes that all slices
            share are read once.

    Returns:
        the header; ``None`` for an index of other files (DICOMDIR).

    Raises:
        ValueError: when the file cannot be read as DICOM.
    """
    try:
        with open(file, "rb") as opened:
            dataset = pydicom.dcmread(opened, stop_before_pixels=True, force=True)
            # The tag, type and length of the pixels come first.
            bytes_left = file.stat().st_size - opened.tell() - (8 if dataset.original_encoding[0] else 12)
        if dataset.get("SOPClassUID") == MediaStorageDirectoryStorage:
            return None
        if not dataset.get("SOPClassUID") or not dataset.get("SeriesInstanceUID"):
            raise ValueError("it states no SOPClassUID or SeriesInstanceUID")
        if "Image" in dataset.SOPClassUID.name and not (dataset.get("Rows") and dataset.get("Columns")):
            raise ValueError(f"it is a {dataset.SOPClassUID.name} without Rows and Columns")
        known = {} if known is None else known
        if dataset.SeriesInstanceUID not in known:
            known[dataset.SeriesInstanceUID] = _series(dataset)
        return _described(file, dataset, known[dataset.SeriesInstanceUID], bytes_left)
    except PYDICOM_ERRORS as e:
        size = file.stat().st_size if file.exists() else 0
        reason = str(e) or type(e).__name__
        raise ValueError(
            f"{file}: it cannot be read as DICOM ({size} bytes): {reason}. Copy it again from its source, or remove it."
        ) from e


def _series(dataset: pydicom.Dataset) -> DicomSeries:
    return DicomSeries(
        uid=str(dataset.SeriesInstanceUID),
        modality=str(dataset.get("Modality") or ""),
        description=_without_identifiers(dataset),
        subject=str(dataset.get("PatientID") or "").strip(),
        frame_of_reference=_frame_of_reference(dataset),
        drawn_on=tuple(dict.fromkeys(_series_named(dataset))),
    )


def _described(file: Path, dataset: pydicom.Dataset, series: DicomSeries, bytes_left: int) -> DicomFile:
    columns, rows = int(dataset.get("Columns") or 0), int(dataset.get("Rows") or 0)
    frames, channels = int(dataset.get("NumberOfFrames") or 1), int(dataset.get("SamplesPerPixel") or 1)
    bits = int(dataset.get("BitsAllocated") or 16)
    syntax = getattr(dataset, "file_meta", {}).get("TransferSyntaxUID")
    compressed = syntax is not None and (syntax.is_encapsulated or syntax.is_deflated)
    expected = 0 if compressed else (columns * rows * frames * channels * bits + 7) // 8
    return DicomFile(
        file=file,
        sop_class=str(dataset.SOPClassUID),
        instance=str(dataset.get("SOPInstanceUID", "")),
        series=series,
        image_type=tuple(map(str, dataset.get("ImageType") or ())),
        burned_in=dataset.get("BurnedInAnnotation") == "YES",
        size=(columns, rows),
        frames=frames,
        channels=channels,
        position=_numbers(dataset, "ImagePositionPatient", 3),
        orientation=_numbers(dataset, "ImageOrientationPatient", 6),
        spacing=_numbers(dataset, "PixelSpacing", 2),
        thickness=float(dataset.get("SpacingBetweenSlices") or dataset.get("SliceThickness") or 0),
        stored=(bits, int(dataset.get("BitsStored") or bits), bool(dataset.get("PixelRepresentation"))),
        rescale=(_number(dataset, "RescaleSlope", 1.0), _number(dataset, "RescaleIntercept", 0.0)),
        missing_bytes=max(expected - bytes_left, 0),
    )


def _number(dataset: pydicom.Dataset, keyword: str, default: float) -> float:
    stated = dataset.get(keyword)
    return default if stated in (None, "") else float(stated)


def _numbers(dataset: pydicom.Dataset, keyword: str, count: int) -> tuple[float, ...]:
    stated = dataset.get(keyword)
    values = tuple(map(float, stated)) if isinstance(stated, Sequence) else ()
    return values if len(values) == count and all(map(math.isfinite, values)) else ()


def _frame_of_reference(dataset: pydicom.Dataset) -> str:
    """Return the UID of the frame of reference; an RTSTRUCT names that of its contours within a sequence."""
    own = dataset.get("FrameOfReferenceUID")
    if dataset.SOPClassUID == RTStructureSetStorage:
        named = {item.get("FrameOfReferenceUID") for item in dataset.get("ReferencedFrameOfReferenceSequence") or ()}
        own = own or (named.pop() if len(named) == 1 else "")
    return str(own or "")


def _series_named(dataset: Any) -> list[str]:
    """Return the UIDs of the series that a SEG or an RTSTRUCT was drawn on."""
    series = list(dataset.get("ReferencedSeriesSequence") or ())
    for frame in dataset.get("ReferencedFrameOfReferenceSequence") or ():
        for study in frame.get("RTReferencedStudySequence") or ():
            series += study.get("RTReferencedSeriesSequence") or ()
    return [str(item.SeriesInstanceUID) for item in series if item.get("SeriesInstanceUID")]


def _without_identifiers(dataset: pydicom.Dataset) -> str:
    """
    Return the SeriesDescription without words that may identify the patient.

    It leaves out words of the identifying attributes, and words that contain one of their longer words. It also leaves
    out words with four or more digits in a row, such as record numbers and dates.
    """
    stated = " ".join(str(dataset.get(keyword) or "") for keyword in IDENTIFYING)
    identifying = set(_words(stated))
    longer = [word for word in identifying if len(word) > 3]
    kept = [
        word
        for word in _words(str(dataset.get("SeriesDescription") or ""))
        if word not in identifying and not any(name in word for name in longer) and not re.search(r"\d{4}", word)
    ]
    return " ".join(kept)


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", text.lower())
