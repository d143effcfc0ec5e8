"""Folds are alike in number and size."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import nibabel
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medsize.data.folds import folds_of_subjects, stratified_folds

SIZES = st.lists(st.floats(0, 1e9) | st.just(float("nan")), min_size=2, max_size=2)


@given(st.dictionaries(st.text(min_size=1), SIZES, min_size=1, max_size=40), st.integers(2, 6))
def test_every_subject_has_a_fold_and_folds_are_as_large(sizes: dict[str, list[float]], num_folds: int) -> None:
    folds = stratified_folds(sizes, num_folds)
    assert folds.keys() == sizes.keys()
    counts = Counter(folds.values())
    assert set(counts) <= set(range(num_folds))
    assert max(counts.values()) - min(counts[fold] for fold in range(num_folds)) <= 2
    assert stratified_folds(dict(reversed(sizes.items())), num_folds) == folds


def test_sizes_and_absent_structures_are_spread_evenly() -> None:
    rng = np.random.default_rng(0)
    sizes = {f"s{i:02d}": [float(rng.lognormal(3, 1)), 0.0 if i % 4 else 5.0] for i in range(60)}
    folds = stratified_folds(sizes, 5)
    by_fold = [np.array([sizes[s] for s, fold in folds.items() if fold == wanted]) for wanted in range(5)]
    medians = [np.median(part[:, 0]) for part in by_fold]
    assert max(medians) / min(medians) < 1.5
    assert {int((part[:, 1] > 0).sum()) for part in by_fold} == {3}


def test_a_subject_counts_by_the_mean_of_its_known_sizes() -> None:
    """No scan can be read, so none is another's copy."""
    by_size = "hdbfaceg"
    items = [
        {"image": f"{subject}_{scan}.nii", "subject": subject, "size": {"liver": size}}
        for number, subject in enumerate(by_size)
        for scan, size in enumerate((None, [8.0**number, 3 * 8.0**number], 4 * 8.0**number))
    ]
    folds = folds_of_subjects(items, ["liver"], Path("nowhere"), 2)
    assert [folds[subject] for subject in by_size] == [0, 1, 1, 0, 0, 1, 1, 0]
    assert set(folds_of_subjects(items[:3], ["liver"], Path("nowhere"), 5).values()) == {0}


@pytest.mark.parametrize("clicked", ["a", "abc", "adg", "fgh"])
def test_the_first_fold_validates_without_the_few_scans_that_have_clicks(clicked: str) -> None:
    items = [
        {"image": f"{subject}.nii", "subject": subject, "size": {"liver": number}, "clicks": {"liver": [[1, 2, 3]]}}
        for number, subject in enumerate("abcdefghij")
    ]
    few = [item if item["subject"] in clicked else {**item, "clicks": {}} for item in items]
    folds = folds_of_subjects(few, ["liver"], Path("nowhere"), 5)
    assert all(folds[subject] != 0 for subject in clicked)
    assert sorted(folds.values()) == sorted([*range(5)] * 2)
    everywhere = folds_of_subjects(items, ["liver"], Path("nowhere"), 5)
    assert everywhere == folds_of_subjects([{**item, "clicks": None} for item in items], ["liver"], Path("nowhere"), 5)


def test_subjects_that_share_a_scan_share_a_fold(tmp_path: Path) -> None:
    for number in range(6):
        voxels = np.full((4, 4, 2), min(number, 4), dtype=np.int16)  # the last two are alike
        nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), tmp_path / f"{number}.nii")
    items = [{"image": f"{number}.nii", "subject": f"s{number}", "size": {"liver": 2.0**number}} for number in range(6)]
    folds = folds_of_subjects(items, ["liver"], tmp_path, 3)
    assert folds["s4"] == folds["s5"]
    assert set(folds.values()) == {0, 1, 2}
