"""DICOM files of one folder tree: those of one scan, and copies."""

from __future__ import annotations

import filecmp
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from medsize.scans.dicom.header import DicomFile
from medsize.scans.dicom.series import found_series, is_apart
from medsize.scans.scan import FoundScan, ScanKind

__all__ = ["grouped_scans"]


def grouped_scans(headers: Sequence[DicomFile], others: Sequence[FoundScan]) -> list[FoundScan]:
    """
    Return the scans of DICOM files, and what else was found.

    A scan has one patient. Files belong together by their SeriesInstanceUID or, where it is blank, by folder and series
    number. Copies of files in other folders are left out, with the image files beside them.

    Args:
        headers: headers of the DICOM files.
        others: image files, archives and unreadable files.
    """
    headers, copied = _without_copies(headers)
    copies: dict[tuple[Path, Path], dict[Path, Path]] = {}
    for file, original in copied.items():
        copies.setdefault(_apart(file.parent, original.parent), {})[file] = original
    kept = []
    for scan in others:
        of = next((pair for pair in copies if _is_copy_below(scan.files[0], *pair)), None)
        if scan.kind is ScanKind.FILE and of is not None:
            copies[of][scan.files[0]] = of[1] / scan.files[0].relative_to(of[0])
        else:
            kept.append(scan)
    for originals in copies.values():
        scan = FoundScan(ScanKind.COPY, tuple(sorted(originals)))
        same = originals[scan.files[0]]
        kept.append(replace(scan, fault=f"{scan.source}: copies, such as that of {same}. Remove them."))
    unreadable = {scan.files[0].parent: scan.files[0].name for scan in kept if scan.kind is ScanKind.UNREADABLE}
    scans = [_checked(scan, unreadable) for scan in _joined(headers)]
    stated = Counter(scan.series for scan in scans)
    kept += [replace(scan, series_is_unique=stated[scan.series] == 1 and scan.series != "") for scan in scans]
    return kept


def _without_copies(headers: Sequence[DicomFile]) -> tuple[list[DicomFile], dict[Path, Path]]:
    """Return the headers but those of copies in other folders; and the originals of these copies."""
    first: dict[str, DicomFile] = {}
    copied: dict[Path, Path] = {}
    kept = []
    # A copy lies deeper, or has the longer name.
    for header in sorted(headers, key=lambda h: (len(h.file.parts), len(str(h.file.parent)), h.file)):
        other = first.setdefault(header.instance, header) if header.instance else header
        if other.file.parent != header.file.parent and filecmp.cmp(other.file, header.file, shallow=False):
            copied[header.file] = other.file
        else:
            kept.append(header)
    return kept, copied


def _apart(folder: Path, other: Path) -> tuple[Path, Path]:
    """Return two folders without the folders of the same names at their ends."""
    while folder.name == other.name and folder.parent != other.parent and other.parent != other:
        folder, other = folder.parent, other.parent
    return folder, other


def _is_copy_below(file: Path, folder: Path, original: Path) -> bool:
    if not file.is_relative_to(folder):
        return False
    other = original / file.relative_to(folder)
    return other != file and other.is_file() and filecmp.cmp(other, file, shallow=False)


def _joined(headers: Sequence[DicomFile]) -> list[FoundScan]:
    """Return the scans of the files. Files that lack an UID or a patient belong to the one scan that they complete."""
    groups: dict[Any, list[DicomFile]] = {}
    for header in headers:
        groups.setdefault(_key(header), []).append(header)
    for key, slices in list(groups.items()):
        first = slices[0]
        if not first.is_slice or (first.series.uid and first.series.subject):
            continue
        fitting = [k for k, others in groups.items() if k != key and _may_be_one(first, others[0])]
        if len(fitting) == 1 and not found_series([*groups[fitting[0]], *slices]).fault:
            groups[fitting[0]] += groups.pop(key)
    return [found_series(slices) for slices in groups.values()]


def _key(header: DicomFile) -> Any:
    """Return what files of one scan have in common."""
    if not header.is_slice:
        return header.file
    series = header.series
    unnamed = (header.file.parent, series.modality, series.number, series.description, header.size)
    return (series.uid or unnamed, series.subject, header.sop_class, is_apart(header))


def _may_be_one(lacking: DicomFile, other: DicomFile) -> bool:
    """Return whether a file that lacks an UID or a patient may be of the same series as another."""
    one, two = lacking.series, other.series
    return (
        other.is_slice
        and (lacking.sop_class, lacking.size) == (other.sop_class, other.size)
        and (one.uid == two.uid if one.uid else bool(two.uid) and lacking.file.parent == other.file.parent)
        and one.subject in ("", two.subject)
    )


def _checked(scan: FoundScan, unreadable: dict[Path, str]) -> FoundScan:
    """Return a scan, with a fault if an unreadable file beside its files may be a slice of it."""
    doubtful = sorted({unreadable[file.parent] for file in scan.files if file.parent in unreadable})
    if scan.kind is ScanKind.SERIES and doubtful and not scan.fault:
        beside = f"{doubtful[0]} beside them cannot be read and may be one of the slices. Mend or remove it first."
        return replace(scan, fault=f"{scan.source}: {beside}")
    return scan
