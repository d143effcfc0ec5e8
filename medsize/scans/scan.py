"""What was found in a folder of scans."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from medsize.scans.grid import Grid

__all__ = ["MASKS", "UNUSABLE", "FoundScan", "ScanKind"]


class ScanKind(str, Enum):
    """How a scan is kept."""

    FILE = "image file"
    SERIES = "DICOM series"
    MULTIFRAME = "multi-frame DICOM"
    LOCALIZER = "localizer"
    SEGMENTS = "DICOM SEG"
    CONTOURS = "RTSTRUCT"
    OTHER = "no image"
    ARCHIVE = "archive"
    UNREADABLE = "unreadable file"


MASKS = (ScanKind.SEGMENTS, ScanKind.CONTOURS)
UNUSABLE = (ScanKind.UNREADABLE, ScanKind.ARCHIVE)


@dataclass(frozen=True)
class FoundScan:
    """
    A scan, or a mask, in a folder: what its headers say. :func:`medsize.scans.find_scans.read_scan` reads its voxels.

    ``subject`` and ``series`` come from the headers as they are and identify a patient; ``description`` is free of what
    the headers state as the patient's names, numbers and dates.
    """

    kind: ScanKind
    files: tuple[Path, ...]
    """Of a series: the slices in their order in space."""
    fault: str = ""
    """Why it cannot be used, where its headers tell: the file, what was found and expected, and what to do."""
    modality: str = ""
    description: str = ""
    subject: str = ""
    """PatientID."""
    series: str = ""
    """SeriesInstanceUID."""
    frame_of_reference: str = ""
    drawn_on: tuple[str, ...] = ()
    """Of a mask: UIDs of the series that it names."""
    grid: Grid | None = None
    """Of a DICOM series: by its headers."""
    whole_numbers: bool = False
    """Of a DICOM series: its intensities are whole numbers, rescaled alike on all slices."""

    @property
    def source(self) -> str:
        """Where it lies, for messages: its file, or its folder and the first of its slices."""
        first = self.files[0]
        return str(first) if len(self.files) == 1 else f"{first.parent} ({len(self.files)} files from {first.name})"
