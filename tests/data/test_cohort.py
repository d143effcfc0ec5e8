"""A cohort's items hold what they may hold, and no more."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from medsize.data import load_cohort
from medsize.data.data_list import DataListError
from medsize.items import Click


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


def test_a_network_learns_the_middle_of_an_estimate_and_is_judged_by_the_interval(
    phantoms: Path, tmp_path: Path
) -> None:
    content = json.loads((phantoms / "datalist.json").read_text())
    name = content["labels"]["1"]
    for item in content["training"]:
        del item["slice_size"]
        item["size"] = {name: [8000, 12000]}
    data_list = tmp_path / "datalist.json"
    data_list.write_text(json.dumps(content))
    cohort = load_cohort(data_list, phantoms)
    in_unit = cohort.validation_items()[0]["true_volume_mm3"][:, 0] / torch.tensor([8000.0, 12000.0])
    assert bool((in_unit == in_unit[0]).all())
    for item in cohort.training_items(size_level="volume"):
        torch.testing.assert_close(item["volume_mm3"][:, 0], in_unit * 10000)


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


def with_clicks(phantoms: Path, folder: Path, clicks: Any, **top_level: str) -> Path:
    content = json.loads((phantoms / "datalist.json").read_text()) | top_level
    content["training"][0] |= {"clicks": clicks}
    content["training"][0].pop("roi", None)
    (folder / "datalist.json").write_text(json.dumps(content))
    return folder / "datalist.json"


def test_measured_circumferences_are_for_the_evaluation_alone(phantoms: Path, tmp_path: Path) -> None:
    content = json.loads((phantoms / "datalist.json").read_text())
    content["training"][0] |= {"circumference_mm": {content["labels"]["2"]: 55.4}}
    file = tmp_path / "datalist.json"
    file.write_text(json.dumps(content))
    cohort = load_cohort(file, phantoms)
    of_validation = cohort.validation_items(fold=cohort.items[0]["fold"])[0]["true_circumference_mm"]
    assert of_validation.nan_to_num(-1).tolist() == [-1, 55.4, -1]
    assert "circumference_mm" not in cohort.training_items("size+mask", fold=None)[0]
    file.write_text(json.dumps(content | {"length_unit": "px"}))
    with pytest.raises(DataListError, match="found circumference_mm, but the pixels have no known size"):
        load_cohort(file, phantoms)
    content["training"][0] |= {"circumference_mm": {"haed": 55.4}}
    file.write_text(json.dumps(content))
    with pytest.raises(DataListError, match="circumference_mm names 'haed', which is not a structure"):
        load_cohort(file, phantoms)


def test_clicks_are_points_and_lines_in_ras_of_some_scans(phantoms: Path, tmp_path: Path) -> None:
    name = load_cohort(phantoms / "datalist.json", phantoms).class_names[2]
    stated = {name: [[10, -20, 30], [[0, 0, 0], [4, 8, 12]]]}
    cohort = load_cohort(with_clicks(phantoms, tmp_path, stated, click_space="LPS"), phantoms)
    first, *others = cohort.items
    assert first["clicks"] == (Click(2, (-10, 20, 30), (-10, 20, 30)), Click(2, (0, 0, 0), (-4, -8, 12)))
    assert first["roi"] == {"center_mm": [-6.0, 8.0, 18.0]}
    assert not any("clicks" in item for item in others)
    assert "clicks" in cohort.training_items("size+scribble", fold=None)[0]
    assert "clicks" not in cohort.training_items("size", fold=None)[0]
    assert "clicks" not in cohort.validation_items(fold=first["fold"])[0]


@pytest.mark.parametrize(
    ("clicks", "message"),
    [
        ({"livre": [[1, 2, 3]]}, "clicks names 'livre', which is not a class of 'labels'"),
        ({"background": [[1, 2]]}, r"1 problem\n.* found no key 'clicks.background.0.2'"),
        (
            {"background": [[1, 2, float("nan")]]},
            r"1 problem\n.*clicks.background.0.2 is nan, expected a finite number",
        ),
        (
            {"background": [[[0, 0, 0], [1e9, 2, 3]]]},
            r"1 problem\n.*clicks.background.0.1.0 is 1.*expected 100000 or less",
        ),
        ({"background": [7]}, r"1 problem\n.*clicks.background.0 is 7, expected a list"),
    ],
)
def test_clicks_that_say_nothing_are_refused(phantoms: Path, tmp_path: Path, clicks: Any, message: str) -> None:
    with pytest.raises(DataListError, match=message):
        load_cohort(with_clicks(phantoms, tmp_path, clicks), phantoms)
