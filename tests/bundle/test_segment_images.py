"""The log of an inference goes to a file, its warnings to the screen; it goes on behind a faulty image."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import nibabel
import numpy as np
import pytest

from medsize.bundle.segment_images import run_inference, run_past_faults

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


class Inference:
    """Inference that stops at faulty images, and at all once it has written a number of masks."""

    def __init__(self, folder: Path, faulty: str = "", lasts: int = 99) -> None:
        self.masks = {name: folder / f"{name}.nii.gz" for name in "abcdefghijkl"}
        self.faulty = faulty
        self.lasts = lasts
        self.starts: list[str] = []

    def __call__(self, names: Sequence[str]) -> subprocess.CompletedProcess[bytes]:
        self.starts.append("".join(names))
        for name in names:
            if name in self.faulty or self.lasts == 0:
                self.masks[name].write_bytes(b"cut off")
                return subprocess.CompletedProcess([], 1)
            nibabel.save(nibabel.Nifti1Image(np.zeros((2, 2, 2), np.uint8), np.eye(4)), self.masks[name])
            self.lasts -= 1
        return subprocess.CompletedProcess([], 0)


@pytest.mark.parametrize(
    ("faulty", "starts"),
    [
        ("c", ["abcdefghijkl", "defghijkl"]),
        ("cd", ["abcdefghijkl", "defghijkl", "efghijkl"]),
        ("al", ["abcdefghijkl", "bcdefghijkl"]),
    ],
)
def test_an_inference_goes_on_behind_faulty_images(tmp_path: Path, faulty: str, starts: list[str]) -> None:
    inference = Inference(tmp_path, faulty)
    assert run_past_faults(inference, inference.masks) == list(faulty)
    assert inference.starts == starts


def test_a_failure_that_lasts_is_not_blamed_on_one_image_after_another(tmp_path: Path) -> None:
    inference = Inference(tmp_path, lasts=5)
    with pytest.raises(subprocess.CalledProcessError):
        run_past_faults(inference, inference.masks)
    assert inference.starts == ["abcdefghijkl", "ghijkl", "hijkl"]
