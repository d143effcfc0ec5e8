"""Inference of a bundle finds scans and their regions in a data list, without medsize."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from medsize.data import load_cohort
from tests.conftest import BUNDLE_2D

LIVER = {"labels": {"0": "background", "1": "liver", "2": "spleen"}, "size_unit": "mL"}
ROIS = [
    {"roi": {"center_mm": [1, -2.5, 3]}},
    {"roi": {"box_mm": [[0, 0, 0], [9, 8, 7]]}},
    {"clicks": {"liver": [[1, 2, 3]]}},
    {"clicks": {"liver": [[1, 2, 3], [[3, 2, 1], [9, 8, 7]]], "spleen": [[-4, 0, 0.5]]}},
    {"clicks": {"liver": [[1, 2, 3]]}, "roi": {"center_mm": [0, 0, 0]}},
    {"clicks": {"liver": [[1, 2, 3]], "background": [[45, 45, 45]]}},
]


@pytest.fixture(scope="module")
def scans_with_roi() -> Callable[[str, str], list[dict[str, Any]]]:
    spec = importlib.util.spec_from_file_location("regions", BUNDLE_2D / "scripts" / "regions.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: Callable[[str, str], list[dict[str, Any]]] = module.scans_with_roi
    return found


def write(folder: Path, items: list[dict[str, Any]], **top_level: Any) -> tuple[str, str]:
    """A data list whose scans exist, and the folder that its paths start from."""
    for number, item in enumerate(items):
        item.setdefault("image", f"{number}.nii.gz")
        (folder / item["image"]).touch()
    file = folder / "datalist.json"
    file.write_text(json.dumps({**LIVER, "training": items[:-1], "validation": items[-1:], **top_level}))
    return str(file), str(folder)


@pytest.mark.parametrize("space", ["RAS", "LPS"])
def test_regions_are_those_of_the_training(scans_with_roi: Callable, tmp_path: Path, space: str) -> None:
    files = write(tmp_path, [dict(item, subject=str(n)) for n, item in enumerate(ROIS)], click_space=space)
    found = scans_with_roi(*files)
    expected = load_cohort(*files).items
    assert [scan["image"] for scan in found] == [item["image"] for item in expected]
    for scan, item in zip(found, expected, strict=True):
        assert scan["roi"].keys() == item["roi"].keys()
        for key, value in item["roi"].items():
            assert list(map(pytest.approx, scan["roi"][key])) == list(map(list if key == "box_mm" else float, value))


def test_paths_start_from_the_data_list_where_the_folder_lacks_them(scans_with_roi: Callable, tmp_path: Path) -> None:
    file, _ = write(tmp_path, [dict(ROIS[0])])
    (tmp_path / "elsewhere").mkdir()
    assert scans_with_roi(file, str(tmp_path / "elsewhere"))[0]["image"] == str(tmp_path / "0.nii.gz")


def test_scans_without_roi_or_file_are_named(scans_with_roi: Callable, tmp_path: Path) -> None:
    files = write(tmp_path, [dict(ROIS[0]), {"clicks": {"liver": [], "background": [[1, 2, 3]]}}, {}, {}, {}])
    with pytest.raises(SystemExit, match=r"found no roi for .*1.nii.gz, .*3.nii.gz and others, expected one for each"):
        scans_with_roi(*files)
    (tmp_path / "0.nii.gz").unlink()
    with pytest.raises(SystemExit, match=r"found no file for .*0.nii.gz, expected one for each scan"):
        scans_with_roi(*files)


@pytest.mark.parametrize("content", ["", "[]", '{"training": [{}]}', '{"training": 3}', '{"training": [1]}'])
def test_what_is_not_a_data_list_is_refused(scans_with_roi: Callable, tmp_path: Path, content: str) -> None:
    file = tmp_path / "datalist.json"
    with pytest.raises(SystemExit, match=r"found no data list .FileNotFoundError"):
        scans_with_roi(str(file), str(tmp_path))
    file.write_text(content)
    with pytest.raises(SystemExit, match="expected JSON with a list 'training' of scans"):
        scans_with_roi(str(file), str(tmp_path))
