"""DICOM becomes a cohort: series, RTSTRUCT and SEG, and the soft-tissue sarcomas of the IBSI."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import SimpleITK
import yaml

pydicom = pytest.importorskip("pydicom", reason="DICOM needs pydicom: pip install 'medsize[dicom]'")

from pydicom.dataset import Dataset  # noqa: E402

from tests.cohort.test_init import init, prepared, write_table  # noqa: E402
from tests.dicom import (  # noqa: E402
    COLUMNS,
    FIRST_SLICE,
    PIXEL_MM,
    ROWS,
    SLICE_MM,
    SLICES,
    square,
    write_rtstruct,
    write_seg,
    write_series,
)
from tests.scans.pictures.test_dicom import GREY, RADIOGRAPH  # noqa: E402
from tests.scans.pictures.test_dicom import write as write_picture  # noqa: E402

LIVER_MM3 = 3 * 36 * PIXEL_MM**2 * SLICE_MM


def ct(folder: Path, patient: int) -> str:
    """A CT of noise around a level of its own; returns its frame of reference."""

    def change(header: Dataset, index: int) -> None:
        rng = np.random.default_rng([patient, index])
        header.PatientID, header.RescaleSlope, header.RescaleIntercept = f"MRN-{patient}", 1, -1024
        header.PixelData = rng.integers(900 + patient, 1200, (ROWS, COLUMNS), dtype=np.uint16).tobytes()

    return write_series(folder, change)


@pytest.fixture
def export(tmp_path: Path) -> Path:
    """Three patients: two with contours, one with segments, and what else a PACS exports."""
    folder = tmp_path / "export"
    for patient in (1, 2):
        frame = ct(folder / f"p{patient}" / "ct", patient)
        regions = {"Liver": [square(1.5, 7.5, k) for k in (1, 2, 3)], f"Point {patient}": [square(1.5, 2.5, 1)]}
        write_rtstruct(folder / f"p{patient}" / "RS.dcm", frame, regions)
    ct(folder / "p3" / "ct", 3)
    liver = np.zeros((SLICES, ROWS, COLUMNS), dtype=bool)
    liver[1:4, 2:8, 2:8] = True
    write_seg(folder / "p3" / "seg.dcm", folder / "p3" / "ct", {"Liver": liver})
    write_series(
        folder / "p3" / "localizer",
        lambda h, i: setattr(h, "ImageType", ["ORIGINAL", "PRIMARY", "LOCALIZER"]),
        slices=2,
    )
    return folder


def test_series_contours_and_segments_become_a_cohort(export: Path, tmp_path: Path) -> None:
    content = prepared(export, tmp_path / "out")
    assert list(content["labels"].values()) == ["background", "Liver"]
    assert [item["size"]["Liver"] for item in content["training"]] == [LIVER_MM3] * 3
    assert len({item["subject"] for item in content["training"]}) == 3
    overlay = yaml.safe_load((tmp_path / "out" / "cohort.yaml").read_text())
    assert overlay["intensity_window"] == [-175, 250]  # HU of soft tissue
    text = (tmp_path / "out" / "report.html").read_text()
    assert "MRN-" not in text
    assert str(export) not in text


def test_a_table_may_name_patients(export: Path, tmp_path: Path) -> None:
    table = write_table(tmp_path / "sizes.csv", "image,tumour diameters_mm", ["MRN-1,10", "p2,20 x 10", "p3/ct,30"])
    content = prepared(export, tmp_path / "out", "--sizes", table)
    volumes = sorted(item["size"]["tumour"] for item in content["training"])
    assert volumes == pytest.approx([np.pi / 6 * d for d in (1000, 2000, 27000)])
    assert not any("label" in item for item in content["training"])  # the masks show livers
    overlay = yaml.safe_load((tmp_path / "out" / "cohort.yaml").read_text())
    assert overlay["intensity_window"] == [-175, 250]


def test_image_files_of_masks_beside_contours_are_left_out_aloud(export: Path, tmp_path: Path) -> None:
    liver = np.zeros((COLUMNS, ROWS, SLICES), dtype=np.uint8)
    nibabel.save(nibabel.Nifti1Image(liver, np.eye(4)), export / "p1" / "ct" / "mask.nii.gz")
    result = init(export, tmp_path / "out")
    assert "left out: image files of masks of 1 scans that have SEG or RTSTRUCT, too" in result.output
    content = json.loads((tmp_path / "out" / "datalist.json").read_text())
    assert [item["size"]["Liver"] for item in content["training"]] == [LIVER_MM3] * 3


def test_a_mask_may_lie_above_the_folder_of_its_only_series(export: Path, tmp_path: Path) -> None:
    for patient in (1, 2):
        (export / f"p{patient}" / "RS.dcm").unlink()
        liver = np.zeros((COLUMNS, ROWS, SLICES), dtype=np.uint8)
        liver[2:8, 2:8, 1:4] = 1
        affine = np.diag([-PIXEL_MM, -PIXEL_MM, SLICE_MM, 1])
        affine[2, 3] = FIRST_SLICE
        nibabel.save(nibabel.Nifti1Image(liver, affine), export / f"p{patient}" / "Liver_mask.nii.gz")
    content = prepared(export, tmp_path / "out", "--structure", "Liver")
    assert [item["size"]["Liver"] for item in content["training"]] == [LIVER_MM3] * 3


def test_a_modality_is_picked_with_its_masks(export: Path, tmp_path: Path) -> None:
    frame = write_series(export / "p1" / "mr", lambda header, index: setattr(header, "Modality", "MR"))
    write_rtstruct(export / "p1" / "RS_mr.dcm", frame, {"Spleen": [square(1.5, 7.5, 1)]})
    liver = np.zeros((COLUMNS, ROWS, SLICES), dtype=np.uint8)
    nibabel.save(nibabel.Nifti1Image(liver, np.eye(4)), export / "p1" / "mr" / "mask.nii.gz")
    content = prepared(export, tmp_path / "out", "--modality", "CT")
    assert [item["size"]["Liver"] for item in content["training"]] == [LIVER_MM3] * 3
    assert all("_CT_" in item["image"] for item in content["training"])


def test_masks_without_a_common_structure_are_named(export: Path, tmp_path: Path) -> None:
    frame = ct(export / "p4" / "ct", 4)
    spleen, heart = [square(1.5, 7.5, 1)], [square(1.5, 3.5, 1)]
    write_rtstruct(export / "p4" / "RS.dcm", frame, {"Liver": heart, "Heart": spleen})
    result = init(export, tmp_path / "some")
    assert "structures that not all masks have were left out: 'Point 1' (1 scans), 'Point 2'" in result.output
    write_rtstruct(export / "p4" / "RS.dcm", frame, {"Spleen": spleen, "Heart": heart})
    result = init(export, tmp_path / "out")
    assert result.exit_code == 1
    assert "the masks of 4 scans have no structure in common; they hold 'Liver' (3)" in result.output
    result = init(export, tmp_path / "out", "--structure", "Liver")
    assert result.exit_code == 1
    assert "'Liver' is in 0 of the 1 files" in result.output
    assert len(json.loads((tmp_path / "out" / "datalist.json").read_text())["training"]) == 3


def test_sarcomas_are_read_as_simpleitk_reads_them(real_scans: Path, tmp_path: Path) -> None:
    source = real_scans / "IBSI_STS"
    if not source.is_dir():
        pytest.skip(f"no soft-tissue sarcomas at {source}")
    for kind in ("PET", "MR_T1"):
        shutil.copytree(source / "STS_003" / kind, tmp_path / "scans" / "STS_003" / kind)
    shutil.copytree(source / "STS_004" / "PET", tmp_path / "scans" / "STS_004" / "PET")
    content = prepared(tmp_path / "scans", tmp_path / "out")
    assert list(content["labels"].values()) == ["background", "GTV_Mass"]
    assert len({item["subject"] for item in content["training"]}) == 2
    found = [(nibabel.load(tmp_path / "out" / item["image"]), item) for item in content["training"]]
    for folder in sorted((tmp_path / "scans").glob("STS_*/*")):
        read = by_simpleitk(folder / "image")
        (item,) = (item for image, item in found if image.shape == read.GetSize())
        image = nibabel.load(tmp_path / "out" / item["image"])
        np.testing.assert_allclose(image.header.get_zooms(), read.GetSpacing(), rtol=1e-4)
        np.testing.assert_allclose(image.affine[:3, 3] * [-1, -1, 1], read.GetOrigin(), atol=1e-3)
        reference = nibabel.load(folder / "reference_mask.nii.gz")
        voxels = np.asarray(reference.dataobj) > 0
        volume = voxels.sum() * abs(np.linalg.det(reference.affine[:3, :3]))
        assert item["size"]["GTV_Mass"] == pytest.approx(volume, rel=0.03)


def by_simpleitk(folder: Path) -> Any:
    """The one series of a folder, as SimpleITK itself reads it."""
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    return reader.Execute()


def test_what_was_left_out_and_assumed_is_in_the_report_by_codes(export: Path, tmp_path: Path) -> None:
    frame = ct(export / "p1" / "late", 1)
    every_second = [square(1.5, 7.5, k) for k in (0, 2, 4)]
    write_rtstruct(export / "p1" / "late.dcm", frame, {"Liver": every_second, "": every_second})
    shutil.copytree(export / "p1" / "ct", export / "backup of Doe")
    result = init(export, tmp_path / "out")
    assert result.exit_code == 0, result.output
    text = (tmp_path / "out" / "report.html").read_text()
    for said in (
        "it is a localizer, slices for planning",
        "copies, such as that of",
        "1 regions without a name were left out",
        "interpolated between others: &#39;Liver&#39; (slices 1, 3)",
    ):
        assert said.replace("&#39;", "'") in result.output
        assert said in text
    assert "Doe" not in text
    content = json.loads((tmp_path / "out" / "datalist.json").read_text())
    sizes = sorted(item["size"]["Liver"] for item in content["training"])
    assert sizes == pytest.approx([LIVER_MM3] * 3 + [LIVER_MM3 / 3 * 5])


def test_readers_who_drew_the_same_are_chosen_by_file(export: Path, tmp_path: Path) -> None:
    frame = pydicom.dcmread(next((export / "p1" / "ct").iterdir())).FrameOfReferenceUID
    write_rtstruct(export / "p1" / "second.dcm", frame, {"Liver": [square(1.5, 7.5, 1)]})
    result = init(export, tmp_path / "out")
    assert result.exit_code == 1
    assert "'Liver' is in 2 of the 2 files" in result.output
    assert "RS.dcm: Liver" in result.output
    assert "second.dcm: Liver" in result.output
    assert "--rtstruct NAME" in result.output
    content = prepared(export, tmp_path / "chosen", "--rtstruct", "RS*")
    assert [item["size"]["Liver"] for item in content["training"]] == [LIVER_MM3] * 3
    result = init(export, tmp_path / "none", "--rtstruct", "third.dcm")
    assert "has no SEG or RTSTRUCT of this name, but RS.dcm, second.dcm, seg.dcm" in " ".join(
        result.output.replace("│", " ").split()
    )


def test_a_name_that_fits_several_structures_is_refused_or_told(tmp_path: Path) -> None:
    sides = [{"Kidney_L": 1, "kidney_R": 3}, {"Kidney_L": 1}, {"kidney_R": 3}]
    for patient, drawn in enumerate(sides):
        frame = ct(tmp_path / "in" / f"p{patient}" / "ct", patient)
        regions = {name: [square(1.5, 7.5, k)] for name, k in drawn.items()}
        write_rtstruct(tmp_path / "in" / f"p{patient}" / "RS.dcm", frame, regions)
    both = tmp_path / "both"
    shutil.copytree(tmp_path / "in" / "p0", both / "p0")
    result = init(both, tmp_path / "refused", "--structure", "Kidney")
    assert result.exit_code == 1
    assert "--structure 'Kidney' fits several structures: 'Kidney_L', 'kidney_R'" in result.output
    shutil.rmtree(tmp_path / "in" / "p0")
    result = init(tmp_path / "in", tmp_path / "told", "--structure", "Kidney")
    assert "'Kidney' stands for masks of several names: 'Kidney_L' (1 scans), 'kidney_R' (1 scans)" in result.output


def test_of_many_names_the_first_few_are_listed(export: Path, tmp_path: Path) -> None:
    frame = pydicom.dcmread(next((export / "p1" / "ct").iterdir())).FrameOfReferenceUID
    names = [f"PTV_{number:03d}" for number in range(820)]
    write_rtstruct(export / "p1" / "RS.dcm", frame, {name: [square(1.5, 7.5, 1)] for name in names})
    result = init(export, tmp_path / "out", "--structure", "PTV_82")
    assert "PTV_000, PTV_001, PTV_002, PTV_003, PTV_004 and 815 more" in result.output
    assert result.output.count("PTV_0") < 20


def test_segments_and_contours_on_pictures_are_refused_with_what_to_do(tmp_path: Path) -> None:
    for patient in range(2):
        folder = tmp_path / "export" / f"p{patient}"
        write_picture(folder / "cr.dcm", GREY, RADIOGRAPH, Modality="CR", PatientID=f"MRN-{patient}")
        write_rtstruct(folder / "RS.dcm", "1.2.3", {"Lung": [[1, 1, 0, 5, 1, 0, 5, 5, 0]]})
    result = init(tmp_path / "export", tmp_path / "out", "--folds", 2)
    assert result.exit_code == 1
    assert "RS.dcm: found a RTSTRUCT beside pictures, expected masks of pictures as PNG or TIFF" in result.output
    assert not (tmp_path / "out" / "datalist.json").exists()
