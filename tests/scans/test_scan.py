"""Scans in messages."""

from __future__ import annotations

from pathlib import Path

import pytest

from medsize.scans.scan import FoundScan, ScanKind, counted

SCAN, PICTURE = FoundScan(ScanKind.FILE, (Path("a.nii.gz"),)), FoundScan(ScanKind.PICTURE, (Path("b.png"),))


@pytest.mark.parametrize(
    ("scans", "words"),
    [
        ([SCAN], "1 scan"),
        ([PICTURE], "1 picture"),
        ([PICTURE] * 40, "40 pictures"),
        ([SCAN, PICTURE], "2 scans"),
        ([], "0 scans"),
    ],
)
def test_scans_are_called_pictures_where_all_are(scans: list[FoundScan], words: str) -> None:
    assert counted(scans) == words
