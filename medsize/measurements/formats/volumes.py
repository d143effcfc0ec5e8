"""Tables of volumes that a program measured in masks: their cells, and what is common to all."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path

from medsize.measurements.measurement import Measurement, Readings
from medsize.sizes.table.spreadsheet import csv_rows
from medsize.suggest import first_few

__all__ = ["header_of", "text_rows", "volume_readings"]


def text_rows(file: Path) -> list[list[str]]:
    """
    Return the cells of a table in a text file, separated by tabs, semicolons or commas.

    Raises:
        ValueError: when it is not UTF-8 text, or not a table.
    """
    try:
        rows, _ = csv_rows(file)
    except ValueError as e:
        raise ValueError(f"{file}: {e}") from e
    return rows


def header_of(start: bytes) -> list[str]:
    """Return the names in the first row of a table, from the first bytes of its file."""
    first = next(iter(start.decode("utf-8-sig", "replace").splitlines()), "")
    return [name.strip().strip('"').strip() for name in first.split(max("\t;,", key=first.count))]


def volume_readings(file: Path, volumes: Iterable[tuple[str, str, float]]) -> Readings:
    """
    Return volumes as measurements. One of 0 is unknown: the structure may be absent, or was not drawn.

    Args:
        file: their file.
        volumes: place in the file, structure, mm³.
    """
    readings = Readings()
    zero = []
    for where, name, volume in volumes:
        structure = " ".join(name.split())
        if not math.isfinite(volume) or volume < 0:
            readings.problems.append(f"{file}, {where}: found a volume of {volume}, expected more. Measure it again.")
        elif volume == 0:
            zero.append(structure)
        else:
            readings.measurements.append(Measurement(file, where, structure, volume_mm3=volume))
    if zero:
        readings.left_out.append(
            f"{file}: {len(zero)} volumes of 0, which may be absent or not measured: {first_few(zero)}. Write 0 into "
            "the size table where the structure is absent."
        )
    return readings
