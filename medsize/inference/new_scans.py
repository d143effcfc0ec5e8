"""Scans that are to be segmented: what is found, the names of their files, and the names that tables have for them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from medsize.errors import ProblemsError
from medsize.inference.output_folder import RECORD
from medsize.inference.series_choice import SeriesChoice
from medsize.scans.find_scans import find_scans
from medsize.scans.roles import roles_of, without_ending
from medsize.scans.scan import UNUSABLE, VOLUMES, FoundScan, ScanKind, left_out_lines, said_once
from medsize.scans.scan_names import comparable_path, scan_paths
from medsize.sizes.table.match_rows import match_rows, rows_of
from medsize.sizes.table.size_table import SizeTable, first_with
from medsize.suggest import closest_or_all, first_few

__all__ = ["NewScans", "find_new_scans", "nothing_left", "scan_states", "stated_pixels", "with_paths"]

IMAGES = (*VOLUMES, ScanKind.PICTURE)


@dataclass(frozen=True)
class NewScans:
    """Scans below a folder, by the names of their files in the output."""

    place: Path
    """The folder, or the only file."""
    folder: Path
    named: Mapping[str, FoundScan]
    paths: Mapping[str, str]
    """Paths from the folder: of a series that of its folder, of a page with its number."""
    problems: tuple[str, ...] = ()
    """Files that cannot be read."""
    left_out: tuple[str, ...] = ()
    """DICOM series that the network was not trained for, with the reasons."""

    @property
    def by_path(self) -> dict[str, FoundScan]:
        """The scans by their paths."""
        return {self.paths[name]: scan for name, scan in self.named.items()}

    @property
    def has_pictures(self) -> bool:
        """True if any of them is a picture."""
        return any(scan.kind is ScanKind.PICTURE for scan in self.named.values())


def find_new_scans(place: Path, report: Callable[[str], None], choice: SeriesChoice | None = None) -> NewScans:
    """
    Find the scans in a folder, or in a file, and tell what is left out.

    Args:
        place: an image file; or a folder with image files or DICOM series, at any depth. Those of masks and clicks, by
            their names, are left out.
        report: function that gets a line for each reason to leave files out, and remarks on how others are read.
        choice: what a network was trained for. Default: leave no DICOM series out.
    """
    folder = place.parent if place.is_file() else place
    found = find_scans(place)
    if own := [scan for scan in found if _is_predicted(scan.files[0], folder)]:
        report(f"left out: {len(own)} files that a prediction wrote: {first_few(sorted({s.source for s in own}))}")
        found = [scan for scan in found if scan not in own]
    for line in left_out_lines(found):
        report(f"left out: {line}")
    for line in said_once((scan.source, scan.note) for scan in found if scan.note):
        report(f"note: {line}")
    problems = tuple(scan.fault for scan in found if scan.kind in UNUSABLE)
    if place.is_dir():
        roles = roles_of(found, folder)
        if drawn := {*roles.masks, *roles.clicks}:
            named_files = first_few(sorted(map(str, drawn)))
            report(f"left out: {len(drawn)} image files of masks or clicks, by their names: {named_files}")
        found = roles.images
    found = [scan for scan in found if scan.kind in IMAGES]
    unlike = {} if choice is None else choice.left_out(found)
    left_out = said_once((found[k].source, reason) for k, reason in unlike.items())
    for line in left_out:
        report(f"left out: {line}")
    found = [scan for k, scan in enumerate(found) if k not in unlike]
    names = _file_names(found, paths := scan_paths(found, folder))
    named, path_of = dict(zip(names, found, strict=True)), dict(zip(names, paths, strict=True))
    return NewScans(place, folder, named, path_of, problems, tuple(left_out))


def _is_predicted(file: Path, place: Path) -> bool:
    """Return whether a file lies in the output of a prediction below a place."""
    return any(folder != place and (folder / RECORD).is_file() for folder in file.parents if place in folder.parents)


def _file_names(scans: Sequence[FoundScan], paths: Sequence[str]) -> list[str]:
    """Return a name for the files of each scan in the output."""
    names: dict[str, None] = {}
    for scan, path in zip(scans, paths, strict=True):
        number = "" if scan.frame is None else f"_{scan.frame + 1}"
        path = path if scan.frame is None else path.removesuffix(f"#{scan.frame + 1}")
        path = without_ending(path) if scan.kind in (ScanKind.FILE, ScanKind.PICTURE) else path
        base = ("_".join(Path(path).parts) or "scan") + number
        name, count = base, 1
        while name in names:
            count += 1
            name = f"{base}_{count}"
        names[name] = None
    return list(names)


def scan_states(
    new: NewScans, regions: Mapping[str, Mapping[str, Any]], pixel_mm: Mapping[str, float] = MappingProxyType({})
) -> dict[str, str]:
    """
    Return a hash of what decides on the mask of each scan beside the network: it tells whether the scan has changed.

    Args:
        new: the scans.
        regions: stated regions of interest, by the scans' paths.
        pixel_mm: stated sides of a pixel, mm, by the scans' names.
    """
    states = {}
    for name, scan in new.named.items():
        files = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in scan.files]
        path = new.paths[name]
        decides = [path, files, scan.frame, pixel_mm.get(name), regions.get(comparable_path(path))]
        states[name] = hashlib.sha256(json.dumps(decides, default=str).encode()).hexdigest()
    return states


def stated_pixels(new: NewScans, table: SizeTable | None, pixel_mm: float | None = None) -> dict[str, float]:
    """
    Return the sides of a pixel that are stated beside the pictures, mm, by the pictures' names.

    Args:
        new: the pictures.
        table: size table, whose images are paths from the folder.
        pixel_mm: side of those that have no ``pixel_mm`` in the table.
    """
    sides: dict[str, float] = {}
    for name, path in new.paths.items():
        row = first_with("pixel_mm", table.rows_of(path)) if table is not None else None
        side = pixel_mm if row is None else row.pixel_mm
        if side is not None:
            sides[name] = side
    return sides


def nothing_left(new: NewScans, message: str, problems: Sequence[str]) -> ValueError:
    """
    Return the error that no scan is left to segment.

    Args:
        new: the scans.
        message: what is not there.
        problems: reasons why single scans were left out, beside those of the scans themselves.
    """
    return ValueError("\n".join([f"{new.place}: {message}", *new.problems, *problems]))


def _named_as(table: SizeTable, structures: Collection[str]) -> SizeTable:
    """Return a table with the names of structures, where its own differ in case alone."""
    by_name = {name.casefold(): name for name in structures}

    def name_of(structure: str) -> str:
        return by_name.get(structure.casefold(), structure)

    columns = (replace(column, structure=name_of(column.structure)) for column in table.columns)
    rows = (replace(row, sizes={name_of(name): size for name, size in row.sizes.items()}) for row in table.rows)
    return replace(table, columns=tuple(columns), rows=tuple(rows))


def with_paths(
    table: SizeTable, new: NewScans, structures: Collection[str], report: Callable[[str], None]
) -> SizeTable:
    """
    Return the rows of a table that are of new scans, with their paths in place of the names that it has for them.

    Args:
        table: the table.
        new: the scans.
        structures: those of the network.
        report: function that gets a line for each name that fits a scan nearly, such as 7 for 007; and for each row
            and structure that nothing is compared with.

    Raises:
        ValueError: when a name fits several scans, several names fit one, no row is of a scan, or the network knows
            none of the structures.
    """
    table = _named_as(table, structures)
    unknown = [name for name in table.structures if name not in structures]
    for name in unknown:
        report(
            f"{table.source}: the network does not know '{name}': its sizes are left out."
            + closest_or_all(name, structures, "It knows")
        )
    if unknown and len(unknown) == len(table.structures):
        raise ValueError(
            f"{table.source}: found sizes of {first_few(unknown)}, expected some of {first_few(list(structures))}, "
            "which the network knows. Correct the names of the columns."
        )
    matched = match_rows(table, new.by_path)
    if matched.problems:
        raise ProblemsError(table.source, matched.problems)
    if new.paths and not matched.scans:
        raise ValueError(
            f"{table.source}: no row is of a scan in {new.folder}, expected paths such as "
            f"'{next(iter(new.paths.values()))}', but its first row is of '{table.rows[0].image}'."
        )
    for line in (*matched.joined, *matched.without_scan):
        report(f"{table.source}: {line}")
    return rows_of(table, matched.scans, new.folder)
