"""The report of a fit states what its cases hold, and what it cannot show."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest

from medsize.bundle.run.folder import MASKS
from medsize.fit.cohort_facts import CohortSource
from medsize.fit.report import agreements, intervals, mean_and_spread, scan_pictures
from medsize.metrics.conformal import SizeCalibration


def test_limits_of_agreement_are_those_of_the_differences_of_enough_scans() -> None:
    known = np.array([10.0, 20.0, 30.0, 40.0, 1010.0, np.nan])
    predicted = known + np.array([1.0, -1.0, 3.0, 1.0, 1.0, 5.0])
    cases = pd.DataFrame({"structure": "liver", "size": predicted, "true_size": known})
    other = pd.DataFrame({"structure": "kidney", "size": [1234.5, 2.0], "true_size": [2.5, 2.0]})
    liver, kidney = agreements(pd.concat([cases, other]))
    assert (liver["structure"], liver["scans"], liver["bias"]) == ("liver", "5", "1")
    low, high = (float(end) for end in liver["limits"].split(" to "))
    assert (low, high) == (pytest.approx(1 - 1.96 * 2**0.5, abs=0.01), pytest.approx(1 + 1.96 * 2**0.5, abs=0.01))
    assert kidney == {"structure": "kidney", "scans": "2", "bias": "616", "limits": "–"}


def test_intervals_are_factors_of_the_predicted_size_or_the_reason_for_none() -> None:
    told = SizeCalibration(low=0.8, high=1.253, least_ml=1.0, level=0.9, subjects=20, scans=40)
    wide = SizeCalibration(low=0.5, high=20.0, least_ml=1.0, level=0.9, subjects=20, scans=40)
    unknown = SizeCalibration(subjects=1, note="one subject: no interval")
    liver, kidney, spleen = intervals({"liver": told, "kidney": unknown, "spleen": wide})
    assert (liver["factors"], liver["level"], liver["subjects"]) == ("0.80 to 1.25", "90 %", "20")
    assert (kidney["factors"], kidney["level"], kidney["note"]) == ("–", "–", "one subject: no interval")
    assert (liver["note"], spleen["note"]) == ("", "hardly tells a size")


def test_numbers_have_no_exponent() -> None:
    assert mean_and_spread(pd.Series([820.0, 3220.0])) == "2020 ± 1200"
    assert mean_and_spread(pd.Series([0.04])) == "0.04"


def test_a_scan_that_cannot_be_drawn_is_named_with_the_reason(phantoms: Path, tmp_path: Path) -> None:
    (tmp_path / MASKS / "images").mkdir(parents=True)
    shutil.copy(phantoms / "masks" / "phantom_000.nii.gz", tmp_path / MASKS / "images")
    images = [str(phantoms / "images" / f"phantom_00{number}.nii.gz") for number in (0, 1)]
    cases = pd.DataFrame({"run": str(tmp_path), "image": images, "relative_size_error": [0.25, 0.5]})
    source = CohortSource(data_list=phantoms / "datalist.json", dataset_dir=phantoms)
    drawn, missing = scan_pictures(cases, source)
    assert drawn["name"].startswith("images/phantom_000, slice ")
    assert drawn["name"].endswith(", size error 0.25")
    assert drawn["source"].startswith("data:image/png;base64,")
    assert missing["name"].startswith("images/phantom_001: it cannot be drawn: No such file")
    assert missing["source"] == ""


def test_pictures_are_drawn_with_masks_of_two_axes(tmp_path: Path) -> None:
    (tmp_path / MASKS).mkdir()
    head = np.zeros((40, 20), np.uint8)
    head[5:35, 12:18] = 1
    for name, shape in (("grey", (40, 20, 1)), ("colour", (40, 20, 1, 3))):
        picture = np.zeros(shape, np.uint8)
        picture[head > 0] = 200
        nibabel.save(nibabel.Nifti1Image(picture, np.diag([-1, -1, 1, 1])), tmp_path / f"{name}.nii.gz")
        nibabel.save(nibabel.Nifti1Image(head, np.diag([-1, -1, 1, 1])), tmp_path / MASKS / f"{name}.nii.gz")
    items = [{"image": f"{name}.nii.gz", "size": {"head": 180}, "fold": 0} for name in ("grey", "colour")]
    listed = {"labels": {"0": "background", "1": "head"}, "size_unit": "mm3", "training": items}
    (tmp_path / "datalist.json").write_text(json.dumps(listed))
    images = [str(tmp_path / item["image"]) for item in items]
    cases = pd.DataFrame({"run": str(tmp_path), "image": images, "relative_size_error": [0.25, 0.5]})
    source = CohortSource(data_list=tmp_path / "datalist.json", dataset_dir=tmp_path)
    drawn = list(scan_pictures(cases, source))
    assert [picture["name"] for picture in drawn] == ["grey, size error 0.25", "colour, size error 0.50"]
    assert all(picture["source"].startswith("data:image/png;base64,") for picture in drawn)
