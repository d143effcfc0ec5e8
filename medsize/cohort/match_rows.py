"""Match of the rows of a size table to the scans."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from medsize.cohort.find import CohortScan, without_ending
from medsize.sizes.size_table import SizeTable, comparable_path
from medsize.suggest import did_you_mean

__all__ = ["match_rows", "rows_of"]

WAYS: tuple[Callable[[CohortScan], set[str]], ...] = (
    lambda scan: {scan.name},
    lambda scan: {without_ending(scan.name)},
    lambda scan: {PurePosixPath(scan.name).name, without_ending(PurePosixPath(scan.name).name)},
    lambda scan: {str(parent) for parent in PurePosixPath(scan.name).parents},
    lambda scan: {scan.scan.subject},
)
"""Ways to name a scan in a table. The first way that fits any scan must fit exactly one."""


def match_rows(table: SizeTable, scans: Sequence[CohortScan]) -> tuple[dict[str, CohortScan], list[str]]:
    """
    Find the scan of each name in a size table's column ``image``.

    The name is the scan's path, with or without its ending; its name alone; a folder with no other scan; or its
    PatientID.

    Returns:
        the scans, by the names; and the problems of other names.
    """
    named: list[dict[str, list[CohortScan]]] = [{} for _ in WAYS]
    for way, by_name in zip(WAYS, named, strict=True):
        for scan in scans:
            for name in way(scan):
                by_name.setdefault(comparable_path(name), []).append(scan)
    matched: dict[str, CohortScan] = {}
    called: dict[str, str] = {}
    problems = []
    for key, rows in table.rows_by_image.items():
        where = table.where(rows[0], "image")
        fitting = next((by_name[key] for by_name in named if key in by_name), [])
        if len(fitting) == 1 and called.setdefault(fitting[0].name, key) == key:
            matched[key] = fitting[0]
        elif len(fitting) == 1:
            twin = called[fitting[0].name]
            problems.append(f"{where} is '{rows[0].image}': '{twin}' is the same scan. Use one name for each scan.")
        elif fitting:
            listed = ", ".join(f"'{scan.name}'" for scan in fitting[:5])
            problems.append(f"{where} is '{rows[0].image}': {len(fitting)} scans fit, {listed}. Write the path of one.")
        else:
            hint = did_you_mean(key, (scan.name for scan in scans)) or " Correct the path, or delete the row."
            problems.append(f"{where}: there is no scan '{rows[0].image}'.{hint}")
    return matched, problems


def rows_of(table: SizeTable, images: Mapping[str, str], folder: Path) -> SizeTable:
    """
    Return the table with the names of the scans in a data list, without other rows.

    Args:
        table: the table.
        images: the scans' names in the data list, by their names in the table.
        folder: folder that its paths of masks start from.
    """
    rows = []
    for key, of_image in table.rows_by_image.items():
        for row in of_image if key in images else []:
            sizes = {
                name: stated if stated.mask is None else replace(stated, mask=str(folder.resolve() / stated.mask))
                for name, stated in row.sizes.items()
            }
            rows.append(replace(row, image=images[key], sizes=sizes))
    return replace(table, rows=tuple(rows))
