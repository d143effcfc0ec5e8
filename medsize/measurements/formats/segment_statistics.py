"""
Segment statistics of 3D Slicer: a table of volumes.

Source: the module's ``exportToTable`` and ``exportToString``,
https://github.com/Slicer/Slicer/blob/main/Modules/Scripted/SegmentStatistics/SegmentStatistics.py. A column is called
``Volume [mm3] (1)`` in a table that was saved, and ``LabelmapSegmentStatisticsPlugin.volume_mm3`` in an exported one.
The centroid gives no click: it may lie outside of the structure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from medsize.measurements.formats.volumes import header_of, text_rows, volume_readings
from medsize.measurements.measurement import Readings, ReadOptions
from medsize.measurements.ucum import VOLUME, in_mm

__all__ = ["is_segment_statistics", "read_segment_statistics"]

VOLUME_COLUMN = re.compile(r"Volume \[(?P<unit>\w+)\](?: \(.*\))?|\w+Plugin\.volume_(?P<key>mm3|cm3)")


def is_segment_statistics(file: Path, start: bytes) -> bool:
    """Return whether a file is a table of segment statistics, by the names of its columns."""
    names = header_of(start)
    return names[0] == "Segment" and any(VOLUME_COLUMN.fullmatch(name) for name in names)


def read_segment_statistics(file: Path, options: ReadOptions) -> Readings:
    """
    Read the first volume of each segment; the others are of other representations of it.

    Raises:
        ValueError: when it is not a table.
    """
    header, *rows = text_rows(file)
    index, found = next((i, match) for i, name in enumerate(header) if (match := VOLUME_COLUMN.fullmatch(name)))
    unit = found["unit"] or found["key"]

    def volumes() -> Iterator[tuple[str, str, float]]:
        for number, row in enumerate(rows, start=2):
            if len(row) > index and row[0] and row[index] not in ("", "nan"):
                try:
                    yield f"row {number}", row[0], in_mm(float(row[index]), unit, VOLUME)
                except ValueError as e:
                    raise ValueError(f"{file}, row {number}: {e}. Export the table again.") from e

    return volume_readings(file, volumes())
