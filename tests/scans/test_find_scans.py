"""Scans are found as they are kept, become volumes in the right place, and are refused by name where they cannot."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

pydicom = pytest.importorskip("pydicom", reason="DICOM needs pydicom: pip install 'medsize[dicom]'")

from pydicom.dataset import Dataset  # noqa: E402
from pydicom.uid import generate_uid  # noqa: E402

from medsize.scans.find_scans import find_scans, read_scan  # noqa: E402
from medsize.scans.scan import FoundScan, ScanKind  # noqa: E402
from tests.dicom import (  # noqa: E402
    COLUMNS,
    FIRST_SLICE,
    PATIENT_ID,
    PIXEL_MM,
    ROWS,
    RTSTRUCT_CLASS,
    SLICE_MM,
    SLICES,
    files_in_order,
    save,
    square,
    write_enhanced,
    write_rtstruct,
    write_series,
)

OBLIQUE = [0.0, 0.8, 0.6, 1.0, 0.0, 0.0]


def only_scan(folder: Path) -> FoundScan:
    (scan,) = find_scans(folder)
    return scan


def voxels(scan: FoundScan) -> np.ndarray:
    return SimpleITK.GetArrayFromImage(read_scan(scan))


def test_a_series_is_a_volume_in_the_order_of_space(tmp_path: Path) -> None:
    frame = write_series(tmp_path / "scan")
    scan = only_scan(tmp_path)
    assert (scan.kind, scan.modality, scan.subject) == (ScanKind.SERIES, "CT", PATIENT_ID)
    assert scan.frame_of_reference == frame
    image = read_scan(scan)
    assert image.GetSize() == (COLUMNS, ROWS, SLICES)
    assert image.GetSpacing() == (PIXEL_MM, PIXEL_MM, SLICE_MM)
    assert image.GetOrigin() == (0, 0, FIRST_SLICE)
    assert image.GetPixelID() == SimpleITK.sitkUInt16
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(image)[:, 3, 3], 100 * np.arange(SLICES))


def test_oblique_slices_of_oblong_pixels_have_their_place(tmp_path: Path) -> None:
    normal = np.cross(OBLIQUE[:3], OBLIQUE[3:])

    def tilt(header: Dataset, index: int) -> None:
        header.ImageOrientationPatient, header.PixelSpacing = OBLIQUE, [1.5, 0.75]
        header.ImagePositionPatient = list(np.round([7, 8, 9] + index * 2.5 * normal, 4))

    write_series(tmp_path, tilt)
    image = read_scan(only_scan(tmp_path))
    np.testing.assert_allclose(image.GetSpacing(), [0.75, 1.5, 2.5], atol=1e-3)  # columns are 0.75 mm apart
    corner = np.array([7, 8, 9]) + 3 * 0.75 * np.array(OBLIQUE[:3]) + 4 * 1.5 * np.array(OBLIQUE[3:]) + 5 * 2.5 * normal
    np.testing.assert_allclose(image.TransformIndexToPhysicalPoint((3, 4, 5)), corner, atol=1e-3)


def test_each_slice_is_rescaled_by_its_own_slope(tmp_path: Path) -> None:
    def rescale(header: Dataset, index: int) -> None:
        header.RescaleSlope, header.RescaleIntercept = [1, 0.25][index % 2], -1024

    write_series(tmp_path, rescale)
    expected = 100 * np.arange(SLICES) * np.array([1, 0.25] * 3) - 1024
    np.testing.assert_allclose(voxels(only_scan(tmp_path))[:, 0, 0], expected)


def test_hounsfield_units_stay_whole_numbers(tmp_path: Path) -> None:
    def rescale(header: Dataset, index: int) -> None:
        header.RescaleSlope, header.RescaleIntercept, header.BitsStored, header.HighBit = 1, -1024, 12, 11

    write_series(tmp_path, rescale)
    image = read_scan(only_scan(tmp_path))
    assert image.GetPixelID() == SimpleITK.sitkInt16
    assert image[0, 0, 2] == 200 - 1024


def test_several_series_in_a_tree_are_told_apart(tmp_path: Path) -> None:
    for name in ("study/ct", "study/mr", "study/sub/ct 2 – Übersicht"):
        write_series(tmp_path / name)
    for file in (tmp_path / "study/mr").iterdir():  # a flat folder of two series, files without an ending
        file.rename(tmp_path / "study/ct" / f"IM{file.stem}")
    (tmp_path / "study/ct/README.txt").write_text("no scan")
    (tmp_path / "study/ct/._0.dcm").write_bytes(b"")
    scans = find_scans(tmp_path)
    assert [(scan.kind, len(scan.files), scan.fault) for scan in scans] == [(ScanKind.SERIES, SLICES, "")] * 3
    assert all(read_scan(scan).GetSize()[2] == SLICES for scan in scans)


def test_the_description_does_not_name_the_patient(tmp_path: Path) -> None:
    write_series(tmp_path)  # 'Abdomen portal venous Doe 20200101'
    assert only_scan(tmp_path).description == "abdomen portal venous"


def test_files_without_a_preamble_are_read(tmp_path: Path) -> None:
    write_series(tmp_path)
    for file in tmp_path.iterdir():
        bare = Dataset(pydicom.dcmread(file))
        pydicom.dcmwrite(file, bare, implicit_vr=True, little_endian=True)
        assert file.read_bytes()[128:132] != b"DICM"
    assert voxels(only_scan(tmp_path))[2, 0, 0] == 200


def test_a_multi_frame_file_is_a_volume(tmp_path: Path) -> None:
    pytest.importorskip("highdicom", reason="multi-frame DICOM needs highdicom: pip install 'medsize[dicom]'")
    write_enhanced(tmp_path, [9.0, 6.0, 3.0, 0.0])  # from the head down
    scan = only_scan(tmp_path)
    assert scan.kind is ScanKind.MULTIFRAME
    image = read_scan(scan)
    assert image.GetSize() == (COLUMNS, ROWS, 4)
    assert image.GetSpacing() == (0.75, 1.5, 3.0)
    assert image.GetOrigin() == (0, 0, 0)
    assert np.linalg.det(np.reshape(image.GetDirection(), (3, 3))) == pytest.approx(1)
    np.testing.assert_allclose(SimpleITK.GetArrayFromImage(image)[:, 5, 5], np.arange(300, -1, -100) / 2 - 1000)
    assert image[1, 0, 0] == 7 / 2 - 1000
    with pytest.raises(ValueError, match=r"4 voxels, .* GiB, expected at most"):
        read_scan(scan, max_bytes=100)


def test_frames_that_make_no_volume_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("highdicom", reason="multi-frame DICOM needs highdicom: pip install 'medsize[dicom]'")
    write_enhanced(tmp_path, [0.0, 3.0, 0.0, 3.0])  # two times
    with pytest.raises(ValueError, match=r"enhanced.dcm: its 4 frames make no volume.* Export each volume"):
        read_scan(only_scan(tmp_path))


def change(**attributes: object) -> Callable[[Path], None]:
    """Write attributes into the slice 2.dcm, the fifth in space."""

    def damage(folder: Path) -> None:
        dataset = pydicom.dcmread(folder / "2.dcm")
        for name, value in attributes.items():
            setattr(dataset, name, value)
        dataset.save_as(folder / "2.dcm")

    return damage


def remove(name: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        dataset = pydicom.dcmread(folder / "2.dcm")
        delattr(dataset, name)
        dataset.save_as(folder / "2.dcm")

    return damage


def rewrite(slice_change: Callable[[Dataset, int], object], slices: int = SLICES) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        for file in folder.iterdir():
            file.unlink()
        write_series(folder, slice_change, slices)

    return damage


def cut_header(folder: Path) -> None:
    (folder / "2.dcm").write_bytes((folder / "2.dcm").read_bytes()[:400])


def cut_pixels(folder: Path) -> None:
    (folder / "2.dcm").write_bytes((folder / "2.dcm").read_bytes()[:-100])


def empty(folder: Path) -> None:
    (folder / "2.dcm").write_bytes(b"")


def empty_last_slice_without_ending(folder: Path) -> None:
    last = files_in_order(folder)[-1]
    last.unlink()
    (folder / "1.2.840.99").write_bytes(b"")


def no_dicom(folder: Path) -> None:
    (folder / "2.dcm").write_bytes(b"this is no scan" * 99)


def miss_slice(folder: Path) -> None:
    files_in_order(folder)[2].unlink()


def copy_slice(folder: Path) -> None:
    (folder / "copy.dcm").write_bytes((folder / "2.dcm").read_bytes())


def break_link(folder: Path) -> None:
    (folder / "2.dcm").unlink()
    (folder / "2.dcm").symlink_to(folder / "nowhere")


def compress_wrongly(folder: Path) -> None:
    for file in folder.iterdir():
        dataset = pydicom.dcmread(file)
        dataset.PixelData = pydicom.encaps.encapsulate([b"no JPEG at all!!"])
        dataset["PixelData"].VR = "OB"
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.JPEGLosslessSV1
        dataset.save_as(file)


def several_volumes(header: Dataset, index: int) -> None:
    header.ImagePositionPatient = [0, 0, FIRST_SLICE + index // 2 * SLICE_MM]


def gantry_tilt(header: Dataset, index: int) -> None:
    header.ImagePositionPatient = [0, index * SLICE_MM * np.tan(np.radians(15)).round(6), index * SLICE_MM]


def localizer(header: Dataset, index: int) -> None:
    header.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]


def three_planes(header: Dataset, index: int) -> None:
    header.SeriesDescription = "3 Plane Localizer"
    header.ImageOrientationPatient = [[1, 0, 0, 0, 1, 0], [0, 1, 0, 0, 0, 1], [1, 0, 0, 0, 0, 1]][index % 3]


def not_a_number(header: Dataset, index: int) -> None:
    header.RescaleSlope, header.RescaleIntercept = "nan", 0


def contours_instead(folder: Path) -> None:
    for file in folder.iterdir():
        file.unlink()
    write_rtstruct(folder / "RS.dcm", generate_uid(), {"liver": [square(1, 5, 2)]})


def report_instead(folder: Path) -> None:
    for file in folder.iterdir():
        file.unlink()
    report = Dataset()
    report.Modality, report.SeriesInstanceUID, report.PatientID = "SR", generate_uid(), PATIENT_ID
    save(report, folder / "report.dcm", "1.2.840.10008.5.1.4.1.1.88.11")


FAULTS = [
    (empty, "2.dcm: it cannot be read as DICOM (0 bytes): "),
    (empty_last_slice_without_ending, "1.2.840.99: it cannot be read as DICOM (0 bytes): "),
    (cut_header, "2.dcm: it cannot be read as DICOM (400 bytes): "),
    (cut_pixels, "2.dcm ends 100 bytes before its last pixel. Copy it again"),
    (no_dicom, "2.dcm: it cannot be read as DICOM (1485 bytes): it states no SOPClassUID"),
    (miss_slice, "between 5.dcm and 3.dcm are 6.00 mm, expected 3.00 mm as between the others. Is a slice missing?"),
    (copy_slice, "2.dcm and copy.dcm are the same slice twice. Remove one"),
    (break_link, "2.dcm: it is a link to nowhere"),
    (compress_wrongly, "its voxels cannot be read"),
    (rewrite(several_volumes), "lie at the same place (3 such pairs), expected one volume"),
    (rewrite(gantry_tilt), "shifted against each other, by 15.0° (gantry tilt), expected a box with right angles"),
    (rewrite(localizer), "it is a localizer"),
    (rewrite(three_planes), "it is a localizer"),
    (rewrite(not_a_number), "0.dcm states the RescaleSlope and -Intercept [nan, 0.0], expected numbers"),
    (contours_instead, "RS.dcm: it is a mask (RTSTRUCT), expected an image"),
    (report_instead, "report.dcm: it holds no pixels (modality SR), expected an image"),
    (
        change(ImageOrientationPatient=[0, 1, 0, 1, 0, 0]),
        "1 of its 6 slices lie in another orientation than 0.dcm, expected one",
    ),
    (rewrite(lambda h, _: setattr(h, "ImageOrientationPatient", [1, 0, 0, 1, 0, 0])), "expected two perpendicular"),
    (remove("ImagePositionPatient"), "2.dcm states no valid ImagePositionPatient: it has no place in space"),
    (remove("PixelSpacing"), "2.dcm states no valid PixelSpacing"),
    (change(PixelSpacing=[0, 0]), "2.dcm states the PixelSpacing [0.0, 0.0] mm, expected positive numbers"),
    (change(PixelSpacing=[4, 5]), "2.dcm has 12 × 10 pixels of 5 × 4 mm, expected 12 × 10 pixels of 4 × 4 mm as 0.dcm"),
    (change(Rows=60000, Columns=60000), "2.dcm ends 7199999760 bytes before its last pixel"),
    (change(SamplesPerPixel=3), "2.dcm has 3 values per voxel (colour), expected one"),
    (change(BurnedInAnnotation="YES"), "2.dcm has text burned into the image"),
    (rewrite(lambda h, _: setattr(h, "SliceThickness", None), slices=1), "a single slice of unknown thickness"),
]


@pytest.mark.parametrize(("damage", "message"), FAULTS, ids=[message[:40] for _, message in FAULTS])
def test_each_fault_of_a_series_is_named(tmp_path: Path, damage: Callable, message: str) -> None:
    write_series(tmp_path)
    damage(tmp_path)
    refusals = []
    for scan in find_scans(tmp_path):
        with pytest.raises(ValueError, match=str(tmp_path)) as caught:  # none of what is left is taken for a volume
            read_scan(scan)
        refusals.append(str(caught.value))
    assert message in "\n".join(refusals)


@pytest.mark.parametrize("kept", range(0, 1100, 60))
def test_a_series_whose_last_slice_breaks_off_anywhere_is_refused(tmp_path: Path, kept: int) -> None:
    write_series(tmp_path)
    last = files_in_order(tmp_path)[-1]
    assert kept < last.stat().st_size
    last.write_bytes(last.read_bytes()[:kept])
    scans = find_scans(tmp_path)
    assert scans
    assert all(str(last.name) in scan.fault for scan in scans)


def test_a_single_slice_is_as_thick_as_it_says(tmp_path: Path) -> None:
    write_series(tmp_path, slices=1)
    assert read_scan(only_scan(tmp_path)).GetSpacing() == (PIXEL_MM, PIXEL_MM, SLICE_MM)


def test_more_memory_than_allowed_is_refused_before_reading(tmp_path: Path) -> None:
    write_series(tmp_path)
    with pytest.raises(ValueError, match=r"12 × 10 × 6 voxels, .* GiB, expected at most"):
        read_scan(only_scan(tmp_path), max_bytes=COLUMNS * ROWS * SLICES * 4 - 1)


def test_links_in_a_circle_are_named_and_the_rest_is_found(tmp_path: Path) -> None:
    write_series(tmp_path / "study" / "scan")
    (tmp_path / "study" / "again").symlink_to(tmp_path / "study", target_is_directory=True)
    (tmp_path / "study" / "itself.dcm").symlink_to(tmp_path / "study" / "itself.dcm")
    circle, itself, scan = find_scans(tmp_path)
    assert (circle.kind, itself.kind, scan.kind) == (ScanKind.UNREADABLE, ScanKind.UNREADABLE, ScanKind.SERIES)
    assert f"study/again: it is the same folder as {tmp_path}/study, through a link. Remove the link." in circle.fault
    assert "itself.dcm: it is a link to nowhere" in itself.fault
    assert read_scan(scan).GetSize()[2] == SLICES


def test_linked_folders_are_followed(tmp_path: Path) -> None:
    write_series(tmp_path / "elsewhere")
    (tmp_path / "cohort").mkdir()
    (tmp_path / "cohort" / "scan").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    assert only_scan(tmp_path / "cohort").fault == ""


def test_a_folder_that_may_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "closed").mkdir()
    scandir = os.scandir

    def closed(path: str) -> object:  # root, too, may not read a folder that the file server keeps closed
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", closed)
    assert "closed: the folder cannot be read" in only_scan(tmp_path).fault


def test_an_index_of_a_disc_is_no_scan(tmp_path: Path) -> None:
    index = Dataset()
    save(index, tmp_path / "DICOMDIR", "1.2.840.10008.1.3.10")
    scan = only_scan(tmp_path)
    assert scan.kind is ScanKind.OTHER
    assert "it is an index of other files (DICOMDIR)" in scan.fault


def test_masks_tell_what_they_were_drawn_on(tmp_path: Path) -> None:
    frame = generate_uid()
    write_rtstruct(tmp_path / "RS.dcm", frame, {"liver": [square(1, 5, 2)]}, drawn_on="1.2.3")
    scan = only_scan(tmp_path)
    assert (scan.kind, scan.drawn_on, scan.frame_of_reference) == (ScanKind.CONTOURS, ("1.2.3",), frame)
    assert pydicom.dcmread(scan.files[0]).SOPClassUID == RTSTRUCT_CLASS


@pytest.mark.parametrize("patient", ["STS_001", "STS_002"])
def test_real_series_have_the_geometry_that_simpleitk_reads(real_scans: Path, patient: str) -> None:
    folder = real_scans / "IBSI_STS" / patient
    if not folder.is_dir():
        pytest.skip(f"no soft-tissue sarcoma at {folder}")
    series = [scan for scan in find_scans(folder) if scan.kind is ScanKind.SERIES]
    assert len(series) == 3
    for scan in series:
        reader = SimpleITK.ImageSeriesReader()
        reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(scan.files[0].parent)))
        reader.SetOutputPixelType(SimpleITK.sitkFloat32)
        expected, image = reader.Execute(), read_scan(scan)
        assert image.GetSize() == expected.GetSize()
        for fact in ("GetSpacing", "GetOrigin", "GetDirection"):
            np.testing.assert_allclose(getattr(image, fact)(), getattr(expected, fact)(), rtol=0, atol=1e-6)
        np.testing.assert_array_equal(SimpleITK.GetArrayViewFromImage(image), SimpleITK.GetArrayViewFromImage(expected))
