"""ACDC is prepared with all scans of a patient in one fold, and true sizes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
import yaml

from data_prep.acdc import CLASSES
from medsize.checks import check_scans
from medsize.data import load_cohort
from tests.conftest import PROJECT


@pytest.fixture
def small_acdc(tmp_path: Path) -> Path:
    """Four patients of two frames in the official layout."""
    rng = np.random.default_rng(0)
    for patient in range(1, 5):
        for frame in (1, 12):
            folder = tmp_path / "acdc" / "training" / f"patient{patient:03d}"
            folder.mkdir(parents=True, exist_ok=True)
            mask = np.zeros((16, 16, 3), dtype=np.uint8)
            mask[4:9, 5:10, 1] = 1 + (patient + frame) % 3
            stem = folder / f"patient{patient:03d}_frame{frame:02d}"
            affine = np.diag([1.5, 1.5, 10.0, 1.0])
            nibabel.save(nibabel.Nifti1Image(rng.normal(size=mask.shape).astype(np.float32), affine), f"{stem}.nii.gz")
            nibabel.save(nibabel.Nifti1Image(mask, affine), f"{stem}_gt.nii.gz")
    return tmp_path / "acdc"


def prepare(command: Callable, source: Path, output: Path, *options: str) -> dict:
    command("data_prep.acdc", source, "--output-dir", output, *options, cwd=PROJECT)
    return json.loads((output / "datalist.json").read_text())


def test_official_layout(command: Callable, small_acdc: Path, tmp_path: Path) -> None:
    prepared = prepare(command, small_acdc, tmp_path / "out", "--clicks", "--validation", "3-4")
    folds = {item["subject"]: item["fold"] for item in prepared["training"]}
    assert len(prepared["training"]) == 8
    assert {s for s, fold in folds.items() if fold == 0} == {"patient003", "patient004"}
    cohort = load_cohort(tmp_path / "out" / "datalist.json", small_acdc)
    assert check_scans(list(cohort.items), 4, cohort.scribble_unlabelled) == []
    assert cohort.items[0]["volume_mm3"][0].sum().item() == pytest.approx(25 * 1.5 * 1.5 * 10)
    overlay = (tmp_path / "out" / "cohort.yaml").read_text()
    assert "8 scans have scribbles, which size+scribble would train with" in overlay
    proposed = yaml.safe_load(overlay)
    assert (proposed["dataset_dir"], proposed["data_list"]) == (str(small_acdc), str(cohort.source))


def test_patients_are_left_out(command: Callable, small_acdc: Path, tmp_path: Path) -> None:
    prepared = prepare(command, small_acdc, tmp_path / "out", "--without", "2", "--without", "4")
    assert {item["subject"] for item in prepared["training"]} == {"patient001", "patient003"}


def test_links_to_patients_are_followed(command: Callable, small_acdc: Path, tmp_path: Path) -> None:
    linked = tmp_path / "linked"
    linked.mkdir()
    for patient in {mask.parent for mask in small_acdc.rglob("*_gt.nii.gz")}:
        (linked / patient.name).symlink_to(patient)
    found = [prepare(command, folder, tmp_path / folder.name / "out")["training"] for folder in (linked, small_acdc)]
    assert len(found[0]) == len(found[1]) > 0


def test_running_again_measures_only_what_changed(command: Callable, small_acdc: Path, tmp_path: Path) -> None:
    first = prepare(command, small_acdc, tmp_path / "out")
    data_list = tmp_path / "out" / "datalist.json"
    # An entry that no mask says tells whether it was measured again.
    first["training"][0]["size"]["myocardium"] = 123.0
    first["training"][1]["size"]["myocardium"] = 456.0
    data_list.write_text(json.dumps(first))
    changed = small_acdc / first["training"][1]["label"]
    mask = nibabel.load(changed)
    nibabel.save(nibabel.Nifti1Image(np.zeros(mask.shape, dtype=np.uint8), mask.affine), changed)
    second = prepare(command, small_acdc, tmp_path / "out")
    assert second["training"][0]["size"]["myocardium"] == 123.0
    assert second["training"][1]["size"]["myocardium"] == 0.0


def test_a_folder_without_scans_is_refused(command: Callable, tmp_path: Path) -> None:
    result = command("data_prep.acdc", tmp_path, "--output-dir", tmp_path / "out", cwd=PROJECT, check=False)
    assert result.returncode != 0
    assert "no patientNNN_frameMM_gt.nii.gz" in result.stderr
    assert not (tmp_path / "out").exists()


def test_real_layout(command: Callable, real_scans: Path, tmp_path: Path) -> None:
    prepared = prepare(command, real_scans / "ACDC", tmp_path / "out", "--validation", "46-60")
    validation = {item["subject"] for item in prepared["training"] if item["fold"] == 0}
    assert len(prepared["training"]) == 120
    assert validation == {f"patient{n:03d}" for n in range(46, 61)}
    cohort = load_cohort(tmp_path / "out" / "datalist.json", real_scans / "ACDC")
    items = cohort.validation_items(0)[:4]
    assert check_scans(items, 4, cohort.scribble_unlabelled, [192.0, 192.0, -1]) == []
    mask = np.asarray(nibabel.load(items[0]["true_label"]).dataobj)
    np.testing.assert_allclose(items[0]["true_volume_mm3"][0], [(mask == k).sum() * 22.5 for k in (1, 2, 3)])


def test_one_structure_alone(command: Callable, small_acdc: Path, tmp_path: Path) -> None:
    prepared = prepare(command, small_acdc, tmp_path / "out", "--structure", "myocardium", "--clicks")
    assert prepared["labels"] == {"0": "background", "1": "myocardium"}
    cohort = load_cohort(tmp_path / "out" / "datalist.json", small_acdc)
    assert check_scans(list(cohort.items), 2, cohort.scribble_unlabelled) == []
    area = {bool(item["volume_mm3"][0].sum()) for item in cohort.items}
    assert area == {True, False}  # only some of the scans show the myocardium


def test_one_structure_after_another_has_its_own_masks_and_clicks(
    command: Callable, small_acdc: Path, tmp_path: Path
) -> None:
    for structure in ("myocardium", "left ventricle", None):
        chosen = [] if structure is None else ["--structure", structure]
        prepared = prepare(command, small_acdc, tmp_path / "out", *chosen, "--clicks")
        seen = set()
        for item in prepared["training"]:
            mask, click = (nibabel.load(small_acdc / item[key]).get_fdata() for key in ("label", "scribble"))
            whole = nibabel.load(small_acdc / item["image"].replace(".nii.gz", "_gt.nii.gz")).get_fdata()
            np.testing.assert_array_equal(mask, whole if structure is None else whole == CLASSES.index(structure))
            np.testing.assert_array_equal(mask[click != 255], click[click != 255])
            seen |= set(click[click != 255])
        assert seen == ({0, 1, 2, 3} if structure is None else {0, 1})
