"""A size table from measurements that exist already."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from medsize.cohort.find import FoundCohort
from medsize.cohort.measured_scans import MeasuredScans
from medsize.measurements.measurement import ReadOptions
from medsize.measurements.read import find_measurements, read_measurements
from medsize.measurements.size_rows import SizeRows, size_rows
from medsize.measurements.structures import with_structures

__all__ = ["Imported", "common_folder", "import_measurements", "measurement_files"]


@dataclass(frozen=True)
class Imported:
    """Rows of a size table, and what is not in them."""

    table: SizeRows
    left_out: list[str]
    problems: list[str]
    num_measurements: Counter[str]
    """By structure."""

    def summary(self) -> str:
        """Return a line with the number of scans and measurements."""
        scans = len({row["image"] for row in self.table.rows})
        counted = ", ".join(f"{n} of {name}" for name, n in self.num_measurements.items())
        return f"{scans} scans, {self.num_measurements.total()} measurements" + (f": {counted}" if counted else "")


def import_measurements(
    files: Sequence[Path],
    found: FoundCohort,
    structures: Mapping[str, str] | None = None,
    options: ReadOptions | None = None,
    between: bool = False,
) -> Imported:
    """
    Read measurements, find their scans, and state them as rows of a size table.

    Args:
        files: files of measurements.
        found: the cohort with the scans.
        structures: names for the table, each with the name in the files, or its beginning. Default: their own.
        options: answers to what the files leave open.
        between: see :func:`medsize.measurements.size_rows.size_rows`.
    """
    read = read_measurements(files, options)
    chosen = with_structures(read.measurements, structures or {})
    located = MeasuredScans(found.scans, found.folder).locate(chosen.measurements)
    order = {scan.name: number for number, scan in enumerate(found.scans)}
    table = size_rows(sorted(located.measurements, key=lambda m: order[m.image]), between)
    return Imported(
        table,
        [*read.left_out, *chosen.left_out],
        [*read.problems, *chosen.problems, *located.problems, *table.problems],
        Counter(m.structure for m in located.measurements),
    )


def measurement_files(paths: Sequence[Path], found: FoundCohort) -> list[Path]:
    """Return the files of measurements: those that are named, and those in folders that are named, each once."""
    files: dict[Path, None] = {}
    for path in paths:
        if path.is_dir():
            reports = [file for file in found.reports if file.resolve().is_relative_to(path.resolve())]
            files |= dict.fromkeys([*reports, *find_measurements(path)])
        else:
            files[path] = None
    return list(files)


def common_folder(paths: Sequence[Path]) -> Path:
    """Return the nearest folder that holds all of some files and folders."""
    return Path(os.path.commonpath([(path if path.is_dir() else path.parent).absolute() for path in paths]))
