"""Pairing of DICOM masks with the series that they were drawn on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from medsize.scans.scan import MASKS, FoundScan, ScanKind

__all__ = ["pair_masks"]


def pair_masks(scans: Sequence[FoundScan]) -> tuple[dict[Path, list[Path]], list[str]]:
    """
    Find the series that each SEG and RTSTRUCT was drawn on.

    It is the series that the mask names or, if it names none, the only one in its frame of reference. Where UIDs are
    blank or several patients have one, patient and folder decide.

    Returns:
        the masks' files, by the first file of the series; and a message for each mask without one series.
    """
    series = [scan for scan in scans if scan.kind in (ScanKind.SERIES, ScanKind.MULTIFRAME)]
    masks_of: dict[Path, list[Path]] = {}
    problems = []
    for mask in scans:
        if mask.kind not in MASKS:
            continue
        drawn_on = _drawn_on(mask, series)
        if len(drawn_on) == 1:
            masks_of.setdefault(drawn_on[0].files[0], []).append(mask.files[0])
        elif not series and any(scan.kind is ScanKind.PICTURE for scan in scans):
            problems.append(
                f"{mask.source}: found a {mask.kind.value} beside pictures, expected masks of pictures as PNG or TIFF "
                "of class indices. Save it so."
            )
        else:
            problems.append(
                f"{mask.source}: {len(drawn_on)} of the series here may be the one that this {mask.kind.value} was "
                "drawn on, expected one. Put the mask and that series alone below a folder."
            )
    return masks_of, problems


def _drawn_on(mask: FoundScan, series: Sequence[FoundScan]) -> list[FoundScan]:
    """Return the series that a mask may have been drawn on."""
    if mask.drawn_on:
        found = [scan for scan in series if scan.series in mask.drawn_on]
    else:
        found = [
            scan for scan in series if mask.frame_of_reference and scan.frame_of_reference == mask.frame_of_reference
        ]
    if not found:  # anonymisation may have blanked what the mask names
        is_blank = not (mask.drawn_on or mask.frame_of_reference)
        stated = [scan.series if mask.drawn_on else scan.frame_of_reference for scan in series]
        found = [scan for scan, uid in zip(series, stated, strict=True) if is_blank or not uid]
        found = _nearest(mask, _of_same_subject(mask, found))
    elif len(found) > 1:
        found = _of_same_subject(mask, found)
        if len({scan.series for scan in found}) == 1:
            found = _nearest(mask, found)
    return found


def _of_same_subject(mask: FoundScan, series: Sequence[FoundScan]) -> list[FoundScan]:
    return [scan for scan in series if not mask.subject or scan.subject in ("", mask.subject)]


def _nearest(mask: FoundScan, series: Sequence[FoundScan]) -> list[FoundScan]:
    """Return the series that share most folders with a mask."""
    folders = set(mask.files[0].parents)
    shared = [len(folders.intersection(scan.files[0].parents)) for scan in series]
    return [scan for scan, n in zip(series, shared, strict=True) if n == max(shared)]
