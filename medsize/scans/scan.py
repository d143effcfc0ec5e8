"""Scans and masks found in a folder."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from medsize.scans.space.grid import Grid

__all__ = [
    "LEFT_OUT",
    "MASKS",
    "UNUSABLE",
    "VOLUMES",
    "FoundScan",
    "ScanKind",
    "counted",
    "left_out_lines",
    "noun_of",
    "said_once",
]


class ScanKind(str, Enum):
    """Form in which a scan is stored."""

    FILE = "image file"
    PICTURE = "picture"
    SERIES = "DICOM series"
    MULTIFRAME = "multi-frame DICOM"
    LOCALIZER = "localizer"
    SEGMENTS = "DICOM SEG"
    CONTOURS = "RTSTRUCT"
    OTHER = "no image"
    COPY = "copy"
    ARCHIVE = "archive"
    UNREADABLE = "unreadable file"


VOLUMES = (ScanKind.FILE, ScanKind.SERIES, ScanKind.MULTIFRAME)
MASKS = (ScanKind.SEGMENTS, ScanKind.CONTOURS)
UNUSABLE = (ScanKind.UNREADABLE, ScanKind.ARCHIVE)
LEFT_OUT = (ScanKind.LOCALIZER, ScanKind.OTHER, ScanKind.COPY)
"""Kinds that are neither scans nor masks: no reason to stop."""


@dataclass(frozen=True)
class FoundScan:
    """
    Scan or mask in a folder, by its headers. :func:`medsize.scans.find_scans.read_scan` reads its voxels.

    ``subject``, ``series`` and ``study`` are copied from the headers and identify a patient. ``description`` leaves out
    the patient's names, numbers and dates that the headers state.
    """

    kind: ScanKind
    files: tuple[Path, ...]
    """The file; for a series, those of the slices in their order in space."""
    fault: str = ""
    """Reason why it cannot be used, by its headers: the file, what was found and expected, and what to do."""
    modality: str = ""
    description: str = ""
    subject: str = ""
    """PatientID."""
    series: str = ""
    """SeriesInstanceUID."""
    series_is_unique: bool = True
    """False if another scan here states the same SeriesInstanceUID."""
    frame_of_reference: str = ""
    study: str = ""
    """StudyInstanceUID."""
    drawn_on: tuple[str, ...] = ()
    """For a mask: UIDs of the series that it names."""
    grid: Grid | None = None
    """For a DICOM series: its grid by its headers."""
    whole_numbers: bool = False
    """For a DICOM series: True if its intensities are whole numbers, rescaled alike on all slices."""

    rewritten: bool = False
    """For a DICOM series: True if SimpleITK needs copies of its files."""
    note: str = ""
    """Remark on how it is read where its headers leave a choice."""
    frame: int | None = None
    """Number of the picture in a file of several: the page of a TIFF, the frame of a DICOM file."""

    @property
    def source(self) -> str:
        """Its place, for messages: its file, or its folder and the first of its slices."""
        first = self.files[0]
        if self.frame is not None:
            return f"{first}#{self.frame + 1}"
        return str(first) if len(self.files) == 1 else f"{first.parent} ({len(self.files)} files from {first.name})"


def noun_of(scans: Iterable[FoundScan]) -> str:
    """Return the word for scans in messages: ``"picture"`` if all are pictures, else ``"scan"``."""
    return "picture" if {scan.kind for scan in scans} == {ScanKind.PICTURE} else "scan"


def counted(scans: Collection[FoundScan]) -> str:
    """Return the number of scans for a message, such as ``1 scan`` or ``40 pictures``."""
    return f"{len(scans)} {noun_of(scans)}{'' if len(scans) == 1 else 's'}"


def said_once(messages: Iterable[tuple[str, str]]) -> list[str]:
    """
    Return a line for each reason: where it was found first, and at how many places more.

    Args:
        messages: places and reasons.
    """
    places: dict[str, list[str]] = {}
    for place, reason in messages:
        places.setdefault(reason, []).append(place)
    return [
        f"{found[0]}{f' and {len(found) - 1} more' if len(found) > 1 else ''}: {reason}"
        for reason, found in places.items()
    ]


def left_out_lines(scans: Iterable[FoundScan]) -> list[str]:
    """Return a line for each reason why what was found is neither a scan nor a mask."""
    left_out = (scan for scan in scans if scan.kind in LEFT_OUT)
    return said_once((scan.source, scan.fault.removeprefix(f"{scan.source}: ")) for scan in left_out)
