"""Rows of a size table without a scan, and scans without a row, named beside the faults of its cells."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from medsize.cohort.conversion.scans import ConvertOptions
from medsize.cohort.find import FoundCohort, find_cohort
from medsize.sizes.table.match_rows import MatchedRows, match_rows
from medsize.sizes.table.read import read_size_table
from medsize.sizes.table.size_table import SizeTable, SizeTableError
from medsize.suggest import first_few

__all__ = ["read_cohort_table", "unpaired"]


def read_cohort_table(file: Path, sheet: str | None, folder: Path, options: ConvertOptions | None = None) -> SizeTable:
    """
    Read the size table of a cohort.

    Args:
        file: the table.
        sheet: see :func:`medsize.sizes.table.read.read_size_table`.
        folder: the cohort's folder.
        options: modalities and contours to use.

    Raises:
        SizeTableError: naming faulty cells, and beside them rows without a scan and scans without a row.
    """
    options = options or ConvertOptions()
    try:
        return read_size_table(file, sheet)
    except SizeTableError as e:
        problems = list(e.problems)
        if e.names is not None:
            with suppress(ValueError):  # without any scan, the cells are mended first
                found = find_cohort(folder.resolve(), options.modalities, options.rtstruct)
                problems += unpaired(found, match_rows(e.names, {scan.name: scan.scan for scan in found.scans}))
        raise SizeTableError(e.source, problems) from e


def unpaired(found: FoundCohort, rows: MatchedRows) -> Iterator[str]:
    """
    Yield a problem for each row that fits no scan or several, and for each scan without a row and a mask.

    If no row fits any, the last problem says what scans are called.
    """
    yield from rows.problems
    yield from rows.without_scan
    if rows.without_scan and not rows.scans and not rows.problems:
        called = first_few([f"'{scan.name}'" for scan in found.scans], most=3)
        yield (
            f"no row fits a scan. The scans are {called}. Write such a path into the column 'image', or the name of "
            "its file, a folder that holds this scan alone, or its PatientID."
        )
    if rows.problems or not rows.scans:  # then most scans seem to lack a row
        return
    with_row = set(rows.scans.values())
    for scan in found.scans:
        if scan.name not in with_row and not scan.has_masks and not scan.scan.fault:
            yield f"{found.folder / scan.name}: found no size: it has no row and no mask. Add one."
