"""Every command of the tutorial works as it is printed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import SimpleITK

from tests.conftest import PROJECT

TUTORIAL = PROJECT / "docs" / "tutorial.md"
PATIENTS = ("STS_001", "STS_002", "STS_019", "STS_024", "STS_025")
"""Of the smallest scans. The first and the last are of fold 0."""


def test_every_command_of_the_tutorial_works(real_scans: Path, tmp_path: Path) -> None:
    pytest.importorskip("highdicom", reason="the tutorial needs highdicom: pip install 'medsize[dicom]'")
    cohort = real_scans / "IBSI_STS"
    if not all((cohort / patient / "PET").is_dir() for patient in PATIENTS):
        pytest.skip(f"no soft-tissue sarcomas at {cohort}")
    (tmp_path / "IBSI_STS").mkdir()
    for patient in PATIENTS:
        (tmp_path / "IBSI_STS" / patient).symlink_to(cohort / patient)
    (tmp_path / "data_prep").symlink_to(PROJECT / "data_prep")
    installed = f'python() {{ {sys.executable} "$@"; }}; medsize() {{ python -m medsize.cli "$@"; }}'
    environment = {**os.environ, "EPOCHS": "1", "PYTHONPATH": str(PROJECT)}

    commands = re.findall(r"^```bash\n(.*?)^```", TUTORIAL.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert len(commands) == 5
    for lines in commands:
        script = f"set -euo pipefail\n{installed}\n{lines}"
        result = subprocess.run(
            ["bash", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert result.returncode == 0, f"{lines}\n{result.stdout[-2000:]}\n{result.stderr[-3000:]}"

    assert pd.read_csv(tmp_path / "runs" / "sarcoma" / "metrics.csv")["dice"].notna().all()
    (row,) = pd.read_csv(tmp_path / "predictions" / "predictions.csv").to_dict("records")
    assert (row["image"], row["low_ml"] > 0) == ("STS_001/PET/image", True)
    seg = SimpleITK.ReadImage(tmp_path / "predictions" / "dicom_seg" / "STS_001_PET_image.dcm")
    scan = SimpleITK.ReadImage(tmp_path / "predictions" / "images" / "STS_001_PET_image.nii.gz")
    assert seg.GetSize()[:2] == scan.GetSize()[:2]
