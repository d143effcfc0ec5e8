"""A cohort's items hold what they may hold, and no more."""

from __future__ import annotations

from pathlib import Path

from medsize.data import load_cohort


def test_size_supervision_holds_no_mask(phantoms: Path) -> None:
    cohort = load_cohort(phantoms / "datalist.json", phantoms)
    for supervision, keys in {
        "size": {"slice_area_mm2"},
        "mask": {"label"},
        "scribble": {"scribble"},
        "size+scribble": {"slice_area_mm2", "scribble"},
    }.items():
        for item in cohort.training_items(supervision):
            assert item.keys() & {"volume_mm3", "slice_area_mm2", "label", "scribble"} == keys


def test_training_and_validation_share_no_subject(phantoms: Path) -> None:
    cohort = load_cohort(phantoms / "datalist.json", phantoms)
    training = {item["subject"] for item in cohort.training_items(fold=1)}
    validation = {item["subject"] for item in cohort.validation_items(fold=1)}
    assert len(training) == 6
    assert len(validation) == 3
    assert not training & validation


def test_masks_of_a_few_subjects_and_sizes_of_all(phantoms: Path) -> None:
    cohort = load_cohort(phantoms / "datalist.json", phantoms)
    items = cohort.training_items("size+mask", num_masks=2)
    assert sum("label" in item for item in items) == 2
    assert all("slice_area_mm2" in item for item in items)
    assert len(cohort.training_items("mask", num_masks=2)) == 2


def test_size_level_picks_volumes_or_slices(phantoms: Path) -> None:
    cohort = load_cohort(phantoms / "datalist.json", phantoms)
    assert cohort.training_items(size_level="slice")[0]["slice_area_mm2"].shape == (2, 3, 6)
    assert cohort.training_items(size_level="volume")[0]["volume_mm3"].shape == (2, 3)
