"""Every fault of a scan is found before training, and named by its file."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch

from medsize.checks import check_run, check_scans, open_cohort
from medsize.data import load_cohort
from medsize.items import Click

AFFINE = np.diag([2.0, 2.0, 5.0, 1.0])


def save(path: Path, array: np.ndarray, affine: np.ndarray | None = AFFINE) -> str:
    nibabel.save(nibabel.Nifti1Image(array, affine), path)
    return str(path)


@pytest.fixture
def item(tmp_path: Path) -> dict[str, Any]:
    """A sound item."""
    label = np.zeros((10, 12, 4), dtype=np.uint8)
    label[2:5, 2:5, 1:3] = 1
    return {
        "image": save(tmp_path / "image.nii.gz", np.random.default_rng(0).normal(size=(10, 12, 4)).astype(np.float32)),
        "label": save(tmp_path / "label.nii.gz", label),
        "volume_mm3": torch.tensor([[360.0], [360.0]], dtype=torch.float64),
        "roi": {"center_mm": [8.0, 8.0, 10.0]},
    }


def faults(item: dict[str, Any], region_mm: list[float] | None = None) -> str:
    return "\n".join(check_scans([item], num_classes=2, region_mm=region_mm))


def test_a_sound_scan_has_no_fault(item: dict) -> None:
    assert faults(item, [20.0, 24.0, -1]) == ""


def test_a_structure_may_fill_a_whole_picture_but_not_a_window(tmp_path: Path) -> None:
    picture = save(tmp_path / "image.nii.gz", np.random.default_rng(0).integers(0, 255, (20, 10, 1)).astype(np.uint8))
    item = {"image": picture, "slice_area_mm2": torch.full((2, 1, 1), 0.9 * 20 * 10 * 4, dtype=torch.float64)}
    assert faults(item, [-1, -1, -1]) == ""
    assert "the region given to the network has only" in faults(item, [40.0, 20.0, -1])


def test_scans_are_not_turned_away_from_the_sizes_of_their_slices(item: dict) -> None:
    item["slice_area_mm2"] = torch.zeros(2, 1, 4, dtype=torch.float64)
    assert check_scans([item], num_classes=2, orientation="LPS") == []
    (fault,) = check_scans([item], num_classes=2, orientation="RAI")
    assert fault == (
        f"{item['image']}: found the orientation RAS and sizes of slices, expected I as its last axis: RAI, which "
        "scans are turned to, has other slices. Leave orientation out."
    )


def break_truncate(item: dict, folder: Path) -> None:
    path = Path(item["image"])
    path.write_bytes(path.read_bytes()[:-400])


def break_plain_truncate(item: dict, folder: Path) -> None:
    plain = folder / "plain.nii"
    plain.write_bytes(gzip.decompress(Path(item["image"]).read_bytes())[:-100])
    item["image"] = str(plain)


def break_no_scan(item: dict, folder: Path) -> None:
    Path(item["image"]).write_bytes(b"this is no scan")


def break_nan(item: dict, folder: Path) -> None:
    array = np.zeros((10, 12, 4), dtype=np.float32)
    array[0, 0, :3] = np.nan
    save(Path(item["image"]), array)


def break_spacing_missing(item: dict, folder: Path) -> None:
    save(Path(item["image"]), np.zeros((10, 12, 4), dtype=np.float32), None)
    save(Path(item["label"]), np.zeros((10, 12, 4), dtype=np.uint8), None)


def break_affine(item: dict, folder: Path) -> None:
    content = bytearray(gzip.decompress(Path(item["image"]).read_bytes()))
    content[312:328] = bytes(16)  # srow_z, the third row of the affine
    Path(item["image"]).write_bytes(gzip.compress(bytes(content)))


def break_unit(item: dict, folder: Path) -> None:
    image = nibabel.load(item["image"])
    array = np.asarray(image.dataobj)
    image = nibabel.Nifti1Image(array, AFFINE)
    image.header.set_xyzt_units("meter")
    nibabel.save(image, item["image"])


def patch_header(item: dict, at: int, value: bytes) -> None:
    content = bytearray(gzip.decompress(Path(item["image"]).read_bytes()))
    content[at : at + len(value)] = value
    Path(item["image"]).write_bytes(gzip.compress(bytes(content)))


def break_unknown_unit(item: dict, folder: Path) -> None:
    patch_header(item, 123, b"\x07")  # xyzt_units


def break_size_stated(item: dict, folder: Path) -> None:
    patch_header(item, 42, b"\xfd\xff")  # dim[1]: −3


def break_stream(item: dict, folder: Path) -> None:
    content = bytearray(Path(item["image"]).read_bytes())
    content[40:60] = bytes(range(20))
    Path(item["image"]).write_bytes(content)


def break_axes(item: dict, folder: Path) -> None:
    save(Path(item["image"]), np.zeros((10, 12, 4, 2), dtype=np.float32))


def break_label_shape(item: dict, folder: Path) -> None:
    save(Path(item["label"]), np.zeros((10, 11, 4), dtype=np.uint8))


def break_label_place(item: dict, folder: Path) -> None:
    save(Path(item["label"]), np.zeros((10, 12, 4), dtype=np.uint8), np.diag([2.0, 2.0, 4.0, 1.0]))


def break_label_value(item: dict, folder: Path) -> None:
    save(Path(item["label"]), np.full((10, 12, 4), 7, dtype=np.uint8))


def break_label_empty(item: dict, folder: Path) -> None:
    save(Path(item["label"]), np.zeros((10, 12, 4), dtype=np.uint8))


def break_size(item: dict, folder: Path) -> None:
    item["volume_mm3"] = item["volume_mm3"] * 1000


def break_slices(item: dict, folder: Path) -> None:
    item["slice_area_mm2"] = torch.ones(2, 1, 5)


def break_roi(item: dict, folder: Path) -> None:
    item["roi"] = {"box_mm": [[500, 0, 0], [520, 10, 10]]}


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (break_truncate, "image.nii.gz: the image cannot be read"),
        (break_plain_truncate, "plain.nii: the image cannot be read"),
        (break_no_scan, "image.nii.gz: the image cannot be read"),
        (break_nan, "image.nii.gz: 3 intensities are NaN or infinite"),
        (break_spacing_missing, "image.nii.gz: the image states no spacing"),
        (break_affine, "image.nii.gz: the image's affine is degenerate"),
        (break_unit, "image.nii.gz: the image's spacing is in meter"),
        (break_unknown_unit, "image.nii.gz: the image's spacing is in the unknown unit 7"),
        (break_size_stated, "image.nii.gz: the image cannot be read"),
        (break_stream, "image.nii.gz: the image cannot be read"),
        (break_axes, "image.nii.gz: found the shape ("),
        (break_label_shape, "label.nii.gz: the label has the shape (10, 11, 4), its image"),
        (break_label_place, "label.nii.gz: the label lies elsewhere in space"),
        (break_label_value, "label.nii.gz: the label holds the values [7.0]"),
        (break_label_empty, "label.nii.gz: the label is empty, but a size above 0 is stated"),
        (break_size, "image.nii.gz: sizes sum to 360,000 mm³, above the field of view (9,600 mm³)"),
        (break_slices, "image.nii.gz: sizes are given for 5 slices, but the image has 4"),
        (break_roi, "lies outside the image"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_each_fault_is_named_by_its_file(item: dict, tmp_path: Path, damage: Callable, message: str) -> None:
    damage(item, tmp_path)
    assert message in faults(item)


def test_sizes_above_the_network_region_are_found(item: dict) -> None:
    assert "the region given to the network has only" in faults(item, [4.0, 4.0, -1])
    item["true_volume_mm3"] = item.pop("volume_mm3")
    assert "the region given to the network has only" in faults(item, [4.0, 4.0, -1])
    assert faults(item, [5.0, 5.0, -1]) == ""


def test_likely_sizes_within_intervals_that_do_not_fit_are_told_as_such(phantoms: Path, tmp_path: Path) -> None:
    """The view has 3,538,944 mm³."""
    content = json.loads((phantoms / "datalist.json").read_text())
    for entry in content["training"]:
        entry["size"]["liver"] = [1e6, 9e6]
    (tmp_path / "datalist.json").write_text(json.dumps(content))
    cohort = load_cohort(tmp_path / "datalist.json", phantoms)
    with pytest.raises(SystemExit) as refused:
        check_run(cohort, {"supervision": "size", "size_level": "volume", "num_classes": 4, "val_fold": 0})
    told, *_ = [line for line in str(refused.value).splitlines() if "sizes sum to" in line]
    assert content["training"][1]["image"] in told
    assert "(of an interval, what is likely within it), above the field of view" in told


def test_sizes_that_a_zoom_would_cut_off_are_found(item: dict) -> None:
    """360 mm³ are 0.72 of the first region, and 0.69 of the second."""
    assert "and 0.7 of that where it is zoomed into" in faults(item, [5.0, 5.0, -1])
    assert faults(item, [5.1, 5.1, -1]) == ""


def run_checks(phantoms: Path, tmp_path: Path, **changes: Any) -> None:
    cohort = load_cohort(phantoms / "datalist.json", phantoms)
    arguments = {
        "supervision": "size",
        "val_fold": 0,
        "size_level": "slice",
        "num_masks": None,
        "num_classes": 4,
        "region_mm": [192.0, 192.0, -1],
        "use_roi": True,
        "output_dir": str(tmp_path / "run"),
        **changes,
    }
    check_run(cohort, arguments)


def test_a_sound_run_passes(phantoms: Path, tmp_path: Path) -> None:
    run_checks(phantoms, tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_classes": 3}, "num_classes is 3, but 'labels' has 4: background, liver, kidney, lesion"),
        ({"val_fold": 9}, "there is no item to validate on: found the folds 0, 1, 2, expected the fold 9"),
        ({"supervision": "seize"}, "supervision is 'seize'"),
        ({"init": "imaginary"}, "init is 'imaginary'"),
        ({"init": "checkpoint"}, "set init_checkpoint"),
        ({"checkpoint": "nowhere.pt"}, "there are no weights at nowhere.pt"),
        ({"resume": True}, "resume is true, but there is no checkpoint at"),
        ({"roi_size": (8, 8, 8)}, "size_level is 'slice': a 3D network learns from sizes of whole scans"),
        ({"seed": "one"}, "seed is 'one', expected a whole number."),
        ({"val_fold": "0"}, "val_fold is '0', expected a whole number."),
        ({"num_masks": "1"}, "num_masks is '1', expected a whole number."),
        ({"use_roi": "no"}, "use_roi is 'no': any text counts as true. Write True or False."),
        ({"spacing": [1.0, "b"]}, "spacing is [1.0, 'b'], expected a list of numbers."),
        ({"spacing": 6}, "spacing is 6, expected a list of numbers."),
        ({"halo": [16, 4], "roi_size": (32, 32)}, "halo is [16, 4] and roi_size [32, 32], expected a halo below half"),
        ({"output_dir": 3}, "output_dir is 3, expected a path."),
        ({"overwrite": "false"}, "overwrite is 'false': any text counts as true. Write True or False."),
        ({"supervison": "size"}, "there is no key 'supervison'. Did you mean 'supervision'?"),
    ],
)
def test_bad_runs_end_with_one_message(phantoms: Path, tmp_path: Path, changes: dict, message: str) -> None:
    with pytest.raises(SystemExit) as caught:
        run_checks(phantoms, tmp_path, **changes)
    assert message in str(caught.value)


def test_wrong_values_are_listed_with_what_else_is_wrong(phantoms: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as caught:
        run_checks(phantoms, tmp_path, seed="one", num_masks=0.5, region_mm=["wide"], init="imaginary")
    for key in ("seed is 'one'", "num_masks is 0.5", "region_mm is ['wide']", "init is 'imaginary'"):
        assert key in str(caught.value)


@pytest.mark.parametrize("key", ["output_dir", "cache_dir"])
def test_a_folder_that_cannot_be_made_is_refused(phantoms: Path, tmp_path: Path, key: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SystemExit, match=f"{key} is .*: .*file is not a writable folder. Name another folder."):
        run_checks(phantoms, tmp_path, **{key: str(tmp_path / "file" / "below")})


def test_what_follows_from_a_wrong_setting_is_not_listed_with_it(phantoms: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as caught:
        run_checks(phantoms, tmp_path, spacing="a", region_mm=["aaaa"])
    assert "spacing is 'a', expected a list of numbers." in str(caught.value)
    assert "region_mm" not in str(caught.value)


def test_a_run_is_not_replaced_unasked(phantoms: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "checkpoint.pt").write_bytes(b"precious")
    with pytest.raises(SystemExit, match="already holds a run"):
        run_checks(phantoms, tmp_path)
    run_checks(phantoms, tmp_path, overwrite=True)


def test_items_without_roi_are_named(phantoms: Path, tmp_path: Path) -> None:
    content = json.loads((phantoms / "datalist.json").read_text())
    del content["training"][4]["roi"]
    data_list = tmp_path / "datalist.json"
    data_list.write_text(json.dumps(content))
    cohort = open_cohort(str(data_list), str(phantoms))
    with pytest.raises(SystemExit, match=r"phantom_004\.nii\.gz: the item has no roi"):
        check_run(cohort, {"supervision": "size", "val_fold": 0, "use_roi": True})


def test_open_cohort_ends_the_program_with_the_message_alone(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="there is no such file"):
        open_cohort(str(tmp_path / "none.json"), str(tmp_path))


def on(k: int, *place: float) -> Click:
    return Click(k, place, place)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("clicks", "message"),
    [
        ([on(1, -4, -6, 10)], "a click of class 1 at [-4, -6, 10] mm lies outside the image. It lies inside as LPS"),
        ([on(1, 4, 6, 99)], "at [4, 6, 99] mm lies outside the image. Correct or delete it."),
        ([Click(1, (4, 6, 10), (4, 60, 10))], "lies outside the image"),
        ([on(1, 4, 6, 10), on(0, 4.5, 6, 10)], "clicks of class 1 and class 0 are both at [4.5, 6, 10] mm"),
        ([on(0, 4, 6, 10), Click(1, (4, 2, 10), (4, 12, 10))], "class 1 are both at [4, 2, 10] mm, or on the line"),
    ],
)
def test_clicks_that_cannot_be_are_named(item: dict, clicks: list[Click], message: str) -> None:
    assert message in faults({**item, "clicks": tuple(clicks)})


def test_a_click_on_an_absent_structure_is_named_and_sound_ones_are_not(item: dict) -> None:
    item["clicks"] = (on(1, 4, 6, 10), on(1, 6, 6, 10), on(0, 18, 20, 0))
    assert faults(item) == ""
    item["volume_mm3"] = torch.zeros(2, 1)
    assert "found a click of class 1 at [4, 6, 10] mm, but its size is 0" in faults(item)


def test_a_click_in_a_slice_whose_size_is_0_is_named(item: dict) -> None:
    item["clicks"] = (on(1, 4, 6, 10),)
    del item["volume_mm3"]
    item["slice_area_mm2"] = torch.full((2, 1, 4), 40.0)
    assert "click" not in faults(item)
    slice_of_click = round(10 / 5)
    item["slice_area_mm2"][:, 0, slice_of_click] = 0
    assert f"its size is 0 in the slices {slice_of_click}. Delete the click, or state the size." in faults(item)


def test_faults_of_organs_are_named(item: dict, tmp_path: Path) -> None:
    """The organ has 40 mm³ of 20 mm³ a voxel, in the first slice; the structure 360 mm³."""
    organ = np.zeros((10, 12, 4), dtype=np.uint8)
    organ[0, :2, 0] = 2
    item["region"] = [save(tmp_path / "organ.nii.gz", organ)]
    assert f"sizes sum to 360 mm³, but their organ, {item['region'][0]}, has only 40 mm³" in faults(item)
    areas = torch.tensor([4.0, 8.0, 0.0, 0.0], dtype=torch.float64).expand(2, 1, 4)
    of_slices = {key: value for key, value in item.items() if key != "volume_mm3"} | {"slice_area_mm2": areas}
    assert "sizes sum to 8 mm² in slice 1, but their organ" in faults(of_slices)
    item["region"] = [save(tmp_path / "empty.nii.gz", 0 * organ)]
    assert "empty.nii.gz: the mask of an organ is empty, expected the organ of" in faults(item)
    item["region"] = [save(tmp_path / "small.nii.gz", organ[:5])]
    assert "small.nii.gz: the mask of an organ has the shape (5, 12, 4)" in faults(item)
    organ[:] = 1
    item["region"] = [save(tmp_path / "whole.nii.gz", organ)]
    assert faults(item) == ""
