"""Two dates of one patient: the change of each structure, its interval, and whether it is beyond noise."""

from __future__ import annotations

import json
import math
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import Result
from typer.testing import CliRunner

from medsize.cli import app
from medsize.inference.follow_up import read_pairs
from medsize.inference.predict import predict
from medsize.metrics.size_change import Sized, size_change
from tests.inference.bright_runs import write_bright_run
from tests.inference.test_predict import Inference

pytest.importorskip("pydicom", reason="DICOM needs pydicom: pip install 'medsize[dicom]'")
from tests.dicom import write_series


def compared(*arguments: object) -> Result:
    return CliRunner(env={"COLUMNS": "400"}).invoke(app, ["compare", *map(str, arguments)])


def write_predictions(folder: Path, *rows: tuple[str, str, float], **others: Any) -> Path:
    """Write a table of predictions as medsize predict does: intervals of 0.9 to 1.1 times the volume."""
    table = [
        {"image": image, "mask": f"masks/{image}_seg.nii.gz", "structure": structure, "volume_ml": volume}
        | {"lower_bound": False, "flag": "ok", "reasons": ""}
        | {"interval_low_ml": 0.9 * volume, "interval_high_ml": max(1.1 * volume, 1), "interval_level": 0.9}
        | others
        for image, structure, volume in rows
    ]
    folder.mkdir()
    pd.DataFrame(table).to_csv(folder / "predictions.csv", index=False)
    return folder


def test_changes_have_intervals_and_a_verdict(tmp_path: Path) -> None:
    rows = [
        ("p1.nii", "liver", 1000.0),
        ("p1.nii", "spleen", 200.0),
        ("p1.nii", "lesion", 0.0),
        ("p2.nii", "liver", 1.0),
    ]
    earlier = write_predictions(tmp_path / "a", *rows)
    rows = [("p1.nii.gz", "liver", 1050.0), ("p1.nii.gz", "spleen", 300.0), ("p1.nii.gz", "lesion", 10.0)]
    later = write_predictions(tmp_path / "b", *rows, ("p1.nii.gz", "kidney", 3.0))
    result = compared(earlier, later, "--output", tmp_path / "c.csv")
    assert result.exit_code == 0, result.output
    assert "a: left out: no scan of the same patient in the other: p2.nii" in result.output
    assert "p1.nii → p1.nii.gz" in result.output
    assert "+100 (+50 to +150)" in result.output
    over_an_input = compared(tmp_path / "a", tmp_path / "b", "--output", tmp_path / "a" / "predictions.csv")
    assert "found an input as the output" in over_an_input.output
    assert "+50 (+22.7 to +83.3)" in result.output
    assert "holds the true change with a probability of 80 % at least" in result.output
    table = pd.read_csv(tmp_path / "c.csv").set_index("structure")
    assert table["verdict"].to_dict() == {
        "liver": "within noise",
        "spleen": "beyond noise",
        "lesion": "beyond noise",
        "kidney": "cannot tell",
    }
    assert table.loc["liver", ["change_low_ml", "change_high_ml"]].tolist() == pytest.approx([945 - 1100, 1155 - 900])
    assert table.loc["liver", "level"] == pytest.approx(0.8)
    assert np.isnan(table.loc["lesion", "change_percent"])
    assert table.loc["kidney", "notes"] == "the network of the earlier scan does not know it"


def test_the_same_predictions_twice_show_no_change(tmp_path: Path) -> None:
    folders = [
        write_predictions(tmp_path / name, ("p1.nii", "liver", 1000.0), ("p1.nii", "cyst", 0.0)) for name in "ab"
    ]
    result = compared(*folders, "--output", tmp_path / "c.csv")
    assert result.exit_code == 0, result.output
    table = pd.read_csv(tmp_path / "c.csv").set_index("structure")
    assert table["verdict"].to_dict() == {"liver": "within noise", "cyst": "within noise"}
    assert table["change_ml"].tolist() == [0, 0]
    assert table.loc["liver", ["change_low_ml", "change_high_ml"]].tolist() == pytest.approx([-200, 200])


@pytest.mark.parametrize(
    ("others", "reason"),
    [
        ({"interval_low_ml": math.nan, "interval_level": math.nan}, "not calibrated: no interval (later)"),
        ({"interval_level": 0.1}, "the levels of the intervals are too low to tell"),
        ({"lower_bound": True}, "cut off by the edge of the later scan"),
        ({"flag": "reject"}, "the later scan is rejected"),
    ],
)
def test_what_allows_no_verdict_is_said(tmp_path: Path, others: dict, reason: str) -> None:
    earlier = write_predictions(tmp_path / "a", ("p1.nii", "liver", 1000.0))
    later = write_predictions(tmp_path / "b", ("p1.nii", "liver", 3000.0), **others)
    result = compared(earlier, later, "--output", tmp_path / "c.csv")
    assert result.exit_code == 0, result.output
    (row,) = pd.read_csv(tmp_path / "c.csv").to_dict("records")
    assert (row["verdict"], row["notes"], row["change_ml"]) == ("cannot tell", reason, 2000)


def test_patients_and_dates_of_dicom_decide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "run", Inference("none"))
    run = write_bright_run(tmp_path / "run")
    visits = {"first": ("A", "20200101"), "second": ("A", "20200201"), "other": ("B", "20200201")}
    for name, (patient, day) in visits.items():

        def change(header: Any, _: int, patient: str = patient, day: str = day) -> None:
            header.PatientID, header.StudyDate = patient, day

        write_series(tmp_path / "scans" / name / "ct", change)
        predict(run, tmp_path / "scans" / name, tmp_path / name)
    first, second, other = (tmp_path / name for name in visits)
    assert not any(b"PatientID" in file.read_bytes() for file in tmp_path.glob("*/made_by.json"))
    result = compared(first, second, "--output", tmp_path / "c.csv")
    assert result.exit_code == 0, result.output
    assert set(pd.read_csv(tmp_path / "c.csv")["days"]) == {31}
    said = " ".join(compared(first, other).output.split())
    assert "found no scan of a patient of" in said
    assert "Different patients are not compared" in said
    (tmp_path / "pairs.csv").write_text("earlier,later\nct,ct\n")
    result = compared(first, other, "--pairs", tmp_path / "pairs.csv")
    assert result.exit_code == 1
    assert "found two patients, by their PatientID, expected one" in result.output
    assert "the second is 31 days before the first by StudyDate" in compared(second, first).output


def predict_series(folder: Path, place: Path, **header: str) -> Path:
    """Predict a series of DICOM, and remove it: what the predictions know of the patient must suffice."""

    def change(dataset: Any, _: int) -> None:
        for keyword, text in header.items():
            setattr(dataset, keyword, text)

    write_series(place / "ST0" / "SE0", change)
    run = folder / "run"
    predict(run if run.exists() else write_bright_run(run), place, folder / f"of {place.name}")
    shutil.rmtree(place)
    return folder / f"of {place.name}"


def test_two_patients_are_told_apart_when_their_scans_have_moved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subprocess, "run", Inference("none"))
    first = predict_series(tmp_path, tmp_path / "january", PatientID="A", StudyDate="20200101")
    second = predict_series(tmp_path, tmp_path / "june", PatientID="B", StudyDate="20200601")
    same = predict_series(tmp_path, tmp_path / "july", PatientID="A", StudyDate="20200701")
    assert "found no scan of a patient of" in " ".join(compared(first, second).output.split())
    assert ", 182 days later" in compared(first, same).output
    for file in tmp_path.glob("of */made_by.json"):
        assert "PatientID" not in file.read_text()
        assert "january" not in file.read_text()


def test_scans_that_name_no_patient_or_date_are_compared_with_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subprocess, "run", Inference("none"))
    first, second = (predict_series(tmp_path, tmp_path / day, PatientID="", StudyDate="") for day in ("one", "two"))
    result = compared(first, second)
    assert result.exit_code == 0, result.output
    assert "paired by their paths alone, since the files name no patient: ST0/SE0" in result.output
    third, fourth = (predict_series(tmp_path, tmp_path / day, PatientID="A", StudyDate="") for day in ("a", "b"))
    result = compared(third, fourth)
    assert "no StudyDate in both: the order of the folders is taken as it is: ST0/SE0" in result.output
    assert "paired by their paths" not in result.output


def test_predictions_that_do_not_know_their_patients_are_refused(tmp_path: Path) -> None:
    earlier = write_predictions(tmp_path / "a", ("SE0", "liver", 1000.0))
    later = write_predictions(tmp_path / "b", ("SE0", "liver", 1000.0))
    old = {"state": "", "source": "gone/0.dcm"}
    (later / "made_by.json").write_text(json.dumps({"scans": {"SE0": old}}))
    said = " ".join(compared(earlier, later).output.split())
    assert "found DICOM scans without their patients" in said
    assert "The same medsize predict adds them, without segmenting again" in said
    (tmp_path / "pairs.csv").write_text("earlier,later\nSE0,SE0\n")
    assert compared(earlier, later, "--pairs", tmp_path / "pairs.csv").exit_code == 0
    (later / "made_by.json").write_text(json.dumps({"scans": {"elsewhere": old}}))
    assert compared(earlier, later).exit_code == 0


def test_a_birth_date_tells_patients_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "run", Inference("none"))
    headers = {"a": ("A", "19500102"), "b": ("A", "19600102"), "c": ("", "19500102"), "d": ("", "19600102")}
    folders = {
        name: predict_series(tmp_path, tmp_path / name, PatientID=number, PatientBirthDate=born, StudyDate="20200101")
        for name, (number, born) in headers.items()
    }
    (tmp_path / "pairs.csv").write_text("earlier,later\nST0/SE0,ST0/SE0\n")
    for first, second, differ in (("a", "b", True), ("c", "d", True), ("a", "c", False)):
        result = compared(folders[first], folders[second], "--pairs", tmp_path / "pairs.csv")
        assert ("found two patients, by their PatientBirthDate" in result.output) == differ


def test_a_scan_is_not_compared_with_itself(tmp_path: Path) -> None:
    folder = write_predictions(tmp_path / "a", ("p1.nii", "liver", 1000.0), ("p2.nii", "liver", 900.0))
    (tmp_path / "pairs.csv").write_text("earlier,later\np1,p1\n")
    result = compared(folder, folder, "--pairs", tmp_path / "pairs.csv")
    assert result.exit_code == 1
    assert "found one scan as both dates, expected two" in result.output


def test_several_scans_of_a_patient_need_named_pairs(tmp_path: Path) -> None:
    rows = [("sub-01/ses-1_T2w.nii", "liver", 1000.0), ("sub-01/ses-2_T2w.nii", "liver", 500.0)]
    folder = write_predictions(tmp_path / "a", *rows)
    assert "found one folder, expected two" in compared(folder, folder).output
    later = write_predictions(tmp_path / "b", ("sub-01/ses-3_T2w.nii", "liver", 400.0))
    assert "found 2 scans of one patient" in compared(folder, later).output
    (tmp_path / "pairs.csv").write_text("earlier;later\nses-1_T2w;sub-01/ses-2_T2w\n")
    result = compared(folder, folder, "--pairs", tmp_path / "pairs.csv")
    assert result.exit_code == 0, result.output
    assert "-500" in result.output
    (tmp_path / "pairs.csv").write_text("earlier,later\nses-9,ses-2_T2w\n")
    assert "found no scan 'ses-9' or several" in compared(folder, folder, "--pairs", tmp_path / "pairs.csv").output


@pytest.mark.parametrize("correlation", [-0.9, 0.0, 0.9])
def test_an_interval_of_a_change_holds_it_however_errors_correlate(correlation: float) -> None:
    rng = np.random.default_rng(0)
    errors = rng.multivariate_normal([0, 0], [[1, correlation], [correlation, 1]], 4000) * 0.1
    z = 1.6449
    held = beyond = 0
    for first, second in np.exp(errors):  # both true volumes are 1
        scans = [Sized(v, v * math.exp(-z * 0.1), v * math.exp(z * 0.1), 0.9) for v in (first, second)]
        change = size_change(*scans)
        held += change.low <= 0 <= change.high
        beyond += change.is_beyond_noise
    assert held / 4000 >= change.level - 0.01
    assert beyond == 4000 - held


@pytest.mark.parametrize(
    ("table", "found"),
    [
        ("", "No columns to parse from file"),
        (
            "image;mask;structure;volume_ml;lower_bound\n",
            "found no column image, mask, structure, volume_ml, lower_bound",
        ),
        (
            'image,mask,structure,volume_ml,lower_bound\np1.nii,m,liver,"1,5",False\n',
            "could not convert string to float",
        ),
    ],
)
def test_a_table_that_a_spreadsheet_program_has_changed_is_named(tmp_path: Path, table: str, found: str) -> None:
    earlier = write_predictions(tmp_path / "a", ("p1.nii", "liver", 1000.0))
    later = write_predictions(tmp_path / "b", ("p1.nii", "liver", 1000.0))
    (later / "predictions.csv").write_text(table)
    result = compared(earlier, later)
    assert result.exit_code == 2
    assert f"b/predictions.csv: {found}" in result.output
    assert "The same medsize predict writes it anew" in result.output


def test_a_baseline_has_several_follow_ups_and_blank_rows_do_not_count(tmp_path: Path) -> None:
    rows = [(f"{name}.nii", "liver", volume) for name, volume in (("b", 1000.0), ("f1", 500.0), ("f2", 200.0))]
    folder, pairs = write_predictions(tmp_path / "a", *rows), tmp_path / "pairs.csv"
    pairs.write_text("earlier,later\nb,f1\n,\nb,f2\n\n")
    result = compared(folder, folder, "--pairs", pairs, "--output", tmp_path / "c.csv")
    assert result.exit_code == 0, result.output
    assert pd.read_csv(tmp_path / "c.csv")["change_ml"].tolist() == [-500, -800]


@pytest.mark.parametrize(
    ("rows", "refusal"),
    [
        ("", "found no pair of scans, expected one in each row"),
        (",\n", "found no pair of scans, expected one in each row"),
        ("b,f\n,f\n", "row 3: found '' and 'f', expected two scans"),
        ("b,f\n,\nb,f\n", "row 4: found 'b' and 'f' as in row 2, expected each pair once"),
    ],
)
def test_tables_that_name_no_pairs_are_refused_with_the_reason(tmp_path: Path, rows: str, refusal: str) -> None:
    (tmp_path / "pairs.csv").write_text(f"earlier,later\n{rows}")
    with pytest.raises(ValueError, match=re.escape(refusal)):
        read_pairs(tmp_path / "pairs.csv")
