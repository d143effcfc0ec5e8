"""Every command of the tutorials works as it is printed."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import nibabel
import pandas as pd
import pytest
import SimpleITK

from tests.conftest import PROJECT

DOCS = PROJECT / "docs"
HEARTS = ("patient001", "patient021", "patient041", "patient046")
"""The last one is of fold 0."""
SARCOMAS = ("STS_001", "STS_002", "STS_019", "STS_024", "STS_025")
"""Of the smallest scans. The first and the last are of fold 0."""


@pytest.fixture
def run_page(
    command: Callable, real_scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str, Path, Sequence[str]], None]:
    """Run the commands of a page, one epoch each, on some patients of a data set."""
    monkeypatch.setenv("EPOCHS", "1")

    def run(page: str, data: Path, patients: Sequence[str]) -> None:
        (tmp_path / data.name).mkdir()
        for patient in patients:
            if not (data / patient).is_dir():
                pytest.skip(f"no {patient} at {data}")
            (tmp_path / data.name / patient).symlink_to(data / patient)
        (tmp_path / "data_prep").symlink_to(PROJECT / "data_prep")
        blocks = re.findall(r"^```bash\n(.*?)^```", (DOCS / page).read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
        for line in "".join(blocks).replace("\\\n", "").splitlines():
            program, *arguments = words_of(line)
            if program == "python":
                assert arguments[0] == "-m"
                command(*arguments[1:], cwd=tmp_path)
            elif program == "medsize":
                command("medsize.cli", *arguments, cwd=tmp_path)
            else:
                subprocess.run([program, *arguments], cwd=tmp_path, check=True)

    return run


def words_of(line: str) -> list[str]:
    """Return the words of a command, as the shell reads them."""
    program = f"set -u; printf '%s\\0' {line}"
    told = subprocess.run(["bash", "-c", program], capture_output=True, text=True, check=True).stdout
    return told.split("\0")[:-1]


def test_every_command_of_the_tutorial_works(run_page: Callable, real_scans: Path, tmp_path: Path) -> None:
    run_page("tutorial.md", real_scans / "ACDC", HEARTS)
    fit = tmp_path / "runs" / "heart"
    assert pd.read_csv(fit / "fold_0" / "lean_unet" / "metrics.csv")["dice"].notna().all()
    assert (fit / "report.html").is_file()
    assert (fit / "bundle" / "models" / "model.pt").is_file()
    assert len(pd.read_csv(tmp_path / "predictions" / "predictions.csv")) == 3
    (mask,) = (tmp_path / "predictions" / "masks").rglob("*.nii.gz")
    (scan,) = (tmp_path / "new_scans").rglob("*.nii.gz")
    assert nibabel.load(mask).shape == nibabel.load(scan).shape


def test_every_command_of_the_tutorial_of_pet_works(run_page: Callable, real_scans: Path, tmp_path: Path) -> None:
    pytest.importorskip("highdicom", reason="the tutorial needs highdicom: pip install 'medsize[dicom]'")
    run_page("tutorial_pet.md", real_scans / "IBSI_STS", SARCOMAS)
    assert pd.read_csv(tmp_path / "runs" / "sarcoma" / "metrics.csv")["dice"].notna().all()
    (row,) = pd.read_csv(tmp_path / "predictions" / "predictions.csv").to_dict("records")
    assert (row["image"], row["low_ml"] > 0) == ("STS_001/PET/image", True)
    seg = SimpleITK.ReadImage(tmp_path / "predictions" / "dicom_seg" / "STS_001_PET_image.dcm")
    scan = SimpleITK.ReadImage(tmp_path / "predictions" / "images" / "STS_001_PET_image.nii.gz")
    assert seg.GetSize()[:2] == scan.GetSize()[:2]
