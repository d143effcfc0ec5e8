"""The log of an inference goes to a file, its warnings to the screen."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from medsize.bundle.segment_images import run_inference

TELLS = """
import sys, warnings
print("12:00 - monai - INFO - Restored all variables")
print("12:00 - monai - WARNING - Not all config files are in configs.")
print("12:00 - monai - WARNING - the affine is singular")
warnings.warn("parsing config_file ['a.yaml']: any value in it is resolved")
warnings.warn("Divide by zero (a_min == a_max)", Warning)
warnings.warn("half of the voxels are NaN")
"""


def test_warnings_are_told_and_the_rest_is_kept(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "log.txt").write_text("12:00 - monai - WARNING - of an earlier one\n")
    told: list[str] = []
    result = run_inference([sys.executable, "-c", TELLS], tmp_path / "log.txt", told.append)
    assert result.returncode == 0
    assert told == ["12:00 - monai - WARNING - the affine is singular"]
    log = (tmp_path / "log.txt").read_text()
    assert log.startswith("12:00 - monai - WARNING - of an earlier one\n12:00 - monai - INFO - Restored")
    shown = capfd.readouterr()
    assert (shown.out, "half of the voxels are NaN" in shown.err) == ("", True)
    assert "parsing config_file" not in shown.err
    assert "a_min == a_max" not in shown.err
