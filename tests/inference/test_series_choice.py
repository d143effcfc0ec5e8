"""Of a PACS export, the series that the network was trained for are segmented, and the others are named."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from medsize.bundle.run.folder import INFERENCE
from medsize.bundle.run.summary import RunSummary
from medsize.inference.predict import predict
from medsize.metrics.reliability import CohortFacts, Usual
from tests.inference.bright_runs import write_bright_run
from tests.inference.test_predict import Inference

pytest.importorskip("pydicom", reason="DICOM needs pydicom: pip install 'medsize[dicom]'")
from tests.dicom import COLUMNS, PIXEL_MM, ROWS, SLICE_MM, SLICES, write_series

VIEW_MM = PIXEL_MM * (ROWS * COLUMNS) ** 0.5
USUAL = {"pixel_mm": PIXEL_MM, "slice_mm": SLICE_MM, "view_mm": VIEW_MM, "depth_mm": SLICE_MM * SLICES}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run on CT with the geometry of the series below, by its data list and its facts."""
    monkeypatch.setattr(subprocess, "run", Inference("none"))
    folder = write_bright_run(tmp_path / "run")
    settings = json.loads((folder / INFERENCE).read_text())
    facts = CohortFacts(9, image={key: Usual(value, 0.0) for key, value in USUAL.items()})
    (folder / INFERENCE).write_text(json.dumps(settings | {"cohort_facts": facts.recorded()}))
    (tmp_path / "datalist.json").write_text(json.dumps({"labels": {}, "modality": {"0": "CT"}, "training": []}))
    summary = RunSummary.read(folder)
    summary.model_copy(update={"data_list": str(tmp_path / "datalist.json")}).write(folder)
    return folder


def export(folder: Path) -> Path:
    """Two studies of one patient: three series in one of them, in the other one with thick slices."""

    def study(uid: str, mm: float = SLICE_MM, modality: str = "CT") -> Any:
        def change(header: Any, index: int) -> None:
            header.StudyInstanceUID, header.Modality, header.SliceThickness = uid, modality, mm
            header.ImagePositionPatient = [0, 0, mm * index]

        return change

    write_series(folder / "1" / "thin", study("1.2.1"))
    write_series(folder / "1" / "thick", study("1.2.1", 9.0))
    write_series(folder / "1" / "pet", study("1.2.1", modality="PT"))
    write_series(folder / "2" / "thick", study("1.2.2", 9.0))
    return folder


def test_series_of_another_modality_or_geometry_are_named_and_left_out(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    scans = export(tmp_path / "scans")
    assert predict(run, scans, tmp_path / "out") == []
    table = pd.read_csv(tmp_path / "out" / "predictions.csv").drop_duplicates("image").set_index("image")
    assert set(table.index) == {"1/thin", "2/thick"}  # the only series of its study is not lost
    assert "the slices' distance in mm is 9" in table.loc["2/thick", "reasons"]
    page, told = (tmp_path / "out" / "predictions.html").read_text(), capsys.readouterr().out
    for said in ("its modality is PT, expected CT. To segment it: --all-series", "another series of the same study is"):
        assert said in page
        assert said in told


def test_all_series_or_another_modality_may_be_asked_for(run: Path, tmp_path: Path) -> None:
    scans = export(tmp_path / "scans")
    assert predict(run, scans, tmp_path / "all", all_series=True) == []
    assert pd.read_csv(tmp_path / "all" / "predictions.csv")["image"].nunique() == 4
    assert predict(run, scans, tmp_path / "pet", modalities=["PT"]) == []
    assert set(pd.read_csv(tmp_path / "pet" / "predictions.csv")["image"]) == {"1/pet"}
    with pytest.raises(ValueError, match=r"(?s)no scan to segment.*its modality is CT, expected NM"):
        predict(run, scans, tmp_path / "none", modalities=["NM"])
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(("orientation", "expected"), [("LPS", {"axial", "coronal"}), ("", {"axial"})])
def test_a_series_of_other_planes_is_compared_along_the_axes_of_the_network(
    run: Path, tmp_path: Path, orientation: str, expected: set[str]
) -> None:
    settings = json.loads((run / INFERENCE).read_text())
    (run / INFERENCE).write_text(json.dumps(settings | {"orientation": orientation}))

    def coronal(header: Any, index: int) -> None:
        header.StudyInstanceUID, header.ImageOrientationPatient = "1.2.1", [1, 0, 0, 0, 0, -1]
        header.ImagePositionPatient, header.SliceThickness = [0, PIXEL_MM * index, 0], PIXEL_MM
        header.Rows, header.PixelSpacing = SLICES, [SLICE_MM, PIXEL_MM]
        header.PixelData = bytes(2 * SLICES * COLUMNS)

    write_series(tmp_path / "scans" / "axial", lambda header, _: setattr(header, "StudyInstanceUID", "1.2.1"))
    write_series(tmp_path / "scans" / "coronal", coronal, slices=ROWS + 1)  # file names need a number prime to 5
    assert predict(run, tmp_path / "scans", tmp_path / "out") == []
    table = pd.read_csv(tmp_path / "out" / "predictions.csv")
    assert set(table["image"]) == expected
    assert "mm" not in " ".join(table["reasons"].fillna(""))
