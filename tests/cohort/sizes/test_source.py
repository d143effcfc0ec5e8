"""The data list says where the sizes come from, and the model card repeats it."""

from __future__ import annotations

from pathlib import Path

from medsize.bundle.sharing.model_card import CohortStatement
from tests.cohort.cohorts import phantom, save, volumes_ml, write_images
from tests.cohort.test_init import prepared, write_table


def test_a_table_is_named_with_its_columns_and_who_measured(tmp_path: Path) -> None:
    names = write_images(tmp_path / "scans", 4)
    rows = [f"{name},{volumes_ml(i)[0]}" for i, name in enumerate(names)]
    table = write_table(tmp_path / "sizes.csv", "image,cube volume_ml", rows)
    content = prepared(tmp_path / "scans", tmp_path / "out", "--sizes", table)
    named = "size table sizes.csv (columns cube volume_ml)"
    assert content["size_source"] == f"{named}; who measured the sizes, and how, is not stated"
    assert CohortStatement.of(tmp_path / "out" / "datalist.json").size_source == content["size_source"]

    sources = ["radiology report", "radiology report", "", "two readers"]
    told = [f"{row},{source}" for row, source in zip(rows, sources, strict=True)]
    table = write_table(tmp_path / "sizes.csv", "image,cube volume_ml,source", told)
    content = prepared(tmp_path / "scans", tmp_path / "again", "--sizes", table)
    assert content["size_source"] == f"{named}; radiology report; two readers"


def test_masks_are_named_beside_a_table_or_alone(tmp_path: Path) -> None:
    names = write_images(tmp_path / "scans", 3)
    for number, name in enumerate(names):
        save(
            tmp_path / "scans" / name.replace(".nii.gz", "_mask_cube.nii.gz"), (phantom(number)[1] == 1).astype("uint8")
        )
    content = prepared(tmp_path / "scans", tmp_path / "out", "--folds", 2)
    assert content["size_source"] == "measured in masks"
    table = write_table(tmp_path / "sizes.csv", "image,cube volume_ml,source", [f"{names[0]},{volumes_ml(0)[0]},me"])
    content = prepared(tmp_path / "scans", tmp_path / "both", "--folds", 2, "--sizes", table)
    assert content["size_source"] == "measured in masks of 2 scans; size table sizes.csv (columns cube volume_ml); me"
