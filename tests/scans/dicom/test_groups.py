"""A scan holds the slices of one patient, each once, whatever became of its UIDs."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

pydicom = pytest.importorskip("pydicom", reason="DICOM needs pydicom: pip install 'medsize[dicom]'")

from pydicom.dataset import Dataset  # noqa: E402
from pydicom.uid import CTImageStorage, SecondaryCaptureImageStorage, generate_uid  # noqa: E402

from medsize.scans.dicom.referenced_series import pair_masks  # noqa: E402
from medsize.scans.find_scans import find_scans, read_scan  # noqa: E402
from medsize.scans.scan import LEFT_OUT, FoundScan, ScanKind, left_out_lines  # noqa: E402
from tests.dicom import (  # noqa: E402
    FIRST_SLICE,
    RTSTRUCT_CLASS,
    SLICE_MM,
    SLICES,
    files_in_order,
    save,
    square,
    write_rtstruct,
    write_series,
)


def volumes(folder: Path) -> list[tuple[str, int]]:
    """The patient and the number of slices of each scan that can be read."""
    scans = [scan for scan in find_scans(folder) if scan.kind is ScanKind.SERIES]
    return [(scan.subject, read_scan(scan).GetSize()[2]) for scan in scans]


def test_two_patients_under_one_uid_are_two_scans_with_their_own_masks(tmp_path: Path) -> None:
    for number, patient in enumerate(("ADAM", "EVE")):

        def change(header: Dataset, index: int, number: int = number, patient: str = patient) -> None:
            header.PatientID, header.SeriesInstanceUID, header.FrameOfReferenceUID = patient, "1.2.3", "1.2.4"
            header.ImagePositionPatient = [0, 0, FIRST_SLICE + SLICE_MM * (index + SLICES * number)]

        write_series(tmp_path / patient, change)
        write_rtstruct(tmp_path / f"{patient}.dcm", "1.2.4", {"liver": [square(1, 5, 2)]}, drawn_on="1.2.3")
        dataset = pydicom.dcmread(tmp_path / f"{patient}.dcm")
        dataset.PatientID = patient
        dataset.save_as(tmp_path / f"{patient}.dcm")
    assert volumes(tmp_path) == [("ADAM", SLICES), ("EVE", SLICES)]
    masks, problems = pair_masks(find_scans(tmp_path))
    assert problems == []
    assert {series.parent.name: [m.stem for m in drawn] for series, drawn in masks.items()} == {
        "ADAM": ["ADAM"],
        "EVE": ["EVE"],
    }


def test_masks_of_one_series_belong_each_to_the_scan_that_it_names(tmp_path: Path) -> None:
    for number, name in enumerate(("one", "two")):
        frame = f"1.2.{number + 5}"

        def change(header: Dataset, index: int, name: str = name, frame: str = frame) -> None:
            header.SeriesInstanceUID, header.FrameOfReferenceUID = frame + ".1", frame

        write_series(tmp_path / name, change)
        write_rtstruct(tmp_path / f"{name}.dcm", frame, {"liver": [square(1, 5, 2)]}, drawn_on=frame + ".1")
        dataset = pydicom.dcmread(tmp_path / f"{name}.dcm")
        dataset.SeriesInstanceUID = "1.2.3"
        dataset.save_as(tmp_path / f"{name}.dcm")
    masks, problems = pair_masks(find_scans(tmp_path))
    assert problems == []
    assert {series.parent.name: [m.stem for m in drawn] for series, drawn in masks.items()} == {
        "one": ["one"],
        "two": ["two"],
    }


def blank(*names: str, at: Callable[[int], bool] = lambda index: True) -> Callable[[Dataset, int], None]:
    def change(header: Dataset, index: int) -> None:
        for name in names if at(index) else ():
            setattr(header, name, "")

    return change


def removed(header: Dataset, index: int) -> None:
    del header.SeriesInstanceUID, header.StudyInstanceUID, header.FrameOfReferenceUID


@pytest.mark.parametrize(
    "change",
    [
        blank("SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID", "SOPInstanceUID"),
        removed,
        blank("SeriesInstanceUID", at=lambda index: index > 3),
        blank("PatientID", at=lambda index: index > 3),
        blank("FrameOfReferenceUID", at=lambda index: index < 2),
        lambda header, index: setattr(header, "SOPInstanceUID", "1.2.3"),
    ],
    ids=["all blank", "removed", "blank in some", "some without patient", "some without frame", "one instance UID"],
)
def test_blanked_uids_leave_each_folder_its_series(tmp_path: Path, change: Callable) -> None:
    for name in ("one", "two"):
        write_series(tmp_path / name, change)
    assert [slices for _, slices in volumes(tmp_path)] == [SLICES, SLICES]


def test_series_without_uids_in_one_folder_are_told_apart_by_their_numbers(tmp_path: Path) -> None:
    for number in (1, 2):

        def change(header: Dataset, index: int, number: int = number) -> None:
            header.SeriesInstanceUID, header.SeriesNumber = "", number

        write_series(tmp_path / str(number), change)
    for file in (tmp_path / "2").iterdir():
        file.rename(tmp_path / "1" / f"second {file.name}")
    assert [slices for _, slices in volumes(tmp_path)] == [SLICES, SLICES]


def test_contours_whose_uids_were_blanked_belong_to_the_series_beside_them(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_series(tmp_path / name / "ct", blank("SeriesInstanceUID", "FrameOfReferenceUID"))
        write_rtstruct(tmp_path / name / "RS.dcm", "", {"liver": [square(1, 5, 2)]})
    masks, problems = pair_masks(find_scans(tmp_path))
    assert problems == []
    assert {series.parts[-3]: [m.parts[-2] for m in drawn] for series, drawn in masks.items()} == {
        "one": ["one"],
        "two": ["two"],
    }


def only_left_out(folder: Path) -> FoundScan:
    (scan,) = (scan for scan in find_scans(folder) if scan.kind in LEFT_OUT)
    return scan


def test_a_copied_folder_is_left_out_with_what_lies_beside_its_slices(tmp_path: Path) -> None:
    write_series(tmp_path / "p1" / "ct")
    write_rtstruct(tmp_path / "p1" / "RS.dcm", "1.2.3", {"liver": [square(1, 5, 2)]})
    (tmp_path / "p1" / "mask.nii").write_bytes(b"a mask")
    shutil.copytree(tmp_path / "p1", tmp_path / "backup" / "p1")
    copy = only_left_out(tmp_path)
    assert copy.kind is ScanKind.COPY
    assert len(copy.files) == SLICES + 2
    assert f"copies, such as that of {tmp_path / 'p1'}" in copy.fault
    assert len([scan for scan in find_scans(tmp_path) if "backup" not in str(scan.files[0])]) == 3


def test_a_copy_that_was_changed_is_no_copy(tmp_path: Path) -> None:
    write_series(tmp_path / "p1")
    shutil.copytree(tmp_path / "p1", tmp_path / "again")
    for file in (tmp_path / "again").iterdir():
        dataset = pydicom.dcmread(file)
        dataset.PixelData = b"\1" * len(dataset.PixelData)
        dataset.save_as(file)
    (scan,) = find_scans(tmp_path)
    assert f"{tmp_path}/p1/0.dcm and {tmp_path}/again/0.dcm are the same slice twice" in scan.fault


def dose(header: Dataset, index: int) -> None:
    header.Modality, header.NumberOfFrames, header.PixelData = "RTDOSE", 2, bytes(2 * len(header.PixelData))


def without_place(header: Dataset, index: int) -> None:
    del header.ImagePositionPatient, header.ImageOrientationPatient


def sheet(header: Dataset, index: int) -> None:
    without_place(header, index)
    header.ImageType = ["DERIVED", "SECONDARY", "OTHER", "SCREEN SAVE"]


def scout(header: Dataset, index: int) -> None:
    header.ImageType, header.ImageOrientationPatient = ["ORIGINAL", "PRIMARY", "LOCALIZER"], [1, 0, 0, 0, 0, -1]


@pytest.mark.parametrize(
    ("sop_class", "change", "reason"),
    [
        ("1.2.840.10008.5.1.4.1.1.481.2", dose, "it is not a scan (RT Dose)"),
        (SecondaryCaptureImageStorage, without_place, "it is not a scan (Secondary Capture Image without a place"),
        (CTImageStorage, sheet, "it is not a scan (printed sheet)"),
        (CTImageStorage, scout, "it is a localizer"),
    ],
    ids=["dose", "capture", "sheet", "scout"],
)
def test_what_is_no_scan_is_left_out_even_of_the_same_series(
    tmp_path: Path, sop_class: str, change: Callable, reason: str
) -> None:
    write_series(tmp_path / "ct", lambda header, index: setattr(header, "SeriesInstanceUID", "1.2.3"))

    def beside(header: Dataset, index: int) -> None:
        header.SeriesInstanceUID = "1.2.3"
        change(header, index)

    write_series(tmp_path / "other", beside, slices=1, sop_class=sop_class)
    assert reason in only_left_out(tmp_path).fault
    assert [slices for _, slices in volumes(tmp_path)] == [SLICES]


def test_what_is_left_out_is_named_once(tmp_path: Path) -> None:
    for number in range(3):
        report = Dataset()
        report.Modality, report.SeriesInstanceUID = "SR", generate_uid()
        save(report, tmp_path / f"report{number}.dcm", "1.2.840.10008.5.1.4.1.1.88.11")
    (line,) = left_out_lines(find_scans(tmp_path))
    assert line.startswith(f"{tmp_path}/report0.dcm and 2 more: it holds no pixels (modality SR)")


def test_files_of_discs_and_viewers_are_no_slices(tmp_path: Path) -> None:
    write_series(tmp_path)
    for file in files_in_order(tmp_path):
        file.rename(file.with_suffix(""))
    index = Dataset()
    index.DirectoryRecordSequence = []
    save(index, tmp_path / "DICOMDIR", "1.2.840.10008.1.3.10")
    stated = pydicom.dcmread(tmp_path / "DICOMDIR")
    del stated.SOPClassUID  # it stands only before the data set
    stated.save_as(tmp_path / "DICOMDIR")
    (tmp_path / "LOCKFILE").write_bytes(b"")
    (tmp_path / "VERSION").write_text("1.0")
    assert "index of other files" in only_left_out(tmp_path).fault
    assert [slices for _, slices in volumes(tmp_path)] == [SLICES]


def test_a_blanked_sop_class_is_that_of_the_file(tmp_path: Path) -> None:
    write_rtstruct(tmp_path / "RS.dcm", "1.2.3", {"liver": [square(1, 5, 2)]})
    dataset = pydicom.dcmread(tmp_path / "RS.dcm")
    dataset.SOPClassUID = ""
    del dataset.Modality
    dataset.save_as(tmp_path / "RS.dcm")
    assert dataset.file_meta.MediaStorageSOPClassUID == RTSTRUCT_CLASS
    assert find_scans(tmp_path)[0].kind is ScanKind.CONTOURS
