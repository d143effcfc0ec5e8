"""Another method gets the same scans and regions; its masks are compared with the true ones."""

from __future__ import annotations

import shutil
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest

from benchmarks.peers import dice, draw, medsize_rows, write_cases
from medsize.data import load_cohort


def test_cases_are_the_regions_of_the_scans_and_true_masks_have_a_dice_of_1(phantoms: Path, tmp_path: Path) -> None:
    cohort = load_cohort(phantoms / "datalist.json", phantoms)
    images, labels = tmp_path / "images", tmp_path / "labels"
    items = [{**item, "roi": {"center_mm": [90.0, 90.0, 40.0]}} for item in cohort.items[:2]]
    write_cases(items, images, labels, extent_mm=(96.0, 96.0, -1.0))
    names = sorted(file.name for file in labels.iterdir())
    assert sorted(file.name for file in images.iterdir()) == [name.replace(".nii", "_0000.nii") for name in names]
    assert [nibabel.load(labels / name).shape for name in names] == [(16, 16, 6)] * 2

    structures = cohort.class_names[1:]
    assert dice(labels, labels, structures)["dice"].dropna().eq(1).all()
    empty = tmp_path / "empty"
    shutil.copytree(labels, empty)
    for file in empty.iterdir():
        nibabel.save(nibabel.Nifti1Image(np.zeros((16, 16, 6), np.uint8), nibabel.load(file).affine), file)
    assert dice(empty, labels, structures)["dice"].dropna().eq(0).all()


def test_the_curve_has_the_rows_of_a_ladder(tmp_path: Path) -> None:
    ladder = pd.DataFrame(
        {"rung": ["masks of 45", "sizes", "masks of 3 + sizes"], "Dice": [0.9, 0.7, 0.8], "seconds": 1}
    )
    ladder.to_csv(tmp_path / "ladder.csv", index=False)
    table = pd.DataFrame(medsize_rows(tmp_path / "ladder.csv"))
    assert table["masks"].tolist() == [45, 0, 3]
    assert table["method"].str.contains("sizes").tolist() == [False, True, True]
    assert table["Dice"].tolist() == pytest.approx([0.9, 0.7, 0.8])
    draw(table, tmp_path / "curve.png")
    assert (tmp_path / "curve.png").stat().st_size > 1000
