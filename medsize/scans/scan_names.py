"""Names of scans: their paths, and what else people call them."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath

from medsize.scans.roles import without_ending
from medsize.scans.scan import FoundScan, ScanKind
from medsize.scans.subjects import BIDS, comparable_subject

__all__ = ["ScanNames", "comparable_path", "scan_paths", "short_path"]

WAYS: tuple[Callable[[str, FoundScan], set[str]], ...] = (
    lambda path, scan: {path},
    lambda path, scan: {without_ending(path)},
    lambda path, scan: {PurePosixPath(path).name, without_ending(PurePosixPath(path).name)},
    lambda path, scan: {str(parent) for parent in PurePosixPath(path).parents},
    lambda path, scan: {scan.subject} - {""},
    lambda path, scan: {label for match in BIDS.finditer(path) for label in match.groups() if label},
)
"""Ways to name a scan. The first way that fits any scan must fit exactly one."""


def scan_paths(scans: Sequence[FoundScan], folder: Path) -> list[str]:
    """
    Return the paths that people would use for scans: for a series its folder, unless that holds others, too.

    A picture in a file of several has its number, from 1: ``cells.tif#2``.

    Args:
        scans: the scans.
        folder: folder that the paths start from.
    """
    places = [scan.files[0].parent if scan.kind is ScanKind.SERIES else scan.files[0] for scan in scans]
    counts = Counter(places)
    return [
        (place if counts[place] == 1 else scan.files[0]).relative_to(folder).as_posix()
        + ("" if scan.frame is None else f"#{scan.frame + 1}")
        for place, scan in zip(places, scans, strict=True)
    ]


def comparable_path(path: str) -> str:
    """Return a path for comparison: macOS and Windows write the same one with different characters."""
    return unicodedata.normalize("NFC", str(PurePosixPath(path.replace("\\", "/"))))


def short_path(image: str | Path, folder: str | Path) -> str:
    """
    Return the name of a cohort's scan for people: its path from a folder, without its ending; no other scan has it.

    Args:
        image: its file. Outside of the folder, its name alone counts.
        folder: the cohort's folder.
    """
    path = Path(image)
    inside = path.relative_to(folder) if path.is_relative_to(folder) else Path(path.name)
    return without_ending(inside.as_posix())


class ScanNames:
    """
    Names that people give to scans.

    A name is the scan's path, with or without its ending; its name alone; a folder with no other scan; its PatientID;
    or its label in BIDS.

    Args:
        scans: the scans by their paths, see :func:`scan_paths`.
    """

    def __init__(self, scans: Mapping[str, FoundScan]) -> None:
        self.named: list[dict[str, list[str]]] = [{} for _ in WAYS]
        self.alike: list[dict[str, list[str]]] = [{} for _ in WAYS]
        for way, by_name, by_likeness in zip(WAYS, self.named, self.alike, strict=True):
            for path, scan in scans.items():
                names = {comparable_path(name) for name in way(path, scan)}
                for name in names:
                    by_name.setdefault(name, []).append(path)
                for name in {comparable_subject(name) for name in names}:
                    by_likeness.setdefault(name, []).append(path)

    def fitting(self, name: str) -> tuple[list[str], bool]:
        """
        Return the paths of the scans that a name fits, and whether it is only alike, see :func:`comparable_subject`.

        Names that are alike count only if no scan has exactly this name.
        """
        key = comparable_path(name)
        if fitting := next((by_name[key] for by_name in self.named if key in by_name), []):
            return fitting, False
        likeness = comparable_subject(key)
        fitting = next((names[likeness] for names in self.alike if likeness in names), [])
        return fitting, bool(fitting)
