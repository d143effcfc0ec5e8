"""A measurement of a structure as a person or a program stored it, whatever the format."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from medsize.sizes.ellipsoid import ellipsoid_volume

__all__ = ["Box", "Measurement", "Place", "ReadOptions", "Readings", "without_number"]

NUMBERED = re.compile(r"(.*[^\W\d_].*?)[\s_#.-]+\d+")
"""Name with a number behind it: viewers call the second ``tumour`` ``tumour_1`` or ``tumour-2``."""


@dataclass(frozen=True)
class Place:
    """A point within a structure, a line through it, or its outline in a plane."""

    points: tuple[tuple[float, ...], ...]
    """
    One point, two ends of a line, or more points of an outline: scanner mm, RAS+; or columns and rows of an image.
    """
    instance: str = ""
    """SOPInstanceUID of the image whose columns and rows the points are; empty if they are in mm."""
    frame: int = 1
    """Frame of that image, from 1."""


@dataclass(frozen=True)
class Box:
    """A box in space, which is the region of interest of its scan if it is of no structure."""

    low: tuple[float, ...]
    """Corner in scanner mm, RAS+, as if it were not rotated."""
    high: tuple[float, ...]
    """The opposite one."""
    degrees: float = 0.0
    """Largest angle between one of its axes and the nearest one of the scanner."""


@dataclass(frozen=True)
class Measurement:
    """Size of a structure, its place, or both; and what is said of the scan."""

    file: Path
    where: str
    """Place in the file, for messages: ``"row 3"``."""
    structure: str
    """Name of the structure; empty if the file names none."""
    volume_mm3: float | None = None
    diameters_mm: tuple[float, ...] = ()
    """One to three."""
    area_mm2: float | None = None
    """Area in the slice ``slice``."""
    slice: int | None = None
    places: tuple[Place, ...] = ()
    box: Box | None = None
    lesion: str = ""
    """Tracking identifier, or another name that tells lesions of a structure apart."""
    series: tuple[str, ...] = ()
    """SeriesInstanceUIDs that may be those of the scan."""
    frame_of_reference: str = ""
    subject: str = ""
    """PatientID."""
    image: str = ""
    """Name of the scan."""
    text: str = ""
    """Sentence that the numbers stand in."""
    format: str = ""
    """Name of the file's format."""

    def __str__(self) -> str:
        shown = f" '{self.text}'" if self.text else ""
        return f"{self.file}, {self.where}{shown}"

    @property
    def has_size(self) -> bool:
        """True if it states a size, not only a place."""
        return self.volume_mm3 is not None or bool(self.diameters_mm) or self.area_mm2 is not None

    @property
    def mm3(self) -> float | None:
        """Volume, or that of the ellipsoid of the diameters; ``None`` if it states neither."""
        if self.volume_mm3 is None and self.diameters_mm:
            return ellipsoid_volume(self.diameters_mm)
        return self.volume_mm3


@dataclass
class Readings:
    """Contents of files of measurements."""

    measurements: list[Measurement] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    """Contents that are not a size of a structure, with the reasons."""
    problems: list[str] = field(default_factory=list)
    """Doubts that only a person can decide."""

    def add(self, other: Readings) -> None:
        """Add what was found in another file."""
        self.measurements += other.measurements
        self.left_out += other.left_out
        self.problems += other.problems


@dataclass(frozen=True)
class ReadOptions:
    """Answers of a person to what files leave open."""

    unit: str = ""
    """Unit of numbers that have none; empty: ask."""
    text_column: str = ""
    """Column of a table that holds texts of reports."""
    names: tuple[str, ...] = ()
    """Names of structures to look for in texts. Default if empty: common organs and lesions."""


def without_number(name: str) -> tuple[str, str]:
    """Return the name of a structure without a number behind it, and the whole name if there is one."""
    plain = " ".join(name.split())
    match = NUMBERED.fullmatch(plain)
    return (match[1], plain) if match else (plain, "")
