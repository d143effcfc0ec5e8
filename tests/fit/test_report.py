"""The report of a fit states what its cases hold, and what it cannot show."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from medsize.bundle.run_folder import MASKS
from medsize.fit.cohort_facts import CohortSource
from medsize.fit.report import agreements, scan_pictures


def test_limits_of_agreement_are_those_of_the_differences() -> None:
    known, predicted = np.array([10.0, 20.0, 30.0, np.nan]), np.array([11.0, 19.0, 33.0, 5.0])
    cases = pd.DataFrame({"structure": "liver", "volume_ml": predicted, "true_volume_ml": known})
    other = pd.DataFrame({"structure": ["kidney"], "volume_ml": [2.0], "true_volume_ml": [2.5]})
    liver, kidney = agreements(pd.concat([cases, other]))
    assert (liver["structure"], liver["scans"], liver["bias"]) == ("liver", "3", "1")
    low, high = (float(end) for end in liver["limits"].split(" to "))
    assert (low, high) == (pytest.approx(1 - 1.96 * 2), pytest.approx(1 + 1.96 * 2))
    assert kidney == {"structure": "kidney", "scans": "1", "bias": "-0.5", "limits": "–"}


def test_a_scan_that_cannot_be_drawn_is_named_with_the_reason(phantoms: Path, tmp_path: Path) -> None:
    (tmp_path / MASKS / "images").mkdir(parents=True)
    shutil.copy(phantoms / "masks" / "phantom_000.nii.gz", tmp_path / MASKS / "images")
    images = [str(phantoms / "images" / f"phantom_00{number}.nii.gz") for number in (0, 1)]
    cases = pd.DataFrame({"run": str(tmp_path), "image": images, "relative_size_error": [0.25, 0.5]})
    source = CohortSource(data_list=phantoms / "datalist.json", dataset_dir=phantoms)
    drawn, missing = scan_pictures(cases, source)
    assert drawn["name"].startswith("phantom_000, slice ")
    assert drawn["name"].endswith(", size error 0.25")
    assert drawn["source"].startswith("data:image/png;base64,")
    assert missing["name"].startswith("phantom_001: it cannot be drawn: No such file")
    assert missing["source"] == ""
