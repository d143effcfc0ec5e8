"""Scans that are to be segmented: the names of their files, and the names that tables have for them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from medsize.scans.roles import without_ending
from medsize.scans.scan import FoundScan, ScanKind
from medsize.sizes.size_table import SizeTable, comparable_path
from medsize.suggest import first_few

__all__ = ["named_scans", "path_of", "paths_by_name", "with_paths"]


def path_of(scan: FoundScan, folder: Path) -> str:
    """Return the path of a scan from the folder of all: of a series that of its folder, of a page its number, too."""
    source = scan.files[0].parent if scan.kind is ScanKind.SERIES else scan.files[0]
    number = "" if scan.frame is None else f"#{scan.frame + 1}"
    return f"{source.relative_to(folder).as_posix()}{number}"


def named_scans(found: list[FoundScan], folder: Path) -> dict[str, FoundScan]:
    """Return the scans by the names of their files in the output."""
    named: dict[str, FoundScan] = {}
    for scan in found:
        path = path_of(replace(scan, frame=None), folder)
        path = without_ending(path) if scan.kind in (ScanKind.FILE, ScanKind.PICTURE) else path
        base = "_".join(Path(path).parts) or "scan"
        base += "" if scan.frame is None else f"_{scan.frame + 1}"
        name, count = base, 1
        while name in named:
            count += 1
            name = f"{base}_{count}"
        named[name] = scan
    return named


def paths_by_name(found: list[FoundScan], folder: Path) -> Callable[[str], list[str]]:
    """Return a function from a name of a scan, as ``medsize init`` takes it, to the paths of the scans that it fits."""
    paths = {path_of(scan, folder): scan for scan in found}
    ways: tuple[Callable[[str], Iterable[str]], ...] = (
        lambda path: [path],
        lambda path: [without_ending(path)],
        lambda path: [Path(path).name, without_ending(Path(path).name)],
        lambda path: map(str, Path(path).parents),
        lambda path: [paths[path].subject],
    )
    named: list[dict[str, list[str]]] = [{} for _ in ways]
    for way, by_name in zip(ways, named, strict=True):
        for path in paths:
            for name in {comparable_path(name) for name in way(path)}:
                by_name.setdefault(name, []).append(path)

    def paths_of(name: str) -> list[str]:
        key = comparable_path(name)
        return next((by_name[key] for by_name in named if key in by_name), [])

    return paths_of


def with_paths(table: SizeTable, paths: list[str], folder: Path, paths_of: Callable[[str], list[str]]) -> SizeTable:
    """
    Return the table with the scans' paths in place of the names that it has for them.

    Raises:
        ValueError: when a name fits several scans, or no row is of a scan.
    """
    rows = []
    of_scan = False
    for of_image in table.rows_by_image.values():
        fitting = paths_of(of_image[0].image)
        if len(fitting) > 1:
            raise ValueError(
                f"{table.source}: {table.where(of_image[0], 'image')} is '{of_image[0].image}': {len(fitting)} scans "
                f"fit, {first_few(fitting)}. Write the path of one."
            )
        of_scan |= bool(fitting)
        rows += [replace(row, image=fitting[0]) if fitting else row for row in of_image]
    if paths and not of_scan:
        raise ValueError(
            f"{table.source}: no row is of a scan in {folder}, expected paths such as "
            f"'{paths[0]}', but its first row is of '{table.rows[0].image}'."
        )
    return replace(table, rows=tuple(rows))
