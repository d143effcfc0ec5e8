"""Soft-tissue sarcomas are prepared with the volumes of their contours, PET as SUV, and masks as the references."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import typer

pydicom = pytest.importorskip("pydicom", reason="DICOM needs pydicom: pip install 'medsize[dicom]'")

from pydicom.dataset import Dataset  # noqa: E402

from data_prep.ibsi_sts import Modality, main, prepare_scan  # noqa: E402
from medsize.checks import check_scans  # noqa: E402
from medsize.data import load_cohort  # noqa: E402
from medsize.scans.dicom.suv import suv_factor  # noqa: E402
from tests import dicom  # noqa: E402
from tests.conftest import PROJECT  # noqa: E402
from tests.dicom import COLUMNS, FIRST_SLICE, PIXEL_MM, ROWS, SLICE_MM, SLICES, square  # noqa: E402

PET_CLASS = "1.2.840.10008.5.1.4.1.1.128"

# 6 × 6 voxels with a hole of 2 × 2 on two slices, 6 × 6 on a third.
CONTOURS = [square(1.5, 7.5, k) for k in (1, 2, 3)] + [square(3.5, 5.5, k) for k in (2, 3)]
AREAS_MM2 = [area * PIXEL_MM**2 for area in (0, 36, 32, 32, 0, 0)]


def pet_header(**changes: Any) -> Dataset:
    """370 MBq to 70 kg, scanned one half-life after the injection, just past midnight."""
    header = Dataset()
    header.Modality, header.Units, header.DecayCorrection, header.CorrectedImage = (
        "PT",
        "BQML",
        "START",
        ["DECY", "ATTN"],
    )
    header.PatientWeight, header.SeriesTime, header.AcquisitionTime = 70, "001000.00", "001200"
    tracer = Dataset()
    tracer.RadionuclideTotalDose, tracer.RadionuclideHalfLife = 370e6, 6600
    tracer.RadiopharmaceuticalStartTime = "222000"
    header.RadiopharmaceuticalInformationSequence = [tracer]
    for name, value in changes.items():
        owner = header if name in header or name == "SUVType" else tracer
        setattr(owner, name, value)
    return header


SUV_FACTOR = 70_000 / (370e6 / 2)


def write_series(folder: Path, **changes: Any) -> str:
    """A PET whose voxels hold 1000 times the number of their slice, each slice stored at a scale of its own."""

    def as_pet(header: Dataset, index: int) -> None:
        header.update(pet_header(**changes))
        header.RescaleSlope, header.RescaleIntercept = 0.5 * (index + 1), 0
        header.PixelData = np.full((ROWS, COLUMNS), 2000 * index // (index + 1), dtype=np.uint16).tobytes()

    return dicom.write_series(folder, as_pet, sop_class=PET_CLASS)


def write_rtstruct(file: Path, frame: str, contours: list[list[float]] = CONTOURS, name: str = "GTV_Mass_PET") -> None:
    dicom.write_rtstruct(file, frame, {name: contours})


def write_cohort(folder: Path) -> Path:
    """Two patients."""
    for patient in ("STS_001", "STS_002"):
        frame = write_series(folder / patient / "PET" / "image")
        write_rtstruct(folder / patient / "PET" / "mask" / "RS.dcm", frame)
    return folder


@pytest.fixture
def cohort(tmp_path: Path) -> Path:
    return write_cohort(tmp_path / "sts")


def refusal(cohort: Path) -> str:
    """Return the message of the refusal, and check that no data list is written."""
    output = cohort.parent / "out"
    with pytest.raises(SystemExit) as caught:
        main(cohort, output)
    assert not (output / "datalist.json").exists()
    return str(caught.value)


def test_sizes_are_those_of_the_contours_and_pet_is_suv(command: Callable, cohort: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    command("data_prep.ibsi_sts", cohort, "--output-dir", output, "--clicks", "--folds", "2", cwd=PROJECT)
    item = json.loads((output / "datalist.json").read_text())["training"][0]
    assert item["slice_size"]["tumour"] == AREAS_MM2
    assert item["size"]["tumour"] == pytest.approx(sum(AREAS_MM2) * SLICE_MM)
    prepared = load_cohort(output / "datalist.json", output)
    assert [i["fold"] for i in prepared.items] == [0, 1]
    assert check_scans(list(prepared.items), 2, prepared.scribble_unlabelled) == []
    image, mask = nibabel.load(output / item["image"]), np.asarray(nibabel.load(output / item["label"]).dataobj)
    np.testing.assert_allclose(mask.sum(axis=(0, 1)) * PIXEL_MM**2, AREAS_MM2)
    stored = np.array([2000 * k // (k + 1) * 0.5 * (k + 1) for k in range(SLICES)])
    np.testing.assert_allclose(image.get_fdata()[4, 4], stored * SUV_FACTOR, rtol=1e-5)
    np.testing.assert_allclose(image.affine @ [0, 0, 1, 1], [0, 0, FIRST_SLICE + SLICE_MM, 1])
    # Scanner coordinates are RAS+, contours LPS+: the tumour's box is within the roi, the roi 10 to 30 mm around it.
    low, high = np.array(item["roi"]["box_mm"])
    gap = np.stack([np.array([-30, -30, -17]) - low, high - [-6, -6, -11]])
    assert (gap >= 10 - 0.01).all()
    assert (gap <= 30 + 0.01).all()


def test_all_faults_are_named_at_once(cohort: Path) -> None:
    write_rtstruct(cohort / "STS_001" / "PET" / "mask" / "RS.dcm", "1.2.3")
    (cohort / "STS_002" / "PET" / "mask" / "RS.dcm").unlink()
    message = refusal(cohort)
    assert "2 problems" in message
    assert f"{cohort}/STS_001/PET/mask/RS.dcm: 'GTV_Mass_PET' was drawn in the frame of reference 1.2.3" in message
    assert f"{cohort}/STS_002/PET/mask: found none, expected one RTSTRUCT" in message


def test_faulty_contours_are_refused(cohort: Path) -> None:
    first, second = (cohort / patient / "PET" for patient in ("STS_001", "STS_002"))
    frames = [pydicom.dcmread(next((p / "image").glob("*.dcm"))).FrameOfReferenceUID for p in (first, second)]
    write_rtstruct(first / "mask" / "RS.dcm", frames[0], name="Heart")
    write_rtstruct(second / "mask" / "RS.dcm", frames[1], contours=[square(8.5, 14.5, 2)])
    message = refusal(cohort)
    assert "0 of its regions are named 'GTV_Mass…', expected one. It holds: 'Heart'" in message
    assert f"{second}/mask/RS.dcm on {second}/image: contour 0 reaches out of the image" in message


def test_faulty_series_are_refused(cohort: Path) -> None:
    first, second = (cohort / patient / "PET" / "image" for patient in ("STS_001", "STS_002"))
    (first / "3.dcm").unlink()
    write_series(second / "other")
    for file in (second / "other").iterdir():
        file.rename(second / f"other_{file.name}")
    message = refusal(cohort)
    assert f"{first} (5 files from 0.dcm): between 4.dcm and 2.dcm are 6.00 mm, expected 3.00 mm" in message
    assert f"{second}: found 2 scans" in message


def test_pet_that_cannot_be_suv_is_refused(cohort: Path) -> None:
    write_series(cohort / "STS_002" / "PET" / "image", RadionuclideTotalDose=None)
    frame = pydicom.dcmread(cohort / "STS_002" / "PET" / "image" / "0.dcm").FrameOfReferenceUID
    write_rtstruct(cohort / "STS_002" / "PET" / "mask" / "RS.dcm", frame)
    message = refusal(cohort)
    assert "1 problem\n" in message
    assert f"{cohort}/STS_002/PET/image (6 files from 0.dcm): RadionuclideTotalDose missing or 0" in message


def test_a_modality_that_no_patient_has_is_refused(cohort: Path, tmp_path: Path) -> None:
    with pytest.raises(typer.BadParameter, match="no STS_nnn/MR_T1 below"):
        main(cohort, tmp_path / "out", Modality.MR)


def test_tables_that_do_not_fit_are_refused(cohort: Path, tmp_path: Path) -> None:
    table = tmp_path / "sizes.csv"
    table.write_text("image,liver volume_ml\nSTS_001/PET/image,3\n")
    with pytest.raises(typer.BadParameter, match="states sizes of liver, expected of tumour alone"):
        main(cohort, tmp_path / "out", sizes=table)
    table.write_text("image,tumour volume_ml\nSTS_001/PET/image,3\n")
    with pytest.raises(SystemExit, match="the scan 'STS_002/PET/image' has no row"):
        main(cohort, tmp_path / "out", sizes=table)
    with pytest.raises(typer.BadParameter, match="there is no such file"):
        main(cohort, tmp_path / "out", sizes=tmp_path / "none.csv")
    assert not (tmp_path / "out" / "datalist.json").exists()


@pytest.mark.parametrize(
    ("changes", "factor"),
    [
        ({}, SUV_FACTOR),
        ({"SeriesTime": "083000"}, 70_000 / (370e6 * 2 ** (-6720 / 6600))),  # reprocessed later in the day
        ({"DecayCorrection": "ADMIN"}, 70_000 / 370e6),
        ({"Units": "GML"}, 1.0),
        ({"Units": "GML", "SUVType": "BW"}, 1.0),
    ],
)
def test_suv_factor(changes: dict[str, Any], factor: float) -> None:
    assert suv_factor([pet_header(**changes)]) == pytest.approx(factor)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"Units": "CNTS"}, "Units is CNTS"),
        ({"Units": "GML", "SUVType": "LBM"}, "SUVType LBM"),
        ({"DecayCorrection": "NONE"}, "DecayCorrection is NONE"),
        ({"CorrectedImage": ["DECY"]}, "for attenuation"),
        ({"PatientWeight": 0, "RadionuclideHalfLife": None}, "PatientWeight, RadionuclideHalfLife missing or 0"),
        ({"RadiopharmaceuticalStartTime": "003000"}, "more than five half-lives"),
    ],
)
def test_pet_without_what_suv_needs(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        suv_factor([pet_header(**changes)])


@pytest.mark.parametrize(("modality", "folder", "deviation"), [("PET", "PET", 0.03), ("CT", "CT", 0.002)])
def test_real_masks_and_volumes_are_the_references(
    real_scans: Path, tmp_path: Path, modality: str, folder: str, deviation: float
) -> None:
    patient = real_scans / "IBSI_STS" / "STS_002"
    if not patient.is_dir():
        pytest.skip(f"no soft-tissue sarcoma at {patient}")
    item = prepare_scan(patient, Modality(modality), tmp_path, 20.0, np.random.default_rng(0))
    mask, reference = nibabel.load(tmp_path / item["label"]), nibabel.load(patient / folder / "reference_mask.nii.gz")
    np.testing.assert_allclose(mask.affine, reference.affine, atol=1e-3)
    inside, expected = np.asarray(mask.dataobj) > 0, np.asarray(reference.dataobj) > 0
    # Room for a few voxels whose centres lie on the outline; none differed.
    assert 2 * (inside & expected).sum() / (inside.sum() + expected.sum()) > 0.99
    # The contour cuts through voxels, which the mask holds whole: 5 mm wide in PET, 1 mm in CT.
    volume = expected.sum() * np.prod(reference.header.get_zooms())
    assert item["size"]["tumour"] == pytest.approx(volume, rel=deviation)
    if modality == "PET":
        suv = nibabel.load(tmp_path / item["image"]).get_fdata()
        assert suv[inside].max() == pytest.approx(21.6757, abs=1e-3)  # read by pydicom: already SUV by body weight
