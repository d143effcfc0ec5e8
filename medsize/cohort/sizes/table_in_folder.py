"""The size table that lies in a cohort's folder, where none is named."""

from __future__ import annotations

from collections.abc import Callable

from medsize.cohort.conversion.scans import ConvertOptions
from medsize.cohort.find import FoundCohort
from medsize.cohort.sizes.unpaired import read_cohort_table
from medsize.sizes.table.size_table import SizeTable
from medsize.sizes.table.spreadsheet import TABLE_ENDINGS
from medsize.suggest import first_few

__all__ = ["table_in_folder"]


def table_in_folder(found: FoundCohort, options: ConvertOptions, report: Callable[[str], None]) -> SizeTable | None:
    """
    Read the only table in the cohort's folder itself, if no scan has a mask; ``None`` if there is none.

    Args:
        found: the cohort.
        options: modalities and contours to use.
        report: function that gets a line that names the table.

    Raises:
        SizeTableError: naming faulty cells.
        ValueError: when there are several tables.
    """
    files = sorted(file for file in found.folder.iterdir() if file.suffix.lower() in TABLE_ENDINGS)
    files = [file for file in files if not file.name.startswith((".", "~$"))]  # hidden, or open in Excel
    if not files or not found.scans:
        return None
    named = first_few([file.name for file in files])
    if any(scan.has_masks for scan in found.scans):
        report(f"found {named} in the folder. The masks give the sizes; to use a table instead: --sizes FILE")
        return None
    if len(files) > 1:
        raise ValueError(f"found no mask, but the tables {named}, expected one. Name that of the sizes: --sizes FILE.")
    report(f"sizes from the only table in the folder: {files[0]}")
    return read_cohort_table(files[0], None, found.folder, options)
