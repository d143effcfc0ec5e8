"""Sets of pictures are prepared from their official layouts: one slice each, sizes as stated, folds kept together."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from monai.bundle import ConfigParser
from PIL import Image, ImageDraw

from medsize.checks import check_scans
from medsize.data import Proposal, load_cohort
from medsize.items import CohortItem
from medsize.sizes.table.read import read_size_table
from medsize.sizes.table.scan_sizes import add_sizes
from tests.conftest import BUNDLE_2D, PROJECT


def prepared(command: Callable, module: str, source: Path, output: Path, *options: str) -> dict[str, Any]:
    command(f"data_prep.{module}", source, "--output-dir", output, *options, cwd=PROJECT)
    found: dict[str, Any] = json.loads((output / "datalist.json").read_text())
    cohort = load_cohort(output / "datalist.json", output)
    assert check_scans(list(cohort.items), cohort.num_classes, mask_ignored=cohort.mask_ignored) == []
    return found


def save(file: Path, pixels: np.ndarray) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8)).save(file)


def ellipse(width: int, height: int, fill: bool = True) -> np.ndarray:
    image = Image.new("L", (width, height))
    box = (width // 4, height // 4, 3 * width // 4, 3 * height // 4)
    ImageDraw.Draw(image).ellipse(box, fill=255 if fill else None, outline=255)
    return np.asarray(image)


def test_a_head_gets_the_area_of_its_circumference_and_examinations_stay_together(
    command: Callable, tmp_path: Path
) -> None:
    folder, rows = tmp_path / "hc18", ["filename,pixel size(mm),head circumference (mm)"]
    for name in ("001_HC", "001_2HC", "002_HC", "003_HC"):
        save(folder / "training_set" / f"{name}.png", 50 + ellipse(80, 60) // 2)
        save(folder / "training_set" / f"{name}_Annotation.png", ellipse(80, 60, fill=False))
        rows.append(f"{name}.png,0.5,55.4")  # diameters of 20 and 15 mm
    (folder / "training_set_pixel_size_and_HC.csv").write_text("\n".join(rows))
    found = prepared(command, "hc18", folder, tmp_path / "out", "--folds", "3")
    items = {Path(item["image"]).name.split(".")[0]: item for item in found["training"]}
    assert items["001_HC"]["fold"] == items["001_2HC"]["fold"]
    assert items["001_HC"]["circumference_mm"] == {"head": 55.4}
    ((low, high),) = items["002_HC"]["slice_size"]["head"]
    assert low < np.pi / 4 * 20 * 15 < high
    (tmp_path / "sizes.csv").write_text("image,head circumference_mm\nimages/002_HC.nii.gz,55.4\n")
    (by_table,) = add_sizes(
        [{"image": "images/002_HC.nii.gz"}], read_size_table(tmp_path / "sizes.csv"), tmp_path / "out"
    )
    ((table_low, table_high),) = by_table["slice_size"]["head"]  # of any ellipse, not of a head
    assert table_low < low
    assert table_high == pytest.approx(high, rel=1e-4)
    assert not Proposal(load_cohort(tmp_path / "out" / "datalist.json", tmp_path / "out"), 2).fit_to_window()  # alike
    mask = nibabel.load(tmp_path / "out" / "masks" / "002_HC.nii.gz")
    assert mask.shape == (80, 60, 1)
    assert np.allclose(mask.header.get_zooms()[:2], 0.5)
    assert float(np.sum(mask.dataobj)) * 0.25 == pytest.approx(np.pi / 4 * 20 * 15, rel=0.06)  # the outline is filled


def test_lesions_are_parts_of_the_picture_and_two_diameters_tell_their_area(command: Callable, tmp_path: Path) -> None:
    folder = tmp_path / "busi"
    for kind, numbers in (("benign", (3, 14)), ("malignant", (25,)), ("normal", (7,))):
        for number in numbers:
            name = f"{kind} ({number})"
            save(folder / kind / f"{name}.png", np.full((60, 80, 3), 90))
            save(folder / kind / f"{name}_mask.png", ellipse(80, 60) * (kind != "normal"))
    corner = np.zeros((60, 80))
    corner[:6, :6] = 255
    save(folder / "benign" / "benign (3)_mask_1.png", corner)
    found = prepared(command, "busi", folder, tmp_path / "out", "--folds", "2", "--clicks")
    items = {item["subject"]: item for item in found["training"]}
    assert found["length_unit"] == "px"
    assert items["normal_00"]["slice_size"]["lesion"] == [0]
    part = ellipse(80, 60).astype(bool).mean()
    assert items["benign_00"]["slice_size"]["lesion"] == [pytest.approx(part + 36 / 4800, rel=1e-3)]
    (click,) = items["benign_01"]["clicks"]["lesion"]
    assert -click[0] == pytest.approx(40, abs=2)
    assert -click[1] == pytest.approx(30, abs=2)
    by_diameters = prepared(
        command, "busi", folder, tmp_path / "two", "--folds", "2", "--sizes", "diameters", "--without-normal"
    )
    of_two = {item["subject"]: item["slice_size"]["lesion"][0] for item in by_diameters["training"]}
    assert of_two["benign_01"] == pytest.approx(part, rel=0.08)
    assert sum("normal" in subject for subject in of_two) == sum(
        item["fold"] == 0 for item in found["training"] if "normal" in item["subject"]
    )


def test_nuclei_of_a_picture_are_one_mask_and_parts_of_a_field_stay_together(command: Callable, tmp_path: Path) -> None:
    folder, rng = tmp_path / "stage1_train", np.random.default_rng(0)
    field = np.cumsum(rng.normal(0, 6, (64, 32)), axis=1) + 100
    pictures = {
        "a" * 20: field[:32].clip(0, 255),
        "b" * 20: field[31:63].clip(0, 255),
        "c" * 20: rng.integers(0, 90, (32, 32, 3)),
    }
    for name, pixels in pictures.items():
        save(folder / name / "images" / f"{name}.png", pixels)
        for number, place in enumerate((np.s_[2:6, 2:6], np.s_[20:24, 20:28])):
            nucleus = np.zeros((32, 32))
            nucleus[place] = 255
            save(folder / name / "masks" / f"{number}.png", nucleus)
    found = prepared(command, "dsb2018", folder, tmp_path / "out", "--folds", "2")
    subjects = [item["subject"] for item in found["training"]]
    assert subjects[0] == subjects[1] != subjects[2]
    assert found["training"][0]["slice_size"]["nucleus"] == [pytest.approx(48 / 1024, abs=1e-6)]
    cohort = load_cohort(tmp_path / "out" / "datalist.json", tmp_path / "out")
    assert Proposal(cohort, 2).in_channels() == 3  # a mixed set is in colour throughout
    one_kind = prepared(command, "dsb2018", folder, tmp_path / "two", "--folds", "2", "--stain", "fluorescence")
    first = tmp_path / "two" / one_kind["training"][0]["image"]
    assert nibabel.load(first).shape == (32, 32, 1)
    prepared(command, "dsb2018", folder, tmp_path / "two", "--folds", "2")
    assert nibabel.load(first).shape == (32, 32, 1, 3)


def test_ignored_pixels_count_for_no_class_and_the_official_lists_split(command: Callable, tmp_path: Path) -> None:
    root = tmp_path / "VOCdevkit" / "VOC2012"
    mask = np.zeros((20, 30), dtype=np.uint8)
    mask[5:15, 5:15], mask[5:15, 15] = 12, 255
    for name in ("2007_000001", "2007_000002", "2008_000003"):
        save(root / "JPEGImages" / f"{name}.jpg", np.random.default_rng(0).integers(0, 255, (20, 30, 3)))
    for place, name in (("SegmentationClass", "2007_000001"), ("SegmentationClassAug", "2007_000002")):
        save(root / place / f"{name}.png", mask)
    save(root / "SegmentationClass" / "2008_000003.png", mask)
    lists = root / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "val.txt").write_text("2008_000003\n")
    (lists / "trainaug.txt").write_text("2007_000001\n2007_000002\n")
    found = prepared(command, "voc", tmp_path / "VOCdevkit", tmp_path / "out")
    assert len(found["labels"]) == 21
    assert [len(found[section]) for section in ("training", "validation")] == [2, 1]
    assert found["training"][0]["slice_size"]["dog"] == [pytest.approx(100 / 590, abs=1e-6)]
    assert found["mask_ignored"] == 255
    cohort = load_cohort(tmp_path / "out" / "datalist.json", tmp_path / "out")
    item: CohortItem = cohort.items[0]
    assert nibabel.load(item["image"]).shape == (30, 20, 1, 3)
    assert check_scans([item], cohort.num_classes) != []  # without the key, 255 is a mistake


def test_the_parts_at_hand_are_prepared(command: Callable, real_scans: Path, tmp_path: Path) -> None:
    found = prepared(command, "dsb2018", real_scans / "DSB2018_colour", tmp_path / "out")
    assert len(found["training"]) == 30
    cohort = load_cohort(tmp_path / "out" / "datalist.json", tmp_path / "out")
    proposal = Proposal(cohort, 2)
    assert proposal.in_channels() == 3
    assert proposal.fit_to_window()
    config = ConfigParser()
    config.read_config([BUNDLE_2D / "configs" / name for name in ("train.yaml", "imagenet.yaml")])
    config.update({"dataset_dir": str(tmp_path / "out")})
    assert config.get_parsed_content("use_first_labels")
    width, height = proposal.roi_size()
    assert width / height == pytest.approx(320 / 256, rel=0.1)
