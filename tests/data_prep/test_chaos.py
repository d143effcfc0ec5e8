"""CHAOS is prepared from both layouts, with the same sizes, and clicks inside the organs of training scans."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from PIL import Image

from data_prep.chaos import CLASSES
from medsize.checks import check_scans
from medsize.data import load_cohort
from tests.conftest import PROJECT
from tests.dicom import COLUMNS, ROWS, SLICES, write_series

GREY = np.array([0, 63, 126, 189, 252], dtype=np.uint8)


def prepare(command: Callable, source: Path, output: Path, *options: str) -> dict:
    command("data_prep.chaos", source, "--output-dir", output, *options, cwd=PROJECT)
    return json.loads((output / "datalist.json").read_text())


def test_clicks_lie_inside_the_organs_of_training_scans_alone(
    command: Callable, real_scans: Path, tmp_path: Path
) -> None:
    source = real_scans / "CHAOS_T2"
    prepared = prepare(command, source, tmp_path / "out", "--clicks", "3", "--validation-fold", "2")
    cohort = load_cohort(tmp_path / "out" / "datalist.json", source)
    assert cohort.class_names == CLASSES
    assert len(cohort.items) == 15
    assert len(cohort.validation_items(0)) == 3
    clicked = [item for item in cohort.items if "clicks" in item]
    assert len(clicked) == 3
    assert all(item["fold"] > 0 for item in clicked)
    for item in clicked:
        mask = nibabel.load(item["label"])
        inverse = np.linalg.inv(mask.affine)
        for click in item["clicks"]:
            voxel = np.round((inverse @ [*click.start_mm, 1])[:3]).astype(int)
            assert np.asarray(mask.dataobj)[tuple(voxel)] == click.class_index
    assert check_scans(clicked, 5) == []
    by_name = {item["image"]: item["size"] for item in prepared["training"]}
    assert by_name["images/chaos_02.nii.gz"]["liver"] / 1000 == pytest.approx(2121.6, abs=0.1)


def official(folder: Path, subject: str) -> None:
    """Write a series whose intensities are 100 times the classes, and PNG files that are named like its slices."""
    source = folder / "Train_Sets" / "MR" / subject / "T2SPIR"
    (source / "Ground").mkdir(parents=True)

    def draw(header: Any, index: int) -> None:
        classes = np.zeros((ROWS, COLUMNS), dtype=np.uint8)
        classes[index : index + 2, 3:8] = index % 5
        header.PixelData = (100 * classes.astype(np.uint16)).tobytes()
        Image.fromarray(GREY[classes]).save(source / "Ground" / f"{(index * 5) % SLICES}.png")

    write_series(source / "DICOM_anon", draw)


def test_the_official_layout_is_converted_and_a_missing_mask_named(command: Callable, tmp_path: Path) -> None:
    for subject in ("1", "13"):
        official(tmp_path / "chaos", subject)
    prepared = prepare(command, tmp_path / "chaos", tmp_path / "out", "--folds", "2")
    assert [item["subject"] for item in prepared["training"]] == ["chaos_01", "chaos_13"]
    image, mask = (nibabel.load(tmp_path / "out" / kind / "chaos_13.nii.gz") for kind in ("images", "masks"))
    assert np.allclose(image.affine, mask.affine)
    assert np.array_equal(image.get_fdata(), 100 * mask.get_fdata())
    assert set(np.unique(mask.get_fdata())) == {0, 1, 2, 3, 4}
    (missing,) = (tmp_path / "chaos").glob("**/13/T2SPIR/Ground/2.png")
    missing.unlink()
    failed = command("data_prep.chaos", tmp_path / "chaos", "--output-dir", tmp_path / "out", cwd=PROJECT, check=False)
    assert failed.returncode == 1
    assert "found no PNG for 2.dcm (1 of 6 slices)" in failed.stderr
