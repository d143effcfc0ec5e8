"""Pairing of DICOM masks with the series that they were drawn on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from medsize.scans.scan import MASKS, FoundScan, ScanKind

__all__ = ["pair_masks"]


def pair_masks(scans: Sequence[FoundScan]) -> tuple[dict[str, list[Path]], list[str]]:
    """
    Find the series that each SEG and RTSTRUCT was drawn on.

    It is the series that the mask names or, if it names none, the only one in its frame of reference.

    Returns:
        the masks' files, by the UID of the series; and a message for each mask without one series.
    """
    series = [scan for scan in scans if scan.kind in (ScanKind.SERIES, ScanKind.MULTIFRAME)]
    masks_of: dict[str, list[Path]] = {}
    problems = []
    for mask in scans:
        if mask.kind not in MASKS:
            continue
        drawn_on = {
            scan.series
            for scan in series
            if (scan.series in mask.drawn_on if mask.drawn_on else scan.frame_of_reference == mask.frame_of_reference)
        }
        if len(drawn_on) == 1:
            masks_of.setdefault(drawn_on.pop(), []).append(mask.files[0])
        else:
            problems.append(
                f"{mask.source}: {len(drawn_on)} of the series here may be the one that this {mask.kind.value} was "
                "drawn on, expected one. Put the mask and that series alone below a folder."
            )
    return masks_of, problems
