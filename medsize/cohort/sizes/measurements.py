"""A size table from measurements that exist already."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from medsize.cohort.find import FoundCohort
from medsize.cohort.sizes.measured_scans import MeasuredScans
from medsize.measurements.formats.slicer_markups import REGION_NAME
from medsize.measurements.measurement import Measurement, ReadOptions
from medsize.measurements.read import find_measurements, read_measurements
from medsize.measurements.size_rows import SizeRows, size_rows
from medsize.measurements.structures import with_structures
from medsize.scans.find_scans import find_scans
from medsize.sizes.table.read import read_size_table
from medsize.sizes.table.size_table import SizeTable

__all__ = [
    "Imported",
    "common_folder",
    "import_measurements",
    "measured_by_people",
    "measurement_files",
    "measurement_table",
]


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
        regions = sum("roi_mm" in row for row in self.table.rows)
        return (
            f"{scans} scans, {self.num_measurements.total()} measurements"
            + (f": {counted}" if counted else "")
            + (f", {regions} regions of interest" if regions else "")
        )


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
    wanted = structures or {}
    scans = MeasuredScans(found.scans, found.folder)
    named = with_structures([m for m in read.measurements if m.structure], wanted)
    located = scans.locate(named.measurements)
    # A file's name may tell the structure, once its scan is known.
    nameless = scans.locate([m for m in read.measurements if not m.structure])
    regions = [m for m in nameless.measurements if _is_region(m)]
    named_by_files = with_structures([m for m in nameless.measurements if not _is_region(m)], wanted)
    steps = (read, named, located, nameless, named_by_files)
    order = {scan.name: number for number, scan in enumerate(found.scans)}
    measurements = sorted([*located.measurements, *named_by_files.measurements], key=lambda m: order[m.image])
    table = size_rows(measurements, between, regions)
    return Imported(
        table,
        [line for step in steps for line in step.left_out],
        [*(problem for step in steps for problem in step.problems), *table.problems],
        Counter(m.structure for m in measurements),
    )


def _is_region(measurement: Measurement) -> bool:
    """Return whether a measurement is a box that neither its own name nor that of its file calls a structure."""
    name = measurement.structure.replace("_", " ")
    return measurement.box is not None and (not name or REGION_NAME.fullmatch(name) is not None)


def measurement_files(paths: Sequence[Path], found: FoundCohort) -> list[Path]:
    """Return the files of measurements: those that are named, and those in folders that are named, each once."""
    files: dict[Path, None] = {}
    for path in paths:
        if path.is_dir():
            if path.resolve().is_relative_to(found.folder.resolve()):
                reports = [file for file in found.reports if file.resolve().is_relative_to(path.resolve())]
            else:
                reports = [scan.files[0] for scan in find_scans(path) if scan.modality == "SR"]
            files |= dict.fromkeys([*reports, *find_measurements(path)])
        else:
            files[path] = None
    return list(files)


def common_folder(paths: Sequence[Path]) -> Path:
    """Return the nearest folder that holds all of some files and folders."""
    return Path(os.path.commonpath([(path if path.is_dir() else path.parent).absolute() for path in paths]))


def measured_by_people(
    found: FoundCohort, wanted: bool | None, structures: Sequence[str], report: Callable[[str], None]
) -> tuple[FoundCohort, Imported | None]:
    """
    Read the measurements in a cohort's folder, if they are wanted, or nothing else has sizes.

    Args:
        found: the cohort.
        wanted: whether to use them. Default: if there is no mask.
        structures: names of the structures. Default if empty: their own.
        report: function that gets a line about measurements that are not used.

    Returns:
        the cohort, without the reports among what was left out if they are used; and the measurements, if they are.

    Raises:
        ValueError: when they are wanted, but there are none.
    """
    files = measurement_files([found.folder], found)
    if not files:
        if wanted:
            raise ValueError(f"--measurements: {found.folder} has no file of measurements. Leave the option out.")
        return found, None
    if wanted is None and any(scan.has_masks for scan in found.scans):
        named = f"{files[0]}{f' and {len(files) - 1} more' if len(files) > 1 else ''}"
        report(f"found measurements: {named}. The masks give the sizes; to use these instead: --measurements")
        return found, None
    imported = import_measurements(files, found, {name: name for name in structures})
    return replace(found, left_out=tuple(line for line in found.left_out if line not in found.report_lines)), imported


def measurement_table(imported: Imported, file: Path, report: Callable[[str], None]) -> SizeTable | None:
    """Write the size table of measurements, and read it; ``None`` if none of them is of a scan here."""
    for line in imported.left_out:
        report(f"left out: {line}")
    if not imported.table.rows:
        for problem in imported.problems:
            report(f"left out: {problem}")
        return None
    imported.table.write(file)
    report(f"sizes from measurements: {imported.summary()}. They are in {file}")
    return read_size_table(file)
