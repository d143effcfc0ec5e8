"""Headers of DICOM files. Needs pydicom (``pip install 'medsize[dicom]'``)."""

from __future__ import annotations

import gzip
import io
import math
import re
import sqlite3
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import pydicom
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.uid import MediaStorageDirectoryStorage, RTStructureSetStorage, SegmentationStorage

__all__ = [
    "PYDICOM_ERRORS",
    "SEGMENTATIONS",
    "DicomFile",
    "DicomSeries",
    "open_dicom",
    "read_dicom_file",
    "read_header",
]

PYDICOM_ERRORS = (
    OSError,
    EOFError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    RuntimeError,
    sqlite3.Error,  # highdicom keeps the frames' attributes in a database
    struct.error,
    zlib.error,
    BytesLengthException,
    InvalidDicomError,
)
"""Exceptions of pydicom and highdicom for files that break off or do not follow the standard."""
SEGMENTATIONS = (SegmentationStorage, "1.2.840.10008.5.1.4.1.1.66.7")
"""SOP classes of DICOM SEG; the second is that of label maps, which pydicom does not know yet."""
MAX_UNPACKED = 2**31
"""Bytes that a compressed file (.dcm.gz) may unpack to."""
MOSAICS = {"MOSAIC", "VFRAME"}
"""Words in ImageType: many slices as tiles of one image, of Siemens and of United Imaging."""
SIEMENS_TILES = 0x0019100A
"""NumberOfImagesInMosaic."""
OF_FRAME = (
    *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness", "SpacingBetweenSlices"),
    *("RescaleSlope", "RescaleIntercept"),
)
"""Attributes that an enhanced image states for each frame."""
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
    number: str
    """SeriesNumber."""
    modality: str
    description: str
    subject: str
    frame_of_reference: str
    study: str
    """StudyInstanceUID."""
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
    photometric: str
    """PhotometricInterpretation."""
    is_deflated: bool
    is_mosaic: bool
    """True if slices are the tiles of one image."""
    has_place: bool
    """True if it states a place in space, or its frames do."""
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
        return self.frames == 1 and self.sop_class not in (*SEGMENTATIONS, RTStructureSetStorage)


def open_dicom(file: Path) -> BinaryIO:
    """
    Open a DICOM file, unpacked if it is compressed as a whole (.dcm.gz).

    Raises:
        ValueError: when it unpacks to too many bytes.
    """
    if file.suffix.lower() != ".gz":
        return open(file, "rb")
    with gzip.open(file) as packed:
        content = packed.read(MAX_UNPACKED + 1)
    if len(content) > MAX_UNPACKED:
        raise ValueError(f"it unpacks to more than {MAX_UNPACKED / 2**30:.0f} GiB")
    return io.BytesIO(content)


def read_header(file: Path) -> pydicom.Dataset:
    """Read all attributes of a DICOM file but its pixels."""
    with open_dicom(file) as opened:
        return pydicom.dcmread(opened, stop_before_pixels=True, force=True)


def read_dicom_file(file: Path, known: dict[tuple[Any, ...], DicomSeries] | None = None) -> DicomFile | None:
    """
    Read the header of a DICOM file.

    Args:
        file: the file.
        known: series of the files read before. A new series is added, so that the attributes that all slices share are
            read once.

    Returns:
        the header; ``None`` for an index of other files (DICOMDIR).

    Raises:
        ValueError: when the file cannot be read as DICOM.
    """
    try:
        with open_dicom(file) as opened:
            dataset = pydicom.dcmread(opened, stop_before_pixels=True, force=True)
            # The tag, type and length of the pixels come first.
            at_pixels = opened.tell() + (8 if dataset.original_encoding[0] else 12)
            bytes_left = max(opened.seek(0, io.SEEK_END) - at_pixels, 0)
        sop_class = dataset.get("SOPClassUID")
        if not sop_class:  # blanked, or that of an index stands before the data set
            sop_class = dataset.file_meta.get("MediaStorageSOPClassUID")
            if "DirectoryRecordSequence" in dataset:
                return None
            if not sop_class:
                raise ValueError("it states no SOPClassUID")
            dataset.SOPClassUID = sop_class
        if sop_class == MediaStorageDirectoryStorage:
            return None
        # Careless anonymisation gives one UID to several patients, or blanks it.
        uid, subject, modality = (_stored(dataset, tag) for tag in (0x0020000E, 0x00100020, 0x00080060))
        if not (uid or "SeriesInstanceUID" in dataset or "Rows" in dataset or "StructureSetROISequence" in dataset):
            raise ValueError("it states no SeriesInstanceUID and no image")
        known = {} if known is None else known
        unnamed = () if uid else (file.parent, str(dataset.get("SeriesNumber")), str(dataset.get("SeriesDescription")))
        is_mask = sop_class in (*SEGMENTATIONS, RTStructureSetStorage)
        own = (file,) if is_mask else ()  # masks of one series may be drawn on several
        key = (uid, subject, modality, *unnamed, *own)
        if key not in known:
            known[key] = _series(dataset)
        described = _described(file, dataset, known[key], bytes_left)
        if not all(described.size) and "Image" in sop_class.name:
            raise ValueError(f"it is a {sop_class.name} without Rows and Columns")
        return described
    except PYDICOM_ERRORS as e:
        size = file.stat().st_size if file.exists() else 0
        reason = str(e) or type(e).__name__
        raise ValueError(
            f"{file}: it cannot be read as DICOM ({size} bytes): {reason}. Copy it again from its source, or remove it."
        ) from e


def _stored(dataset: pydicom.Dataset, tag: int) -> Any:
    """Return the value of an element as it is stored, for comparison only: its conversion takes time."""
    element = dataset.get_item(tag)
    return "" if element is None else element.value or ""


def _series(dataset: pydicom.Dataset) -> DicomSeries:
    return DicomSeries(
        uid=str(dataset.get("SeriesInstanceUID") or ""),
        number=str(dataset.get("SeriesNumber") or ""),
        modality=str(dataset.get("Modality") or ""),
        description=_without_identifiers(dataset),
        subject=str(dataset.get("PatientID") or "").strip(),
        frame_of_reference=_frame_of_reference(dataset),
        study=str(dataset.get("StudyInstanceUID") or ""),
        drawn_on=tuple(dict.fromkeys(_series_named(dataset))),
    )


def _described(file: Path, dataset: pydicom.Dataset, series: DicomSeries, bytes_left: int) -> DicomFile:
    if "PerFrameFunctionalGroupsSequence" in dataset and int(dataset.get("NumberOfFrames") or 1) == 1:
        _copy_from_frame(dataset)
    columns, rows = int(dataset.get("Columns") or 0), int(dataset.get("Rows") or 0)
    frames, channels = int(dataset.get("NumberOfFrames") or 1), int(dataset.get("SamplesPerPixel") or 1)
    bits = int(dataset.get("BitsAllocated") or 16)
    syntax = dataset.file_meta.get("TransferSyntaxUID")
    is_deflated = syntax is not None and syntax.is_deflated
    compressed = syntax is not None and (syntax.is_encapsulated or is_deflated)
    kept = 2 if dataset.get("PhotometricInterpretation") == "YBR_FULL_422" else channels  # two pixels share a colour
    expected = 0 if compressed else (columns * rows * frames * kept * bits + 7) // 8
    image_type = tuple(map(str, dataset.get("ImageType") or ()))
    position = _numbers(dataset, "ImagePositionPatient", 3)
    return DicomFile(
        file=file,
        sop_class=str(dataset.SOPClassUID),
        instance=str(dataset.get("SOPInstanceUID") or ""),
        series=series,
        image_type=image_type,
        burned_in=dataset.get("BurnedInAnnotation") == "YES",
        size=(columns, rows),
        frames=frames,
        channels=channels,
        photometric=str(dataset.get("PhotometricInterpretation") or ""),
        is_deflated=is_deflated,
        is_mosaic=bool(MOSAICS.intersection(image_type)) or SIEMENS_TILES in dataset,
        has_place=bool(position) or "PerFrameFunctionalGroupsSequence" in dataset,
        position=position,
        orientation=_numbers(dataset, "ImageOrientationPatient", 6),
        spacing=_numbers(dataset, "PixelSpacing", 2),
        thickness=float(dataset.get("SpacingBetweenSlices") or dataset.get("SliceThickness") or 0),
        stored=(bits, int(dataset.get("BitsStored") or bits), bool(dataset.get("PixelRepresentation"))),
        rescale=(_number(dataset, "RescaleSlope", 1.0), _number(dataset, "RescaleIntercept", 0.0)),
        missing_bytes=max(expected - bytes_left, 0),
    )


def _copy_from_frame(dataset: pydicom.Dataset) -> None:
    """Copy the place of an enhanced image's only frame to where other images have it."""
    for name in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        for group in (element.value for groups in (dataset.get(name) or ())[:1] for element in groups):
            for keyword in OF_FRAME:
                if isinstance(group, Sequence) and group and keyword in group[0]:
                    dataset[keyword] = group[0][keyword]


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
