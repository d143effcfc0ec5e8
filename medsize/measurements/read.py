"""Files of measurements, by their content."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from medsize.measurements.formats.imagej_results import is_imagej_results, read_imagej_results
from medsize.measurements.formats.itk_snap_volumes import is_itk_snap_volumes, read_itk_snap_volumes
from medsize.measurements.formats.ohif_csv import is_ohif_csv, read_ohif_csv
from medsize.measurements.formats.report_table import is_report_table, read_report_table
from medsize.measurements.formats.segment_statistics import is_segment_statistics, read_segment_statistics
from medsize.measurements.formats.slicer_markups import is_slicer_markups, read_slicer_markups
from medsize.measurements.formats.totalsegmentator_statistics import (
    is_totalsegmentator_statistics,
    read_totalsegmentator_statistics,
)
from medsize.measurements.measurement import Readings, ReadOptions

__all__ = ["find_measurements", "format_of", "read_measurements"]

START = 64 * 1024
"""Bytes that tell a format."""


@dataclass(frozen=True)
class Format:
    """A format of measurements."""

    name: str
    fits: Callable[[Path, bytes], bool]
    """Test by the name of a file and its first bytes."""
    read: Callable[[Path, ReadOptions], Readings]
    is_sure: bool = True
    """False if it takes a person's word that it holds measurements."""


def _is_dicom(file: Path, start: bytes) -> bool:
    return start[128:132] == b"DICM"


def _read_structured_report(file: Path, options: ReadOptions) -> Readings:
    from medsize.measurements.formats.structured_report import read_structured_report

    return read_structured_report(file)


FORMATS = (
    Format("DICOM SR", _is_dicom, _read_structured_report),
    Format("markups of 3D Slicer (.mrk.json)", is_slicer_markups, read_slicer_markups),
    Format("CSV of OHIF", is_ohif_csv, read_ohif_csv),
    Format("segment statistics of 3D Slicer", is_segment_statistics, read_segment_statistics),
    Format("volumes of ITK-SNAP", is_itk_snap_volumes, read_itk_snap_volumes),
    Format("statistics.json of TotalSegmentator", is_totalsegmentator_statistics, read_totalsegmentator_statistics),
    Format("results of ImageJ", is_imagej_results, read_imagej_results, is_sure=False),
    Format("table with sentences of reports", is_report_table, read_report_table, is_sure=False),
)


def format_of(file: Path) -> Format | None:
    """Return the format of a file; ``None`` if it is not one of measurements."""
    with file.open("rb") as opened:
        start = opened.read(START)
    return next((known for known in FORMATS if known.fits(file, start)), None)


def read_measurements(files: Sequence[Path], options: ReadOptions | None = None) -> Readings:
    """
    Read measurements of any format.

    Args:
        files: the files.
        options: answers to what they leave open.

    Returns:
        the measurements, and what was left out. A file that cannot be read is a problem.
    """
    readings = Readings()
    for file in files:
        try:
            known = format_of(file)
            if known is None:
                names = ", ".join(dict.fromkeys(f.name for f in FORMATS))
                readings.problems.append(
                    f"{file}: found no measurements of a known format, expected one of: {names}. Export it as one of "
                    "these, or leave it out."
                )
            else:
                read = known.read(file, options or ReadOptions())
                read.measurements = [replace(m, format=known.name) for m in read.measurements]
                readings.add(read)
        except OSError as e:
            readings.problems.append(f"{file}: it cannot be read: {e.strerror or e}. Is it the right path?")
        except ValueError as e:
            readings.problems.append(str(e))
    return readings


def find_measurements(folder: Path) -> list[Path]:
    """Return the files below a folder, other than DICOM, that certainly hold measurements. Hidden ones are left out."""
    found = []
    for file in _files(folder):
        with suppress(OSError):  # it is not known to be one of measurements
            if (known := format_of(file)) is not None and known.is_sure:
                found.append(file)
    return found


def _files(folder: Path) -> Iterator[Path]:
    for where, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            file = Path(where, name)
            if not name.startswith(".") and file.suffix.lower() in (".json", ".csv", ".tsv", ".txt") and file.is_file():
                yield file
