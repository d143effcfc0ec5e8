"""Match of the rows of a size table to the scans."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

from medsize.scans.roles import without_ending
from medsize.scans.scan import FoundScan
from medsize.scans.scan_names import ScanNames
from medsize.sizes.table.size_table import SizeTable
from medsize.suggest import did_you_mean

__all__ = ["MatchedRows", "match_rows", "rows_of"]

MOST_NAMED = 5
"""Rows without a scan that are named."""
DIGITS = re.compile(r"\d+")


@dataclass(frozen=True)
class MatchedRows:
    """Scans of the rows of a size table."""

    scans: dict[str, str] = field(default_factory=dict)
    """Their paths, by the names that the table gives them."""
    problems: list[str] = field(default_factory=list)
    """Names that fit several scans, and scans with several names."""
    without_scan: list[str] = field(default_factory=list)
    """Problems of names that fit no scan."""
    joined: list[str] = field(default_factory=list)
    """Names that fit a scan but for what people write differently, such as 7 for 007."""


def match_rows(table: SizeTable, scans: Mapping[str, FoundScan]) -> MatchedRows:
    """
    Find the scan of each name in a size table's column ``image``, see :class:`medsize.scans.scan_names.ScanNames`.

    Args:
        table: the table.
        scans: the scans by their paths.
    """
    names = ScanNames(scans)
    result = MatchedRows()
    matched, problems = result.scans, result.problems
    called: dict[str, str] = {}
    missing: dict[str, str] = {}
    for key, rows in table.rows_by_image.items():
        where = table.where(rows[0], "image")
        fitting, is_alike = names.fitting(key)
        if is_alike:
            result.joined.append(f"{where} is '{rows[0].image}': taken for '{fitting[0]}', which is alike.")
        if len(fitting) == 1 and called.setdefault(fitting[0], key) == key:
            matched[key] = fitting[0]
        elif len(fitting) == 1:
            twin = called[fitting[0]]
            problems.append(f"{where} is '{rows[0].image}': '{twin}' is the same scan. Use one name for each scan.")
        elif fitting:
            listed = ", ".join(f"'{path}'" for path in fitting[:5])
            problems.append(f"{where} is '{rows[0].image}': {len(fitting)} scans fit, {listed}. Write the path of one.")
        else:
            missing[key] = f"{where}: there is no scan '{rows[0].image}'."
    more = len(missing) - MOST_NAMED
    for key, line in islice(missing.items(), MOST_NAMED if more > 1 else None):
        result.without_scan.append(line + (_similar(key, scans) or " Correct the path, or delete the row."))
    if more > 1:
        rest = f"{more} more rows are of scans that are not there. Add these, or delete the rows."
        result.without_scan.append(rest)
    return result


def _similar(name: str, scans: Mapping[str, FoundScan]) -> str:
    """Suggest a scan of a similar name; one that differs by its number alone is another scan."""
    text = DIGITS.sub("", without_ending(name))
    return did_you_mean(name, [path for path in scans if DIGITS.sub("", without_ending(path)) != text])


def rows_of(table: SizeTable, images: Mapping[str, str], folder: Path) -> SizeTable:
    """
    Return the table with other names of its scans, without the rows of others.

    Args:
        table: the table.
        images: the scans' new names, by their names in the table.
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
