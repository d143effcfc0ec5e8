"""Volumes go to the PACS as DICOM SR, and come back as they were."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from medsize.bundle.run.folder import INFERENCE
from medsize.inference.predict import predict
from tests.inference.bright_runs import write_bright_run
from tests.inference.test_predict import Inference

pydicom = pytest.importorskip("pydicom", reason="DICOM needs pydicom: pip install 'medsize[dicom]'")
highdicom = pytest.importorskip("highdicom", reason="SR needs highdicom: pip install 'medsize[dicom]'")
from tests.dicom import PATIENT_ID, write_enhanced, write_series  # noqa: E402
from tests.measurements.tables import measurements, rows_of  # noqa: E402


def test_volumes_come_back_from_dicom_sr(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "run", Inference("none", classes=3))  # the third structure is absent
    run, scans, output = write_bright_run(tmp_path / "run"), tmp_path / "scans", tmp_path / "out"
    settings = json.loads((run / INFERENCE).read_text())
    made = {"low": 0.5, "high": 2.0, "least_ml": 0.01, "level": 0.9, "subjects": 9, "scans": 9, "note": ""}
    (run / INFERENCE).write_text(json.dumps(settings | {"calibration": {"liver": made}}))
    write_series(scans / "größer")
    write_enhanced(scans, [9.0, 6.0, 3.0, 0.0])
    for _ in range(2):
        said: list[str] = []
        assert predict(run, scans, output, report=said.append, dicom_seg=True, dicom_sr=True) == []
        assert "not found: lesion in 2 of 2 scans" in said
    table = pd.read_csv(output / "predictions.csv").set_index(["image", "structure"])["volume_ml"]

    result = measurements(output / "dicom_sr", "--scans", scans, "--output", tmp_path / "sizes.csv")
    assert result.exit_code == 0, result.output
    rows = {row["image"]: row for row in rows_of(tmp_path / "sizes.csv")}
    assert rows.keys() == {"größer", "enhanced.dcm"}
    for (image, structure), volume in table.items():
        assert float(rows[image][f"{structure} volume_ml"]) == pytest.approx(volume, rel=2e-6)
    assert table.loc["größer", "lesion"] == 0

    file = output / "dicom_sr" / "größer.dcm"
    seg, report = pydicom.dcmread(output / "dicom_seg" / "größer.dcm"), highdicom.sr.srread(file)
    assert report.PatientID == PATIENT_ID
    assert (report.StudyInstanceUID, report.VerificationFlag) == (seg.StudyInstanceUID, "UNVERIFIED")
    assert "Code Value                          SH: 'UNCHECKED'" in (shown := str(report))
    assert shown.count(f"Referenced SOP Instance UID         UI: {seg.SOPInstanceUID}") == 3  # as evidence, too
    ml, before = table.loc["größer", "liver"], file.read_bytes()
    text = before.decode(errors="replace")
    assert f"90 % prediction interval: {ml / 2:.4g} to {2 * ml:.4g} mL, if the scan is like those" in text
    assert "The structure reaches the edge of the scan: the volume is a lower bound." in text

    (run / INFERENCE).write_text(json.dumps(settings))
    predict(run, scans, output, dicom_sr=True)
    again = file.read_bytes()
    assert again != before
    assert b"prediction interval" not in again
    predict(run, scans, output, dicom_sr=True)
    assert file.read_bytes() == again
