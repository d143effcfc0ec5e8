"""A folder of scans becomes NIfTI and an index, without a word of who they are; what cannot is named, all at once."""

from __future__ import annotations

import csv
import gzip
import re
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import SimpleITK
import typer

pydicom = pytest.importorskip("pydicom", reason="DICOM needs pydicom: pip install 'medsize[dicom]'")

from pydicom.dataset import Dataset  # noqa: E402

from medsize.checks import check_scans  # noqa: E402
from medsize.cli import convert  # noqa: E402
from medsize.cohort.conversion import scans as conversion  # noqa: E402
from tests.dicom import (  # noqa: E402
    FIRST_SLICE,
    PATIENT_ID,
    PATIENT_NAME,
    PIXEL_MM,
    SLICE_MM,
    SLICES,
    files_in_order,
    square,
    write_rtstruct,
    write_series,
)

CONTOURS = [square(1.5, 7.5, k) for k in (1, 2, 3)]


def rows(output: Path) -> list[dict[str, str]]:
    with (output / "index.csv").open(newline="") as opened:
        return list(csv.DictReader(opened))


def patient(name: str) -> Callable[[Dataset, int], None]:
    return lambda header, index: setattr(header, "PatientID", name)


@pytest.fixture
def cohort(tmp_path: Path) -> Path:
    """Two CT of one patient, one with contours, and an NRRD file with a name in its header and path."""
    folder = tmp_path / "Doe Jane"
    frame = write_series(folder / "study" / "ct")
    series = pydicom.dcmread(folder / "study" / "ct" / "0.dcm").SeriesInstanceUID
    write_series(folder / "study" / "ct later")
    write_rtstruct(folder / "study" / "RS.dcm", frame, {"Liver": CONTOURS}, drawn_on=series)
    image = SimpleITK.GetImageFromArray(np.zeros((4, 5, 6), dtype=np.int16))
    image.SetMetaData("PatientName", PATIENT_NAME)
    (folder / "nrrd").mkdir()
    SimpleITK.WriteImage(image, folder / "nrrd" / "Doe Jane 4711.nrrd")
    return folder


def test_a_folder_is_converted_and_faults_are_listed(command: Callable, cohort: Path, tmp_path: Path) -> None:
    (cohort / "broken").mkdir()
    (cohort / "broken" / "0.dcm").write_bytes(b"")
    (cohort / "broken" / "scan.nii").write_bytes(b"no scan")
    write_series(cohort / "gap")
    files_in_order(cohort / "gap")[2].unlink()
    output = tmp_path / "out"
    result = command(
        "medsize", "convert", cohort, "--output", output, "--structure", "Liver", cwd=tmp_path, check=False
    )
    assert result.returncode == 1
    assert f"{cohort}: 3 problems" in result.stderr
    for fault in (
        "broken/0.dcm: it cannot be read as DICOM",
        "scan.nii: it cannot be read as NIfTI",
        "Is a slice missing",
    ):
        assert fault in result.stderr
    assert "Traceback" not in result.stderr
    assert len(rows(output)) == 3
    assert "3 scans of 2 subjects" in result.stdout
    assert {file.name for file in (output / "images").iterdir()} == {Path(row["image"]).name for row in rows(output)}


def test_images_and_masks_lie_where_they_lay(cohort: Path, tmp_path: Path) -> None:
    convert(cohort, tmp_path / "out", structure=["Liver"])
    index = rows(tmp_path / "out")
    by_subject = [row["subject"] for row in index]
    assert len(set(by_subject)) == 2  # both CT are of one
    (labelled,) = (row for row in index if row["label"])
    assert (labelled["modality"], labelled["description"]) == ("CT", "abdomen portal venous")
    assert (labelled["voxels"], labelled["spacing_mm"]) == ("12 10 6", "4 4 3")
    image, label = (nibabel.load(tmp_path / "out" / labelled[key]) for key in ("image", "label"))
    expected = np.diag([-PIXEL_MM, -PIXEL_MM, SLICE_MM, 1])
    expected[2, 3] = FIRST_SLICE
    np.testing.assert_allclose(image.affine, expected, atol=1e-5)
    np.testing.assert_array_equal(image.get_fdata()[3, 3], 100 * np.arange(SLICES))
    np.testing.assert_array_equal(label.get_fdata().sum(axis=(0, 1)), [0, 36, 36, 36, 0, 0])
    item = {key: str(tmp_path / "out" / labelled[key]) for key in ("image", "label")}
    assert check_scans([item], num_classes=2) == []


def test_nothing_that_is_written_tells_who_it_is(cohort: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    convert(cohort, output, structure=["Liver"])
    # Codes are hexadecimal, and may hold a number by chance.
    secrets = [rb"doe", rb"jane", rb"\b4711\b", PATIENT_ID.lower().encode(), rb"\b19500102\b", rb"1\.2\.826"]
    written = [file for file in output.rglob("*") if file.is_file()]
    assert len(written) == 5
    for file in written:
        content = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
        head = content[:352] if file.suffix == ".gz" else content
        assert not [secret for secret in secrets if re.search(secret, head.lower() + file.name.lower().encode())]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["Doe Jane", "out", "out_key.txt"]
    assert stat.S_IMODE((tmp_path / "out_key.txt").stat().st_mode) == 0o600


def test_the_table_of_identifiers_is_kept_beside_if_asked_for(cohort: Path, tmp_path: Path) -> None:
    convert(cohort, tmp_path / "out", keep_identifiers=True, modality=["CT"])
    table = tmp_path / "out_identifiers.csv"
    with table.open(newline="") as opened:
        kept = list(csv.DictReader(opened))
    assert {row["identifier"] for row in kept} == {PATIENT_ID}
    assert {(row["subject"], row["image"]) for row in kept} == {
        (row["subject"], row["image"]) for row in rows(tmp_path / "out")
    }
    assert any(str(cohort / "study" / "ct later") in row["source"] for row in kept)
    assert stat.S_IMODE(table.stat().st_mode) == 0o600


def times(output: Path) -> dict[str, int]:
    return {row["image"]: (output / row["image"]).stat().st_mtime_ns for row in rows(output)}


def test_what_is_converted_is_kept_and_what_changed_is_not(cohort: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    convert(cohort, output, structure=["Liver"])
    first = times(output)
    convert(cohort, output, structure=["Liver"])
    assert times(output) == first
    image = SimpleITK.GetImageFromArray(np.ones((4, 5, 7), dtype=np.int16))
    SimpleITK.WriteImage(image, cohort / "nrrd" / "Doe Jane 4711.nrrd")
    missing = next(row["label"] for row in rows(output) if row["label"])
    (output / missing).unlink()
    convert(cohort, output, structure=["Liver"])
    changed = {name for name, time in times(output).items() if time != first[name]}
    (nrrd,) = (row["image"] for row in rows(output) if row["voxels"] == "7 5 4")
    assert changed == {missing.replace("masks", "images"), nrrd}
    assert (output / missing).is_file()


def test_another_key_gives_other_codes(cohort: Path, tmp_path: Path) -> None:
    convert(cohort, tmp_path / "one", modality=["CT"])
    convert(cohort, tmp_path / "two", modality=["CT"])
    convert(cohort, tmp_path / "three", modality=["CT"], key_file=tmp_path / "one_key.txt")
    one, two, three = ({row["subject"] for row in rows(tmp_path / name)} for name in ("one", "two", "three"))
    assert one == three
    assert not one & two


def test_an_interrupted_conversion_goes_on(cohort: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = tmp_path / "out"
    written: list[Path] = []

    def write_then_die(image: SimpleITK.Image, file: Path) -> None:
        if len(written) == 1:
            (file.parent / f".partial_{file.name}").write_bytes(b"half")
            raise KeyboardInterrupt
        written.append(file)
        original(image, file)

    original = conversion.write_nifti
    monkeypatch.setattr(conversion, "write_nifti", write_then_die)
    with pytest.raises(KeyboardInterrupt):
        convert(cohort, output, modality=["CT"])
    assert [output / row["image"] for row in rows(output)] == written
    assert [file for file in (output / "images").iterdir() if not file.name.startswith(".")] == written
    before = times(output)
    monkeypatch.setattr(conversion, "write_nifti", original)
    with (output / "index.csv").open("a") as index:
        index.write('images/cut_off.nii.gz,,"CT')
    convert(cohort, output, modality=["CT"])
    assert len(rows(output)) == 2
    assert {name: times(output)[name] for name in before} == before


def test_the_index_is_not_written_anew_for_each_scan(
    cohort: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[Path] = []
    original = conversion.write_table
    monkeypatch.setattr(conversion, "write_table", lambda file, *a, **o: (written.append(file), original(file, *a))[1])
    convert(cohort, tmp_path / "out", modality=["CT"])
    assert len(rows(tmp_path / "out")) == 2
    assert len(written) == 2  # at the beginning and at the end


def refusal(*arguments: Any, **options: Any) -> str:
    with pytest.raises(SystemExit) as caught:
        convert(*arguments, **options)
    return str(caught.value)


def test_subjects_may_be_read_from_paths(tmp_path: Path) -> None:
    for name in ("pat01/ct", "pat01/ct2", "pat02/ct"):
        write_series(tmp_path / "scans" / name, patient(""))
    message = refusal(tmp_path / "scans", tmp_path / "out")
    assert "3 problems" in message
    assert "it states no PatientID, expected one. Give --subject-pattern" in message
    assert not (tmp_path / "out" / "index.csv").exists()
    convert(tmp_path / "scans", tmp_path / "out", subject_pattern=r"pat(\d+)")
    subjects = [row["subject"] for row in rows(tmp_path / "out")]
    assert (len(subjects), len(set(subjects))) == (3, 2)
    message = refusal(tmp_path / "scans", tmp_path / "out", subject_pattern="pat01")
    assert "--subject-pattern finds no 'pat01' in 'pat02/ct/0.dcm'" in message


def test_a_header_cannot_lead_out_of_the_folder(tmp_path: Path) -> None:
    def travel(header: Dataset, index: int) -> None:
        header.Modality, header.PatientID, header.SeriesDescription = "../../CT", "../../../tmp/x", "../../x"

    write_series(tmp_path / "scans" / "a", travel)
    convert(tmp_path / "scans", tmp_path / "deep" / "out")
    (row,) = rows(tmp_path / "deep" / "out")
    assert (tmp_path / "deep" / "out" / row["image"]).resolve().parent == tmp_path / "deep" / "out" / "images"
    assert ".." not in row["image"]
    assert {path.name for path in (tmp_path / "deep").iterdir()} == {"out", "out_key.txt"}


def test_masks_and_reports_are_refused_unless_images_are_picked(
    cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def localizer(header: Dataset, index: int) -> None:
        header.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]

    write_series(cohort / "localizer", localizer, slices=2)
    assert "RS.dcm: it is a mask (RTSTRUCT), expected an image" in refusal(cohort, tmp_path / "out")
    convert(cohort, tmp_path / "ct", modality=["CT"])
    assert [row["modality"] for row in rows(tmp_path / "ct")] == ["CT", "CT"]
    assert f"left out: {cohort}/localizer (2 files from 0.dcm): it is a localizer" in capsys.readouterr().out


def test_masks_whose_series_is_unknown_are_named(tmp_path: Path) -> None:
    folder = tmp_path / "scans"
    frame = write_series(folder / "ct")
    write_rtstruct(folder / "unnamed.dcm", frame, {"Liver": CONTOURS})
    write_rtstruct(folder / "stranger.dcm", frame, {"Liver": CONTOURS}, drawn_on="1.2.3")
    message = refusal(folder, tmp_path / "out", structure=["Liver"])
    assert "stranger.dcm: 0 of the series here may be the one that this RTSTRUCT was drawn on, expected one" in message
    (row,) = rows(tmp_path / "out")
    assert row["label"]  # the other states no series: it is in the frame of reference of one only


def test_a_faulty_mask_keeps_its_image_out(cohort: Path, tmp_path: Path) -> None:
    message = refusal(cohort, tmp_path / "out", structure=["Spleen"])
    assert "'Spleen' is in 0 of the 1 files, expected in one" in message
    assert len(rows(tmp_path / "out")) == 2
    assert len(list((tmp_path / "out" / "images").iterdir())) == 2


@pytest.mark.parametrize(
    ("units", "fault"), [("GML", ""), ("CNTS", "Units is CNTS and SUVType BW, expected BQML, or GML of type BW")]
)
def test_pet_becomes_suv(tmp_path: Path, units: str, fault: str) -> None:
    def pet(header: Dataset, index: int) -> None:
        header.Modality, header.Units = "PT", units

    write_series(tmp_path / "pet", pet)
    if fault:
        assert fault in refusal(tmp_path / "pet", tmp_path / "out", suv=True)
    else:
        convert(tmp_path / "pet", tmp_path / "out", suv=True)
        assert rows(tmp_path / "out")[0]["modality"] == "PT"


def test_bad_options_are_refused(cohort: Path, tmp_path: Path) -> None:
    with pytest.raises(typer.BadParameter, match=r"out is within .*Doe Jane, expected outside of it"):
        convert(cohort, cohort / "out")
    with pytest.raises(typer.BadParameter, match="unterminated"):
        convert(cohort, tmp_path / "out", subject_pattern="(")
    assert "12 × 10 × 6 voxels, 2.68e-06 GiB, expected at most" in refusal(
        cohort, tmp_path / "out", modality=["CT"], max_gib=1e-9
    )
    (tmp_path / "nothing").mkdir()
    assert "found no scan, expected" in refusal(tmp_path / "nothing", tmp_path / "out")
