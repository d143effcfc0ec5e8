"""One patient never is in two folds, however people write the name."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from tests.cohort.cohorts import phantom, save, volumes_ml
from tests.cohort.test_init import init, prepared, write_table


def cohort(folder: Path, paths: list[str], *, subjects: list[str] | None = None) -> Path:
    """Scans at these paths, and their size table."""
    for number, path in enumerate(paths):
        save(folder / path, phantom(number)[0])
    rows = [f"{path},{volumes_ml(number)[0]}" for number, path in enumerate(paths)]
    if subjects is None:
        return write_table(folder.with_suffix(".csv"), "image,cube volume_ml", rows)
    told = [f"{row},{subject}" for row, subject in zip(rows, subjects, strict=True)]
    return write_table(folder.with_suffix(".csv"), "image,cube volume_ml,subject", told)


def groups(content: dict[str, Any]) -> list[int]:
    """Number of scans of each subject, from few to many; each subject is in one fold."""
    folds = defaultdict(list)
    for item in content["training"]:
        folds[item["subject"]].append(item["fold"])
    assert all(len(set(of_one)) == 1 for of_one in folds.values())
    return sorted(map(len, folds.values()))


@pytest.mark.parametrize(
    "paths",
    [
        [
            "sub-01/ses-1/anat/sub-01_ses-1_T1w.nii.gz",
            "sub-01/ses-2/anat/sub-01_ses-2_T1w.nii.gz",
            "sub-1/sub-1_T1w.nii.gz",
        ],
        ["sub-01_ses-1_T1w.nii.gz", "sub-01_ses-2_T1w.nii.gz", "sub-02_T1w.nii.gz"],
        ["sub-01/sub-01_T1w.nii.gz", "derivatives/x/sub-01/anat/sub-01_T1w.nii.gz", "sub-02/sub-02_T1w.nii.gz"],
        ["ann/visit1/ct.nii.gz", "ann/2024-05-01/ct.nii.gz", "bob/visit1/ct.nii.gz"],
        ["ann/ct/a.nii.gz", "ann/mr/a.nii.gz", "bob/ct/b.nii.gz"],
    ],
)
def test_visits_of_one_person_are_of_one_subject(tmp_path: Path, paths: list[str]) -> None:
    table = cohort(tmp_path / "in", paths)
    assert groups(prepared(tmp_path / "in", tmp_path / "out", "--sizes", table)) == [1, 2]


def test_subjects_and_scans_of_a_table_are_joined_and_shown(tmp_path: Path) -> None:
    paths = [f"scan_{number:03d}.nii.gz" for number in range(4)]
    table = cohort(tmp_path / "in", paths, subjects=["Ann7", "ann 07", "8", "9"])
    table.write_text(table.read_text().replace("scan_002.nii.gz", "Scan_2") + "scan_77.nii.gz,1,9\n")
    result = init(tmp_path / "in", tmp_path / "out", "--sizes", table)
    assert groups(json.loads((tmp_path / "out" / "datalist.json").read_text())) == [1, 1, 2]
    assert "row 4, column 'image' (A) is 'Scan_2': taken for 'scan_002.nii.gz', which is alike" in result.output
    assert "'Ann7' and 'ann 07' count as one subject" in result.output
    assert "datalist.json with 4 scans of 3 subjects" in result.output
    assert "4 subjects" not in result.output
    assert result.exit_code == 1  # a row without a scan stops no other
    assert "row 6, column 'image' (A): there is no scan 'scan_77.nii.gz'" in result.output
    page = (tmp_path / "out" / "report.html").read_text()
    assert "count as one subject" in page
    assert not [name for name in ("Ann7", "ann 07", "Scan_2", "scan_77") if name in page]


def test_a_scan_without_a_subject_in_the_table_stays_with_its_own_subject(tmp_path: Path) -> None:
    paths = ["sub-1/a.nii.gz", "sub-1/b.nii.gz", "sub-2/a.nii.gz"]
    table = cohort(tmp_path / "in", paths, subjects=["Ann", "", "Bob"])
    assert groups(prepared(tmp_path / "in", tmp_path / "out", "--sizes", table)) == [1, 2]


def test_names_that_begin_with_one_number_are_doubted_and_the_pattern_told_joins_them(tmp_path: Path) -> None:
    table = cohort(tmp_path / "in", ["026_HC.nii.gz", "026_2HC.nii.gz", "100_HC.nii.gz", "101_HC.nii.gz"])
    result = init(tmp_path / "in", tmp_path / "out", "--sizes", table)
    assert "026_2HC.nii.gz and 026_HC.nii.gz count as two subjects" in result.output
    pattern = result.output.partition("--subject-pattern '")[2].partition("'")[0]
    joined = prepared(tmp_path / "in", tmp_path / "out", "--sizes", table, "--subject-pattern", pattern)
    assert groups(joined) == [1, 1, 2]


@pytest.mark.parametrize("names", [["2007_1", "2007_2", "2007_3", "2007_4"], ["a", "b"], ["0402a81e", "0402b11f"]])
def test_years_and_codes_in_names_are_not_doubted(tmp_path: Path, names: list[str]) -> None:
    table = cohort(tmp_path / "in", [f"{name}.nii.gz" for name in names])
    assert "count as two subjects" not in init(tmp_path / "in", tmp_path / "out", "--sizes", table).output
