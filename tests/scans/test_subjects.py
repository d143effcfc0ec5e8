"""Subjects are found in paths, and compared as people write them."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from medsize.scans.subjects import bids_subject, comparable_subject, subject_folder


def test_the_same_label_in_two_data_sets_names_two_people(tmp_path: Path) -> None:
    for data_set in ("a", "b", "b/derivatives/x"):
        (tmp_path / data_set).mkdir(parents=True)
        (tmp_path / data_set / "dataset_description.json").write_text("{}")
    paths = [
        "a/sub-1/sub-1_T1w.nii",
        "b/sub-1/sub-1_T1w.nii",
        "b/derivatives/x/sub-1/sub-1_T1w.nii",
        "sub-study/p1.nii",
    ]
    assert [bids_subject(path, tmp_path) for path in paths] == ["a/sub-1", "b/sub-1", "b/sub-1", None]


def test_names_are_compared_as_people_write_them() -> None:
    alike = ["P007", "p7", " P 07 ", "P_007", "p-7"], ["007", "7", "7.0"], ["Müller", "Mu\u0308ller"]
    assert [{comparable_subject(name) for name in names} for names in alike] == [{"p7"}, {"7"}, {"müller"}]
    assert len({comparable_subject(name) for name in ("10", "1", "100", "1.5", "P1", "0", "1-5", "p1-5", "p_a")}) == 9


def test_folders_of_visits_alone_stay_as_they_are() -> None:
    assert [subject_folder(PurePosixPath(path)) for path in ("visit1", "ct/p1", "p1/ses-2", "12")] == [
        "visit1",
        "p1",
        "p1",
        "12",
    ]
