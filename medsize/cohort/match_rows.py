"""Match of the rows of a size table to the scans."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from medsize.cohort.find import CohortScan
from medsize.cohort.subjects import BIDS, comparable_subject
from medsize.scans.roles import without_ending
from medsize.sizes.size_table import SizeTable, comparable_path
from medsize.suggest import did_you_mean

__all__ = ["MatchedRows", "ScanNames", "match_rows", "rows_of"]

WAYS: tuple[Callable[[CohortScan], set[str]], ...] = (
    lambda scan: {scan.name},
    lambda scan: {without_ending(scan.name)},
    lambda scan: {PurePosixPath(scan.name).name, without_ending(PurePosixPath(scan.name).name)},
    lambda scan: {str(parent) for parent in PurePosixPath(scan.name).parents},
    lambda scan: {scan.scan.subject} - {""},
    lambda scan: {label for match in BIDS.finditer(scan.name) for label in match.groups() if label},
)
"""Ways to name a scan in a table. The first way that fits any scan must fit exactly one."""


@dataclass(frozen=True)
class MatchedRows:
    """Scans of the rows of a size table."""

    scans: dict[str, CohortScan] = field(default_factory=dict)
    """By the names that the table gives them."""
    problems: list[str] = field(default_factory=list)
    """Names that fit several scans, and scans with several names."""
    without_scan: list[str] = field(default_factory=list)
    """Problems of names that fit no scan."""
    joined: list[str] = field(default_factory=list)
    """Names that fit a scan but for case, spaces or zeros, such as 7 for 007."""


class ScanNames:
    """
    Names that people give to scans.

    A name is the scan's path, with or without its ending; its name alone; a folder with no other scan; its PatientID;
    or its label in BIDS.
    """

    def __init__(self, scans: Sequence[CohortScan]) -> None:
        self.named: list[dict[str, list[CohortScan]]] = [{} for _ in WAYS]
        self.alike: list[dict[str, list[CohortScan]]] = [{} for _ in WAYS]
        for way, by_name, by_likeness in zip(WAYS, self.named, self.alike, strict=True):
            for scan in scans:
                names = {comparable_path(name) for name in way(scan)}
                for name in names:
                    by_name.setdefault(name, []).append(scan)
                for name in {comparable_subject(name) for name in names}:
                    by_likeness.setdefault(name, []).append(scan)

    def fitting(self, name: str) -> tuple[list[CohortScan], bool]:
        """
        Return the scans that a name fits, and whether it fits them but for case, spaces or leading zeros only.

        These count only if no scan has exactly this name.
        """
        key = comparable_path(name)
        if fitting := next((by_name[key] for by_name in self.named if key in by_name), []):
            return fitting, False
        likeness = comparable_subject(key)
        fitting = next((names[likeness] for names in self.alike if likeness in names), [])
        return fitting, bool(fitting)


def match_rows(table: SizeTable, scans: Sequence[CohortScan]) -> MatchedRows:
    """Find the scan of each name in a size table's column ``image``, see :class:`ScanNames`."""
    names = ScanNames(scans)
    result = MatchedRows()
    matched, problems = result.scans, result.problems
    called: dict[str, str] = {}
    for key, rows in table.rows_by_image.items():
        where = table.where(rows[0], "image")
        fitting, is_alike = names.fitting(key)
        if is_alike:
            result.joined.append(f"{where} is '{rows[0].image}': taken for '{fitting[0].name}', which is alike.")
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
            result.without_scan.append(f"{where}: there is no scan '{rows[0].image}'.{hint}")
    return result


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
