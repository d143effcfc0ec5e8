"""
Volumes and statistics of ITK-SNAP.

Source: ``SegmentationStatistics::Export`` and ``ExportLegacy`` of ITK-SNAP,
https://github.com/pyushkevich/itksnap/blob/master/Logic/Framework/SegmentationStatistics.cxx. A table has the columns
``Label Id``, ``Label Name``, ``Number Of Voxels`` and ``Volume (mm^3)``; older versions write lines of ``LABEL: ID /
NUMBER / VOLUME / MEAN / SD`` below comments.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from medsize.measurements.formats.volumes import header_of, text_rows, volume_readings
from medsize.measurements.measurement import Readings, ReadOptions

__all__ = ["is_itk_snap_volumes", "read_itk_snap_volumes"]

LEGACY = b"# SNAP Voxel Count File"
COLUMNS = ("Label Id", "Label Name", "Volume (mm^3)")


def is_itk_snap_volumes(file: Path, start: bytes) -> bool:
    """Return whether a file has volumes of ITK-SNAP, by the names of its columns or its first comment."""
    return LEGACY in start or set(COLUMNS) <= set(header_of(start))


def read_itk_snap_volumes(file: Path, options: ReadOptions) -> Readings:
    """
    Read the volumes of all labels but that of the background, 0.

    Raises:
        ValueError: when the file does not follow the format.
    """
    is_legacy = LEGACY in file.read_bytes()
    return volume_readings(file, _legacy(file) if is_legacy else _table(file))


def _table(file: Path) -> Iterator[tuple[str, str, float]]:
    header, *rows = text_rows(file)
    at = [header.index(column) for column in COLUMNS]
    for number, row in enumerate(rows, start=2):
        if not any(row):
            continue
        try:
            label, name, volume = (row[i] for i in at)
            if label != "0":
                yield f"row {number}", name, float(volume)
        except (IndexError, ValueError) as e:
            raise ValueError(
                f"{file}, row {number}: found {row}, expected {', '.join(COLUMNS)}. Export it again."
            ) from e


def _legacy(file: Path) -> Iterator[tuple[str, str, float]]:
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    has_id = any(line.startswith("# LABEL: ID /") for line in lines)
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.startswith("#"):
            continue
        name, _, numbers = line.rpartition(":")
        values = [part.strip() for part in numbers.split("/")]
        try:
            if not (has_id and values[0] == "0"):
                yield f"line {number}", name, float(values[2 if has_id else 1])
        except (IndexError, ValueError) as e:
            expected = "LABEL: ID / NUMBER / VOLUME"
            raise ValueError(f"{file}, line {number}: found '{line}', expected {expected}. Export it again.") from e
