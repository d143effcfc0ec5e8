"""Wrong units, outliers and scans that are there twice are named; sound cohorts pass."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from medsize.bundle.run.settings import RunSettings
from medsize.checks import check_run
from medsize.checks.findings import RunRefused
from medsize.checks.plausibility.cohort import suspicions
from medsize.data import Cohort, load_cohort
from medsize.items import Click

AFFINE = np.diag([2.0, 2.0, 5.0, 1.0])
CLASSES = ("background", "lesion")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Twelve scans of 20 mm³ a voxel, all different."""
    folder = tmp_path_factory.mktemp("images")
    files = []
    for number in range(12):
        voxels = np.random.default_rng(number).normal(size=(20, 20, 10)).astype(np.float32)
        nibabel.save(nibabel.Nifti1Image(voxels, AFFINE), folder / f"{number:02d}.nii.gz")
        files.append(str(folder / f"{number:02d}.nii.gz"))
    return files


def items(images: list[str], volumes: list[float | None]) -> list[dict[str, Any]]:
    """Items with these sizes, mm³; ``None``: unknown."""
    ends = [[[0.0], [np.inf]] if v is None else [[0.9 * v], [1.1 * v]] for v in volumes]
    return [
        {"image": image, "volume_mm3": torch.tensor(end, dtype=torch.float64), "subject": str(i), "fold": i % 2}
        for i, (image, end) in enumerate(zip(images, ends, strict=True))
    ]


def alike(seed: int, spread: float = 0.25) -> list[float]:
    return (20000 * np.exp(np.random.default_rng(seed).normal(0, spread, 12))).tolist()


@pytest.mark.parametrize("seed", range(3))
def test_a_sound_cohort_passes(images: list[str], seed: int) -> None:
    assert suspicions(items(images, alike(seed)), CLASSES) == []
    widely = np.geomspace(300, 60000, 12).tolist()  # as tumours are
    assert suspicions(items(images, [None, 0.0, *widely[2:]]), CLASSES) == []


@pytest.mark.parametrize(
    ("factor", "explanation"),
    [
        (1 / 1000, "Is it mL, read as mm³; litres, read as mL; or diameters in cm, read as mm?"),
        (1000.0, "Is it mm³, read as mL?"),
        (1 / 8, "Is it a radius, read as a diameter?"),
        (8.0, "Is it a doubled diameter?"),
        (100.0, "Is it a percentage, read as a fraction?"),
        (1 / 100, "Is it a fraction, read as a percentage?"),
        (30.0, "An outlier: is it right?"),
    ],
)
def test_a_size_in_another_unit_is_named_with_its_scan(images: list[str], factor: float, explanation: str) -> None:
    volumes = alike(0, spread=0.15)
    volumes[4] *= factor
    (message,) = suspicions(items(images, volumes), CLASSES)
    assert message.startswith(f"{images[4]}: 'lesion' has ")
    assert message.endswith(explanation)
    assert "e+" not in message


def test_a_group_in_another_unit_is_named(images: list[str]) -> None:
    volumes = [v / 1000 if i < 5 else v for i, v in enumerate(alike(1))]
    (message,) = suspicions(items(images, volumes), CLASSES)
    assert "'lesion': 5 of 12 sizes are about " in message
    assert all(image in message for image in images[:5])
    assert not any(image in message for image in images[5:])
    assert "mL, read as mm³" in message


def test_a_whole_column_in_another_unit_is_known_by_the_organ_or_by_voxels(images: list[str]) -> None:
    livers = [1.5e6 * (1 + i / 20) for i in range(12)]
    assert suspicions(items(images, livers), ("background", "Liver")) == []
    (message,) = suspicions(items(images, [v / 1000 for v in livers]), ("background", "Liver"))
    assert "'Liver': its sizes are 1.9" in message
    assert "those of adults about 1,700 mL. Is it mL, read as mm³" in message
    (message,) = suspicions(items(images, [v / 2e3 for v in alike(0)]), CLASSES)
    assert "are below one voxel (20 mm³). Are they mL, read as mm³?" in message


def test_volumes_are_not_taken_for_percentages_where_none_are_stated(images: list[str]) -> None:
    livers = [1.2e4 * (1 + i / 20) for i in range(12)]
    (message,) = suspicions(items(images, livers), ("background", "liver"), fractions=["liver"])
    assert message.endswith("those of adults about 1,700 mL. Is it a fraction, read as a percentage?")
    (message,) = suspicions(items(images, livers), ("background", "liver"), fractions=[])
    assert message.endswith("those of adults about 1,700 mL. Is the unit right?")


def test_sizes_are_compared_with_masks(images: list[str], tmp_path: Path) -> None:
    cohort = items(images, [16000.0 + 100 * i for i in range(12)])
    for number, item in enumerate(cohort):
        mask = np.zeros((20, 20, 10), dtype=np.uint8)
        mask[:10, :10, :8] = 1  # 16 mL
        item["label"] = str(tmp_path / f"{number}.nii.gz")
        nibabel.save(nibabel.Nifti1Image(mask, AFFINE), item["label"])
    assert suspicions(cohort, CLASSES) == []
    for item in cohort:
        item["volume_mm3"] = item["volume_mm3"] / 8
    (message,) = suspicions(cohort, CLASSES)
    assert "in 12 of 12 scans with a mask the size is far from the mask's" in message
    assert "Is it a radius, read as a diameter?" in message


def test_sizes_measured_in_masks_have_no_hint_about_units(images: list[str], tmp_path: Path) -> None:
    found = items(images, alike(0))
    for number, item in enumerate(found):
        mask = np.zeros((20, 20, 10), np.uint8)
        mask.ravel()[: 4 if number < 4 else 3990] = 1
        nibabel.save(nibabel.Nifti1Image(mask, AFFINE), tmp_path / f"{number}.nii.gz")
        volume = float(mask.sum() * abs(np.linalg.det(AFFINE[:3, :3])))
        item |= {"label": str(tmp_path / f"{number}.nii.gz"), "volume_mm3": torch.full((2, 1), volume).double()}
    said = suspicions(found, ("background", "liver"))
    assert any("They were measured in masks" in message for message in said)
    assert not [message for message in said if "read as" in message or "unit" in message]


def test_sizes_that_are_all_the_same_are_named_unless_only_presence_is_known(images: list[str]) -> None:
    (message,) = suspicions(items(images, [20000.0] * 11 + [0.0]), CLASSES)
    assert message == "'lesion': all 11 sizes above 0 are the same, 20 mL. Was one cell copied to all rows?"
    present = items(images, [20000.0] * 12)
    for item in present:
        item["volume_mm3"] = torch.tensor([[0.8], [80000.0]], dtype=torch.float64)
    assert suspicions(present, CLASSES) == []


def test_a_structure_that_is_absent_everywhere_is_named(images: list[str]) -> None:
    cohort = items(images, alike(0))
    for item in cohort:
        item["volume_mm3"] = torch.cat([item["volume_mm3"], torch.zeros(2, 1).double()], dim=1)
    (message,) = suspicions(cohort, (*CLASSES, "cyst"))
    assert message.startswith("'cyst': its size is 0 in all 12 scans that state it")


def test_areas_of_slices_that_contradict_the_volume_are_named(images: list[str]) -> None:
    cohort = items(images, alike(0))
    for number, item in enumerate(cohort):
        areas = item["volume_mm3"][:, :, None].expand(-1, -1, 10) / 50  # ten slices of 5 mm
        item["slice_area_mm2"] = areas / 40 if number == 3 else areas.clone()
        if number > 5:  # nobody measured the other slices
            item["slice_area_mm2"][0, :, 1:], item["slice_area_mm2"][1, :, 1:] = 0, np.inf
    (message,) = suspicions(cohort, CLASSES)
    assert message.startswith(
        f"'lesion': the areas of its slices make another volume than the one stated in 1 of 12 scans: {images[3]}."
    )


def test_scans_that_are_there_twice_are_named_with_their_folds(images: list[str], tmp_path: Path) -> None:
    cohort = items(images, alike(2))
    copy = nibabel.load(images[3])
    again = tmp_path / "again.nii"  # not compressed, another header: the same voxels
    nibabel.save(nibabel.Nifti1Image(np.asarray(copy.dataobj), AFFINE), again)
    cohort[6] |= {"image": str(again)}
    (message,) = suspicions(cohort, CLASSES)
    expected = f"{again}: its voxels are those of {images[3]}, of the subjects '3' and '6', in fold 1 and fold 0"
    assert message.startswith(expected)


def test_a_click_on_air_is_named_and_one_on_tissue_is_not(tmp_path: Path) -> None:
    voxels = np.zeros((20, 20, 10), dtype=np.float32)
    voxels[5:15, 5:15] = np.random.default_rng(0).normal(100, 10, size=(10, 10, 10))
    nibabel.save(nibabel.Nifti1Image(voxels, AFFINE), tmp_path / "scan.nii.gz")
    (item,) = items([str(tmp_path / "scan.nii.gz")], [8000.0])
    item["clicks"] = (Click(1, (20, 20, 25), (20, 20, 25)), Click(1, (2, 4, 25), (2, 4, 25)))
    doubts = [d for d in suspicions([item], CLASSES) if "as dark as air" in d]
    assert len(doubts) == 1
    assert f"the click of {CLASSES[1]} at [2, 4, 25] mm" in doubts[0]


def test_an_image_that_looks_like_a_mask_is_named(images: list[str], tmp_path: Path) -> None:
    mask = np.zeros((20, 20, 10), dtype=np.uint8)
    mask[5:9] = 1
    nibabel.save(nibabel.Nifti1Image(mask, AFFINE), tmp_path / "a.nii.gz")
    (message,) = suspicions([{"image": str(tmp_path / "a.nii.gz")}], CLASSES)
    assert "the image has only 2 different intensities. Is it a mask?" in message


@settings(max_examples=30)
@given(st.lists(st.floats(1.0, 1e8) | st.just(0.0) | st.none(), min_size=12, max_size=12))
def test_any_sizes_are_compared_without_a_trace(images: list[str], volumes: list[float | None]) -> None:
    for message in suspicions(items(images, volumes), CLASSES):
        assert "lesion" in message
        assert "nan" not in message


def cohort_of(content: dict[str, Any], dataset_dir: Path, tmp_path: Path) -> Cohort:
    data_list = tmp_path / "datalist.json"
    data_list.write_text(json.dumps(content))
    return load_cohort(data_list, dataset_dir)


def run_settings(supervision: str, size_level: str) -> RunSettings:
    window = {"num_classes": 4, "region_mm": (192.0, 192.0, -1.0), "use_roi": True}
    return RunSettings(supervision=supervision, val_fold=0, size_level=size_level, **window)


def test_the_check_before_a_run_warns(phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = json.loads((phantoms / "datalist.json").read_text())
    content["training"][2]["size"]["kidney"] /= 1000
    cohort = cohort_of(content, phantoms, tmp_path)
    check_run(cohort, run_settings("size", "slice"))
    printed = capsys.readouterr().err
    assert "medsize found what does not stop a run, but may not be meant." in printed
    assert "phantom_002.nii.gz" in printed
    assert "Is it mL, read as mm³" in printed


@pytest.mark.parametrize(
    ("size", "message"),
    [
        (0.0, r"found the size 0 of .* in every scan, expected larger ones in some"),
        (None, r"found no known size of 'liver' and .* in any scan, expected some: there is nothing to learn"),
    ],
)
def test_a_cohort_without_any_size_of_a_structure_stops_a_run_on_sizes(
    phantoms: Path, tmp_path: Path, size: float | None, message: str
) -> None:
    content = json.loads((phantoms / "datalist.json").read_text())
    for item in content["training"]:
        item["size"] = dict.fromkeys(item["size"], size)
        del item["slice_size"], item["label"], item["scribble"]
    cohort = cohort_of(content, phantoms, tmp_path)
    with pytest.raises(RunRefused, match=message):
        check_run(cohort, run_settings("size", "volume"))


def test_the_check_before_a_run_tells_of_scans_that_teach_nothing(
    phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = json.loads((phantoms / "datalist.json").read_text())
    without = [item for item in content["training"] if item["fold"] != 0][:2]
    for item in without:
        del item["slice_size"]
    cohort = cohort_of(content, phantoms, tmp_path)
    check_run(cohort, run_settings("size", "slice"))
    told = capsys.readouterr().err
    assert "the sizes of 2 training scans are not used" in told
    assert Path(without[0]["image"]).name in told
    check_run(cohort, run_settings("size", "volume"))
    check_run(cohort, run_settings("mask", "slice"))
    assert "are not used" not in capsys.readouterr().err
    check_run(cohort, run_settings("size+mask", "slice"))
    assert "the sizes of 2 training scans are not used" in capsys.readouterr().err


def test_each_scan_is_looked_at_as_often_for_many_structures_as_for_one(
    images: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[str] = []
    original = os.stat
    monkeypatch.setattr(os, "stat", lambda file, **options: looks.append(str(file)) or original(file, **options))

    def looked_at(structures: int) -> list[int]:
        looks.clear()
        cohort = [item | {"volume_mm3": item["volume_mm3"].repeat(1, structures)} for item in items(images, alike(0))]
        assert suspicions(cohort, ["background", *(f"lesion {k}" for k in range(structures))]) == []
        return [looks.count(image) for image in images]

    assert min(looked_at(1)) > 0
    assert looked_at(20) == looked_at(1)
