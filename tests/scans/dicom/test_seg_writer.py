"""A predicted mask comes back from DICOM SEG on the same voxels, whoever reads it, and is filed with its study."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

pydicom = pytest.importorskip("pydicom", reason="DICOM needs pydicom: pip install 'medsize[dicom]'")
highdicom = pytest.importorskip("highdicom", reason="SEG needs highdicom: pip install 'medsize[dicom]'")

from pydicom.dataset import Dataset  # noqa: E402
from pydicom.sr.codedict import codes  # noqa: E402

from medsize import __version__  # noqa: E402
from medsize.scans.dicom.seg_writer import check_segment_labels, write_dicom_seg  # noqa: E402
from medsize.scans.find_scans import find_scans, read_scan  # noqa: E402
from medsize.scans.image_file import read_image_file, write_nifti  # noqa: E402
from medsize.scans.masks import place_masks  # noqa: E402
from medsize.scans.scan import FoundScan, ScanKind  # noqa: E402
from tests.dicom import PATIENT_ID, write_enhanced, write_series  # noqa: E402

STRUCTURES = ["Leber, größte", "lesion"]
OBLIQUE = np.array([0.0, 0.8, 0.6, 1.0, 0.0, 0.0])


def oblique(header: Dataset, index: int) -> None:
    normal = np.cross(OBLIQUE[:3], OBLIQUE[3:])
    header.ImageOrientationPatient, header.PixelSpacing = OBLIQUE.tolist(), [0.7421875, 1.25]
    header.ImagePositionPatient = (np.array([-31.7, 12.4, 88.9]) - 3.27 * index * normal).round(6).tolist()


def head_first(header: Dataset, index: int) -> None:
    header.ImagePositionPatient = [-120.3, 44.1, 300.0 - 2.5 * index]


def without_names(header: Dataset, index: int) -> None:
    for keyword in ("PatientName", "PatientBirthDate", "PatientSex", "StudyID", "StudyDate", "AccessionNumber"):
        delattr(header, keyword)


def series(change: Callable = lambda header, index: None) -> Callable[[Path], object]:
    return lambda folder: write_series(folder, change)


def predicted(scan: FoundScan, folder: Path, seed: int = 0) -> SimpleITK.Image:
    """A mask as inference writes it: NIfTI in the scan's space."""
    image = read_scan(scan)
    labels = np.random.default_rng(seed).integers(0, 3, size=image.GetSize()[::-1]).astype(np.uint8)
    labels[0] = 0
    mask = SimpleITK.GetImageFromArray(labels)
    mask.CopyInformation(image)
    write_nifti(mask, folder / "mask.nii.gz")
    return read_image_file(folder / "mask.nii.gz")


KINDS = {
    "axial": series(),
    "from the head down": series(head_first),
    "oblique, oblong pixels": series(oblique),
    "without names": series(without_names),
    "multi-frame": lambda folder: write_enhanced(folder, [9.0, 6.0, 3.0, 0.0]),
}


@pytest.mark.parametrize("write", KINDS.values(), ids=KINDS)
def test_every_reader_finds_each_voxel_where_it_was(tmp_path: Path, write: Callable) -> None:
    (tmp_path / "scan").mkdir()
    write(tmp_path / "scan")
    (scan,) = find_scans(tmp_path / "scan")
    image, labels = read_scan(scan), predicted(scan, tmp_path)
    values = SimpleITK.GetArrayFromImage(labels)
    file = tmp_path / "out" / "seg.dcm"
    write_dicom_seg(labels, scan, STRUCTURES, file, "livers", "0a1b")

    read = SimpleITK.GetArrayFromImage(place_masks(file, image, STRUCTURES, scan.frame_of_reference).labels)
    np.testing.assert_array_equal(read, values)

    segments = highdicom.seg.segread(file)
    source = highdicom.imread(scan.files[0]) if scan.kind is ScanKind.MULTIFRAME else None
    expected = (
        highdicom.get_volume_from_series([pydicom.dcmread(f) for f in scan.files])
        if source is None
        else source.get_volume()
    )
    for number in (1, 2):
        volume = segments.get_volume(segment_numbers=[number]).squeeze_channel().match_geometry(expected)
        found = highdicom.Volume.from_simpleitk(labels == number).match_geometry(expected, tol=1e-3)
        np.testing.assert_array_equal(volume.array, found.array)
        assert volume.geometry_equal(expected)

    one = SimpleITK.Cast(labels == 1, SimpleITK.sitkUInt8)
    write_dicom_seg(one, scan, ["liver"], file, "livers", "0a1b")
    mask = SimpleITK.ReadImage(file)  # the first slice is empty, and left out
    assert mask.GetSize() == (*one.GetSize()[:2], one.GetSize()[2] - 1)
    np.testing.assert_allclose(mask.GetSpacing(), one.GetSpacing(), rtol=1e-6)
    placed = SimpleITK.Resample(mask, one, SimpleITK.Transform(), SimpleITK.sitkNearestNeighbor)
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(placed) > 0, values == 1)


def test_the_segments_say_what_they_are_and_belong_to_the_study(tmp_path: Path) -> None:
    def umlaut(header: Dataset, index: int) -> None:
        header.SpecificCharacterSet, header.PatientName, header.SeriesNumber = "ISO_IR 100", "Müller^Jörg", 4

    write_series(tmp_path / "scan", umlaut)
    (scan,) = find_scans(tmp_path / "scan")
    write_dicom_seg(predicted(scan, tmp_path), scan, STRUCTURES, tmp_path / "seg.dcm", "livers", "0a1b")
    source, segments = pydicom.dcmread(scan.files[0]), highdicom.seg.segread(tmp_path / "seg.dcm")
    assert (segments.PatientID, segments.PatientName) == (PATIENT_ID, "Müller^Jörg")
    for keyword in ("StudyInstanceUID", "FrameOfReferenceUID", "StudyDate", "AccessionNumber"):
        assert segments[keyword].value == source[keyword].value
    assert segments.SeriesInstanceUID != source.SeriesInstanceUID
    assert (segments.SegmentationType, segments.SeriesNumber, segments.SoftwareVersions) == (
        "BINARY",
        1004,
        __version__,
    )
    for number, name in enumerate(STRUCTURES, start=1):
        described = segments.get_segment_description(number)
        assert (described.segment_label, described.algorithm_type.value) == (name, "AUTOMATIC")
        assert described.segmented_property_category == described.segmented_property_type == codes.SCT.Tissue
        (algorithm,) = described.SegmentationAlgorithmIdentificationSequence
        assert (algorithm.AlgorithmName, algorithm.AlgorithmVersion) == ("medsize livers", __version__)
        assert algorithm.AlgorithmParameters == "weights_sha256=0a1b"
    instances = {pydicom.dcmread(file).SOPInstanceUID for file in scan.files[1:]}  # the first slice is empty
    frames = segments.PerFrameFunctionalGroupsSequence
    assert {f.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID for f in frames} == instances
    (referenced,) = segments.ReferencedSeriesSequence
    assert referenced.SeriesInstanceUID == source.SeriesInstanceUID


def test_a_scan_in_which_nothing_was_found_gets_empty_segments(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_series(tmp_path / "scan")
    (scan,) = find_scans(tmp_path / "scan")
    image = read_scan(scan)
    write_dicom_seg(SimpleITK.Cast(image * 0, SimpleITK.sitkUInt8), scan, STRUCTURES, tmp_path / "seg.dcm", "x", "0a")
    assert not SimpleITK.GetArrayFromImage(place_masks(tmp_path / "seg.dcm", image, STRUCTURES).labels).any()
    assert not caplog.records


def test_labels_on_other_voxels_and_headers_without_a_study_are_refused(tmp_path: Path) -> None:
    write_series(tmp_path / "scan")
    (scan,) = find_scans(tmp_path / "scan")
    labels = predicted(scan, tmp_path)
    labels.SetSpacing((4.0, 4.0, 3.5))
    with pytest.raises(ValueError, match=r"scan \(6 files from .*no DICOM SEG .* it is not on the image's voxels"):
        write_dicom_seg(labels, scan, STRUCTURES, tmp_path / "out" / "seg.dcm", "x", "0a")
    write_series(tmp_path / "other", lambda header, _: delattr(header, "StudyInstanceUID"))
    (scan,) = find_scans(tmp_path / "other")
    with pytest.raises(ValueError, match=r"other \(6 files from .*StudyInstanceUID"):
        write_dicom_seg(predicted(scan, tmp_path), scan, STRUCTURES, tmp_path / "out" / "seg.dcm", "x", "0a")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["", "x" * 65, "liver\\left", "two\nlines"])
def test_names_that_dicom_cannot_hold_are_refused(name: str) -> None:
    check_segment_labels(["x" * 64])
    with pytest.raises(ValueError, match="DICOM SEG cannot hold the structure"):
        check_segment_labels(["liver", name])
