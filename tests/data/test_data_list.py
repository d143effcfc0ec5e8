"""A data list is read right, or refused with all its faults named."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch

from medsize.data import DataListError, load_cohort

Writer = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Writer:
    """Write a data list beside three scans of 10 × 10 × 4 voxels of 2 × 2 × 5 mm."""
    for name in ("a", "b", "c"):
        image = nibabel.Nifti1Image(np.zeros((10, 10, 4), dtype=np.float32), np.diag([2.0, 2.0, 5.0, 1.0]))
        nibabel.save(image, tmp_path / f"{name}.nii.gz")

    def write_list(*items: dict[str, Any], **top_level: Any) -> Path:
        content = {
            "labels": {"0": "background", "1": "liver", "2": "kidney"},
            "size_unit": "mL",
            "training": list(items),
            **top_level,
        }
        path = tmp_path / "datalist.json"
        path.write_text(json.dumps(content))
        return path

    return write_list


def problems_of(path: Path) -> str:
    with pytest.raises(DataListError) as caught:
        load_cohort(path, path.parent)
    return str(caught.value)


def test_sizes_become_intervals_in_mm3(write: Writer) -> None:
    path = write(
        {"image": "a.nii.gz", "size": {"liver": 1.5, "kidney": [0.1, 0.2]}},
        {"image": "b.nii.gz", "size": {"kidney": None}},
    )
    first, second = load_cohort(path, path.parent).items
    torch.testing.assert_close(first["volume_mm3"], torch.tensor([[1500.0, 100.0], [1500.0, 200.0]]).double())
    torch.testing.assert_close(second["volume_mm3"], torch.tensor([[0.0, 0.0], [math.inf, math.inf]]).double())


def test_sizes_of_several_lesions_add_up(write: Writer, tmp_path: Path) -> None:
    of_each = {"each": [1.5, [0.5, 0.75]]}
    diameters = {"diameters_mm": [[10], [20, 10], [20, 10, 5]], "each": [1]}
    cohort = load_cohort(write({"image": "a.nii.gz", "size": {"liver": of_each, "kidney": diameters}}), tmp_path)
    ellipsoids = math.pi / 6 * (10**3 + 20 * 10**2 + 20 * 10 * 5)
    expected = torch.tensor([[2000, 1000 + ellipsoids], [2250, 1000 + ellipsoids]], dtype=torch.float64)
    torch.testing.assert_close(cohort.items[0]["volume_mm3"], expected)


def test_diameters_in_a_picture_are_those_of_ellipses(write: Writer, tmp_path: Path) -> None:
    path = write({"image": "a.nii.gz", "size": {"liver": {"diameters_mm": [[10], [20, 10]]}}})
    nibabel.save(nibabel.Nifti1Image(np.zeros((10, 10, 1), np.uint8), np.diag([-2.0, -2, 1, 1])), tmp_path / "a.nii.gz")
    (item,) = load_cohort(path, tmp_path).items
    assert item["volume_mm3"][:, 0].tolist() == pytest.approx([math.pi / 4 * (100 + 200)] * 2)
    path = write({"image": "a.nii.gz", "size": {"liver": {"diameters_mm": [[20, 10, 5]]}}})
    assert "size of 'liver': found 3 diameters, expected 1 or 2" in problems_of(path)


def test_absent_is_not_unknown(write: Writer) -> None:
    path = write({"image": "a.nii.gz", "size": {"liver": 0}})
    (item,) = load_cohort(path, path.parent).items
    assert item["volume_mm3"][:, 0].tolist() == [0, 0]
    assert item["volume_mm3"][:, 1].tolist() == [0, math.inf]


def test_fractions_are_of_the_original_field_of_view(write: Writer) -> None:
    path = write(
        {"image": "a.nii.gz", "size": {"liver": 0.25}, "slice_size": {"kidney": [0, 0.5, None, 0.1]}},
        size_unit="fraction",
    )
    (item,) = load_cohort(path, path.parent).items
    assert item["volume_mm3"][0, 0].item() == pytest.approx(0.25 * 400 * 20)
    assert item["slice_area_mm2"].shape == (2, 2, 4)
    assert item["slice_area_mm2"][0, 1].tolist() == pytest.approx([0, 200, 0, 40])
    assert item["slice_area_mm2"][1, 1].tolist() == pytest.approx([0, 200, math.inf, 40])


def test_sizes_per_slice_are_in_mm2_and_add_up_to_the_volume(write: Writer) -> None:
    path = write({"image": "a.nii.gz", "slice_size": {"liver": [1, 2, 3, 4], "kidney": [1, 1, None, 1]}})
    (item,) = load_cohort(path, path.parent).items
    assert item["slice_area_mm2"][0, 0].tolist() == [1, 2, 3, 4]
    assert item["volume_mm3"][:, 0].tolist() == [50, 50]
    assert item["volume_mm3"][1, 1].item() == math.inf


def test_section_for_validation_wins_over_folds(write: Writer) -> None:
    path = write({"image": "a.nii.gz", "size": {"liver": 1}}, validation=[{"image": "b.nii.gz", "size": {"liver": 1}}])
    cohort = load_cohort(path, path.parent)
    assert [Path(i["image"]).name for i in cohort.validation_items(0)] == ["b.nii.gz"]
    assert [Path(i["image"]).name for i in cohort.training_items("size", 0, "volume")] == ["a.nii.gz"]


def test_many_missing_files_are_told_of_once(write: Writer) -> None:
    items = [{"image": f"gone/{number}.nii.gz", "size": {"liver": -1}} for number in range(9)]
    told = problems_of(write(*items))
    assert told.count("do not exist") == 1
    assert "9 files do not exist: " in told
    assert "2.nii.gz and 6 more. Put them there, or set dataset_dir" in told
    assert told.count("cannot be negative") == 9, "other problems are still named"


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ({"image": "missing.nii.gz"}, r"training[0] (missing.nii.gz): the image"),
        ({"image": "a.nii.gz", "label": "gone.nii.gz"}, "gone.nii.gz does not exist"),
        (
            {"image": "a.nii.gz", "szie": {}},
            "training[0] (a.nii.gz): there is no key 'szie'. Did you mean 'size'?",
        ),
        ({"label": "a.nii.gz"}, "training[0] (no image): found no key 'image'. Add it"),
        (
            {"image": "a.nii.gz", "size": {"livr": 1}},
            "names 'livr', which is not a structure of 'labels'. Did you mean 'liver'?",
        ),
        ({"image": "a.nii.gz", "size": {"spleen": 1}}, "The structures are: liver, kidney"),
        ({"image": "a.nii.gz", "size": {"liver": -2}}, "size of 'liver' is -2.0: a size cannot be negative"),
        (
            {"image": "a.nii.gz", "size": {"liver": math.nan}},
            "size of 'liver' is nan: it must be a finite number",
        ),
        ({"image": "a.nii.gz", "size": {"liver": [3, 2]}}, "the low end is above the high end"),
        (
            {"image": "a.nii.gz", "size": {"liver": {"each": []}}},
            "size.liver: it names no",
        ),
        (
            {"image": "a.nii.gz", "size": {"liver": {"each": [1, -2]}}},
            "size.liver.each.1 is -2, expected 0 or more.",
        ),
        (
            {"image": "a.nii.gz", "size": {"liver": {"diameters_mm": [[3, 2, 2, 1]]}}},
            "size.liver.diameters_mm.0 is [3, 2, 2, 1], expected 3 or fewer entries.",
        ),
        ({"image": "a.nii.gz", "size": {"liver": "large"}}, "size.liver is 'large', expected a number."),
        (
            {"image": "a.nii.gz", "slice_size": {"liver": [1, 2], "kidney": [1]}},
            "differing numbers of slices (liver: 2, kidney: 1)",
        ),
        ({"image": "a.nii.gz", "slice_size": {"liver": [1, 2, -1, 0]}}, "of 'liver' in slice 2 is -1.0"),
        (
            {"image": "a.nii.gz", "roi": {"center_mm": [1, 2]}},
            "training[0] (a.nii.gz): found no key 'roi.center_mm.2'",
        ),
        ({"image": "a.nii.gz", "roi": {}}, "a roi states either center_mm or box_mm"),
    ],
)
def test_bad_items_are_refused_by_name(write: Writer, item: dict, message: str) -> None:
    assert message in problems_of(write(item))


@pytest.mark.parametrize(
    ("top_level", "message"),
    [
        ({"training": []}, "the list 'training' is empty"),
        ({"labels": {"1": "liver"}}, "must number the classes 0, 1"),
        ({"labels": {"background": "0"}}, "must map class indices to names"),
        ({"labels": {"0": "background", "1": "liver", "2": "liver"}}, "names a class twice"),
        ({"labels": {"0": "background", "1": "liver", "2": "Liver "}}, "names a class twice, whatever the case"),
        ({"labels": {"0": "background", "1": " "}}, "has a class without a name"),
        ({"size_unit": None}, "the data list has no 'size_unit'"),
        ({"size_unit": "litres"}, "size_unit is 'litres', expected 'mm3', 'mL' or 'fraction'."),
        (
            {"inside": {"livr": "abdomen"}},
            "inside names 'livr', expected a structure of 'labels'. Did you mean 'liver'?",
        ),
        ({"inside": {"liver": "abdomen"}}, "inside names no organ for 'kidney', expected one for each structure"),
        (
            {"inside": {"liver": "kidney", "kidney": "liver"}},
            "inside is circular, 'liver' in 'kidney' in 'liver', expect",
        ),
        ({"inside": "liver"}, "inside is 'liver', expected keys with values."),
    ],
)
def test_bad_lists_are_refused(write: Writer, top_level: dict, message: str) -> None:
    assert message in problems_of(write({"image": "a.nii.gz", "size": {"liver": 1}}, **top_level))


def test_a_subject_in_two_folds_is_refused(write: Writer) -> None:
    path = write({"image": "a.nii.gz", "subject": "s", "fold": 0}, {"image": "b.nii.gz", "subject": "s", "fold": 1})
    assert "the subject 's' is in more than one split: fold 0, fold 1" in problems_of(path)


def test_a_subject_in_training_and_validation_is_refused(write: Writer) -> None:
    path = write({"image": "a.nii.gz", "subject": "s"}, validation=[{"image": "b.nii.gz", "subject": "s"}])
    assert "the subject 's' is in more than one split: training, validation" in problems_of(path)


def test_a_scan_in_two_folds_is_refused(write: Writer) -> None:
    path = write({"image": "a.nii.gz", "subject": "s", "fold": 0}, {"image": "a.nii.gz", "subject": "t", "fold": 1})
    assert "the image 'a.nii.gz' is in more than one split" in problems_of(path)


def test_paths_out_of_the_folders_are_refused(write: Writer, tmp_path: Path) -> None:
    (tmp_path / "prepared").mkdir()
    (tmp_path / "other").mkdir()
    for folder in (tmp_path / "prepared", tmp_path / "other"):
        (folder / "clicks.nii.gz").write_bytes((tmp_path / "a.nii.gz").read_bytes())
    dataset_dir = tmp_path / "scans"
    dataset_dir.mkdir()
    (tmp_path / "a.nii.gz").rename(dataset_dir / "a.nii.gz")
    path = tmp_path / "prepared" / "datalist.json"
    for scribble, message in (
        (
            "../prepared/clicks.nii.gz",
            None,
        ),  # beside the data list: what was prepared for scans that stay where they are
        ("../other/clicks.nii.gz", "the scribble '../other/clicks.nii.gz' is outside the data set's folder"),
        (str(tmp_path / "other" / "clicks.nii.gz"), "is outside the data set's folder"),
    ):
        write({"image": "a.nii.gz", "scribble": scribble}).rename(path)
        if message is None:
            assert len(load_cohort(path, dataset_dir).items) == 1
            continue
        with pytest.raises(DataListError) as caught:
            load_cohort(path, dataset_dir)
        assert message in str(caught.value)


def test_all_faults_are_named_at_once(write: Writer) -> None:
    message = problems_of(
        write(
            {"image": "x.nii.gz"},
            {"image": "a.nii.gz", "size": {"livr": 1}},
            {"image": "b.nii.gz", "size": {"liver": -1}},
        )
    )
    assert "3 problems" in message


def test_what_is_no_data_list_is_refused(tmp_path: Path) -> None:
    assert "there is no such file" in problems_of(tmp_path / "nothing.json")
    broken = tmp_path / "broken.json"
    broken.write_text('{"training": [')
    assert "it is not JSON" in problems_of(broken)
    broken.write_bytes(b"\xff\xfe\x00binary")
    assert "it is not JSON" in problems_of(broken)
    broken.write_text("[]")
    assert "must be a JSON object" in problems_of(broken)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"supervision": "sizes"}, "supervision is 'sizes'"),
        ({"size_level": "scan"}, "size_level is 'scan'"),
        ({"num_masks": 0}, "num_masks is 0"),
    ],
)
def test_bad_choices_are_refused(phantoms: Path, arguments: dict, message: str) -> None:
    cohort = load_cohort(phantoms / "datalist.json", phantoms)
    with pytest.raises(DataListError, match=message):
        cohort.training_items(**arguments)


def test_supervision_that_no_item_has_is_refused(write: Writer) -> None:
    path = write({"image": "a.nii.gz", "size": {"liver": 1}})
    with pytest.raises(DataListError, match="none of 1 training items has 'slice_size'"):
        load_cohort(path, path.parent).training_items("size")


def test_masks_of_organs_are_the_region_of_each_structure(write: Writer, tmp_path: Path) -> None:
    """A kidney in the liver, which is in the abdomen: both structures have the abdomen for a region."""
    inside = {"kidney": "liver", "liver": "abdomen"}
    with_organ = {"image": "a.nii.gz", "size": {"liver": 1}, "organs": {"abdomen": "c.nii.gz"}, "fold": 1}
    without = {"image": "b.nii.gz", "size": {"liver": 1}, "fold": 0}
    path = write(with_organ, without, inside=inside)
    cohort = load_cohort(path, tmp_path)
    assert cohort.organs == ("abdomen", "abdomen")
    (item,) = cohort.training_items(size_level="volume")
    assert item["region"] == [str(tmp_path / "c.nii.gz")] * 2
    assert "region" not in cohort.items[1]
    assert load_cohort(path, tmp_path, inside={}).organs == ()
    misnamed = write(with_organ | {"organs": {"abdomne": "c.nii.gz"}}, without, inside=inside)
    assert "'organs' has no 'abdomen'. Did you mean 'abdomne'?" in problems_of(misnamed)
