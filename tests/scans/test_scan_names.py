"""A name that people write fits the scan that they mean, or none."""

from __future__ import annotations

from pathlib import Path

import pytest

from medsize.scans.scan import FoundScan, ScanKind
from medsize.scans.scan_names import ScanNames, scan_paths, short_path

FOLDER = Path("cohort")
SCANS = [
    FoundScan(ScanKind.FILE, (FOLDER / "a" / "ct.nii.gz",)),
    FoundScan(ScanKind.FILE, (FOLDER / "sub-08" / "anat" / "sub-08_T1w.nii.gz",)),
    FoundScan(ScanKind.SERIES, (FOLDER / "b" / "0.dcm", FOLDER / "b" / "1.dcm"), subject="P007"),
    FoundScan(ScanKind.SERIES, (FOLDER / "both" / "0.dcm",)),
    FoundScan(ScanKind.SERIES, (FOLDER / "both" / "5.dcm",)),
    FoundScan(ScanKind.MULTIFRAME, (FOLDER / "enhanced.dcm",)),
    FoundScan(ScanKind.PICTURE, (FOLDER / "cells.tif",), frame=0),
    FoundScan(ScanKind.PICTURE, (FOLDER / "cells.tif",), frame=1),
]
PATHS = scan_paths(SCANS, FOLDER)


def test_a_series_has_the_path_of_its_folder_unless_that_holds_others_too() -> None:
    assert PATHS[2:] == ["b", "both/0.dcm", "both/5.dcm", "enhanced.dcm", "cells.tif#1", "cells.tif#2"]


@pytest.mark.parametrize(
    ("name", "paths", "is_alike"),
    [
        ("a/ct.nii.gz", ["a/ct.nii.gz"], False),
        ("a\\ct", ["a/ct.nii.gz"], False),
        ("ct", ["a/ct.nii.gz"], False),
        ("a", ["a/ct.nii.gz"], False),
        ("A", ["a/ct.nii.gz"], True),
        ("P007", ["b"], False),
        ("p7", ["b"], True),
        ("P-7", ["b"], True),
        ("sub-08", ["sub-08/anat/sub-08_T1w.nii.gz"], False),
        ("both", ["both/0.dcm", "both/5.dcm"], False),
        ("cells.tif#2", ["cells.tif#2"], False),
        ("elsewhere", [], False),
    ],
)
def test_names_fit_scans(name: str, paths: list[str], is_alike: bool) -> None:
    assert ScanNames(dict(zip(PATHS, SCANS, strict=True))).fitting(name) == (paths, is_alike)


@pytest.mark.parametrize(
    ("image", "name"),
    [
        ("/cohort/0/scan.nii.gz", "0/scan"),
        ("/cohort/images/1.2.840.10.nii.gz", "images/1.2.840.10"),
        ("/elsewhere/1.2.nii", "1.2"),
    ],
)
def test_people_are_shown_the_path_without_its_ending(image: str, name: str) -> None:
    assert short_path(image, "/cohort") == name
