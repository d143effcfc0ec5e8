"""
Prepare soft-tissue sarcoma: PET, MR or CT with the tumour's contours (DICOM), as the IBSI publishes them.

    python -m data_prep.ibsi_sts FOLDER --output-dir OUT [--modality PET] [--clicks]

FOLDER holds ``STS_nnn/PET/image`` (a DICOM series) and ``STS_nnn/PET/mask`` (an RTSTRUCT), and the same under ``MR_T1``
and ``CT``. OUT gets the scans as NIfTI (PET: SUV by body weight, g/mL) and ``datalist.json``, with sizes measured in
the contours themselves. Masks, the contours on the voxel grid, are written for evaluation and comparison only.
The IBSI cut the scans to some 5 cm around the tumour: they show a part of the body, not all of it.
Needs pydicom (``pip install 'medsize[dicom]'``).

Vallières et al. "A radiomics model from joint FDG-PET and MRI texture features for the prediction of lung metastases in
soft-tissue sarcomas of the extremities". Physics in Medicine and Biology 2015. Data: Vallières et al.,
"Soft-tissue-Sarcoma", The Cancer Imaging Archive 2015, prepared by the Image Biomarker Standardisation Initiative.
Licence of the data: CC BY 3.0.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pydicom
import SimpleITK
import typer
from rich.progress import track

from medsize.data import DataListError, assign_folds, write_clicks, write_data_list
from medsize.data.contours import contour_area, contour_mask, contours_by_slice, read_contours
from medsize.data.whole_file import written_whole

CLASSES = ("background", "tumour")
ROI_NAME = "GTV_Mass"
OFF_GRID = 0.1
"""Slice distances that a slice may lie beside its place: positions are stored rounded."""
DAY = 24 * 60 * 60


class Modality(str, Enum):
    """What to prepare."""

    PET = "PET"
    MR = "MR"
    CT = "CT"


FOLDER_OF = {Modality.PET: "PET", Modality.MR: "MR_T1", Modality.CT: "CT"}


def main(
    folder: Annotated[Path, typer.Argument(help="Folder that holds the patients' folders.", exists=True)],
    output_dir: Annotated[Path, typer.Option(help="Folder to write scans, masks and datalist.json to.")],
    modality: Annotated[Modality, typer.Option(help="Which scans.")] = Modality.PET,
    folds: Annotated[int, typer.Option(help="Number of folds.", min=2)] = 4,
    clicks: Annotated[bool, typer.Option(help="Simulate one click per class and slice.")] = False,
    roi_margin_mm: Annotated[
        float, typer.Option(help="Mean distance of the region of interest from the tumour; ±50 % on each side.", min=0)
    ] = 20.0,
    seed: Annotated[int, typer.Option(help="Seed of the distances.")] = 0,
) -> None:
    """Write scans, masks and a data list for the soft-tissue sarcomas."""
    patients = sorted(path.parent for path in folder.glob(f"STS_*/{FOLDER_OF[modality]}"))
    if not patients:
        raise typer.BadParameter(f"no STS_nnn/{FOLDER_OF[modality]} below {folder}.", param_hint="FOLDER")
    fold_of = assign_folds([patient.name for patient in patients], folds)
    items, problems = [], []
    for number, patient in enumerate(track(patients, description=f"converting {modality.value}")):
        rng = np.random.default_rng([seed, number])
        try:
            item = prepare_scan(patient, modality, output_dir, roi_margin_mm, rng)
        except ValueError as e:
            problems.append(str(e))
            continue
        if clicks:
            item["scribble"] = item["label"].replace("masks", "clicks")
            write_clicks(output_dir / item["label"], output_dir / item["scribble"])
        items.append({**item, "subject": patient.name, "fold": fold_of[patient.name]})
    if problems:
        error = DataListError(folder, problems)
        raise SystemExit(f"{error}\nNo data list was written. Mend these patients, or move them out of {folder}.")
    data_list = output_dir / "datalist.json"
    write_data_list(
        data_list,
        CLASSES,
        items,
        size_unit="mm3",
        name=f"Soft-tissue sarcoma, {modality.value}",
        licence="CC BY 3.0",
        reference="Vallières et al., Phys Med Biol 2015; The Cancer Imaging Archive, Soft-tissue-Sarcoma",
    )
    volumes = [item["size"]["tumour"] / 1000 for item in items]
    typer.echo(f"{data_list}: {len(items)} patients, tumours of {min(volumes):.1f} to {max(volumes):.1f} mL")


def prepare_scan(
    patient: Path, modality: Modality, output_dir: Path, roi_margin_mm: float, rng: np.random.Generator
) -> dict[str, Any]:
    """
    Write a patient's scan and mask.

    Returns:
        its entries of the data list: paths, ``size`` (mm³) and ``slice_size`` (mm²) of the contours, and ``roi``, a box
        around them at ``roi_margin_mm`` ± 50 % on each side, as a reader would draw it roughly.

    Raises:
        ValueError: naming the file at fault, and what was found and expected.
    """
    source = patient / FOLDER_OF[modality]
    image, slices = read_series(source / "image")
    rtstruct = _only_rtstruct(source / "mask")
    contours = read_contours(rtstruct, ROI_NAME, slices[0].get("FrameOfReferenceUID"))
    try:
        by_slice = contours_by_slice(contours, image)
    except ValueError as e:
        raise ValueError(f"{rtstruct} on {source / 'image'}: {e}") from e
    if modality is Modality.PET:
        try:
            image = image * suv_factor(slices)
        except ValueError as e:
            raise ValueError(f"{source / 'image'}: {e}") from e

    columns, rows = image.GetWidth(), image.GetHeight()
    x, y, slice_distance = image.GetSpacing()
    areas = [contour_area(polygons) * x * y for polygons in by_slice]
    mask = np.stack([contour_mask(polygons, (columns, rows)).T for polygons in by_slice]).astype(np.uint8)
    drawn = SimpleITK.GetImageFromArray(mask)
    drawn.CopyInformation(image)
    name = f"{patient.name}_{modality.value}.nii.gz"
    for kind, volume in (("images", image), ("masks", drawn)):
        with written_whole(output_dir / kind / name) as file:
            SimpleITK.WriteImage(volume, file)

    points = np.concatenate(contours) * [-1, -1, 1]  # LPS+ to RAS+
    below, above = roi_margin_mm * rng.uniform(0.5, 1.5, size=(2, 3))
    box = (points.min(axis=0) - below, points.max(axis=0) + above)
    return {
        "image": f"images/{name}",
        "label": f"masks/{name}",
        "size": {"tumour": round(sum(areas) * slice_distance, 3)},
        "slice_size": {"tumour": [round(area, 3) for area in areas]},
        "roi": {"box_mm": [[round(float(c), 2) for c in corner] for corner in box]},
    }


def read_series(folder: Path) -> tuple[SimpleITK.Image, list[pydicom.FileDataset]]:
    """
    Read the one DICOM series of a folder.

    Returns:
        the volume, float32, and the headers of its slices in their order.

    Raises:
        ValueError: when there is no series or more than one, a slice is missing, or a file cannot be read.
    """
    reader = SimpleITK.ImageSeriesReader()
    series = list(reader.GetGDCMSeriesIDs(str(folder))) if folder.is_dir() else []
    if len(series) != 1:
        raise ValueError(f"{folder}: found {len(series)} DICOM series, expected one. Leave one series in the folder.")
    files = reader.GetGDCMSeriesFileNames(str(folder), series[0])
    reader.SetFileNames(files)
    reader.SetOutputPixelType(SimpleITK.sitkFloat32)
    try:
        image = reader.Execute()
    except RuntimeError as e:
        raise ValueError(f"{folder}: the series cannot be read: {str(e).splitlines()[-1]}") from e
    slices = [pydicom.dcmread(file, stop_before_pixels=True) for file in files]
    for index, (file, header) in enumerate(zip(files, slices, strict=True)):
        expected = np.array(image.TransformIndexToPhysicalPoint((0, 0, index)))
        found = np.array(header.ImagePositionPatient, dtype=float)
        if np.linalg.norm(found - expected) > OFF_GRID * image.GetSpacing()[2]:
            raise ValueError(
                f"{file}: slice {index} of {len(slices)} is at {found.round(2).tolist()} mm, expected at "
                f"{expected.round(2).tolist()} mm by the distance of the others. Is a slice missing, or there twice?"
            )
    return image, slices


def suv_factor(slices: Sequence[pydicom.Dataset]) -> float:
    """
    Factor from the voxels of a PET to the standardised uptake value by body weight, SUV, in g/mL.

        SUV = activity [Bq/mL] · weight [g] / (dose [Bq] · 2^(−t/T½))

    where t is the time from injection to the start of the scan if the activity is corrected for decay to that start
    (DecayCorrection START), and 0 if it is corrected to the injection (ADMIN). Voxels that are SUV already (Units GML)
    have the factor 1. Times of day are compared, within 24 hours, since de-identification shifts the dates unequally.
    Source: vendor-neutral SUV calculation of the Quantitative Imaging Biomarkers Alliance.

    Args:
        slices: the headers of the series.

    Raises:
        ValueError: naming the tags that are missing or do not permit the conversion.
    """
    header = slices[0]
    units, kind = header.get("Units"), header.get("SUVType", "BW")
    if units == "GML" and kind == "BW":
        return 1.0
    if units != "BQML":
        raise ValueError(
            f"Units is {units} and SUVType {kind}: SUV by body weight is made from BQML, or is GML of type BW already."
        )
    correction = header.get("DecayCorrection")
    if correction not in ("START", "ADMIN") or "ATTN" not in header.get("CorrectedImage", ""):
        raise ValueError(
            f"DecayCorrection is {correction} and CorrectedImage {header.get('CorrectedImage')}: SUV needs an activity "
            "corrected for decay to START or ADMIN and for attenuation (ATTN)."
        )
    tracer = (header.get("RadiopharmaceuticalInformationSequence") or [pydicom.Dataset()])[0]
    tags = {
        "PatientWeight": header.get("PatientWeight"),
        "RadionuclideTotalDose": tracer.get("RadionuclideTotalDose"),
        "RadionuclideHalfLife": tracer.get("RadionuclideHalfLife"),
    }
    if correction == "START":
        tags["RadiopharmaceuticalStartTime"] = tracer.get("RadiopharmaceuticalStartTime")
        tags["SeriesTime"] = header.get("SeriesTime")
    missing = [name for name, value in tags.items() if not value]
    if missing:
        raise ValueError(f"{', '.join(missing)} missing or 0: SUV needs them. Take them from the scan's records.")
    weight, dose, half_life = (float(value) for value in list(tags.values())[:3])
    elapsed = 0.0
    if correction == "START":
        injection = _seconds(tags["RadiopharmaceuticalStartTime"])
        # Reprocessing puts the series' time after that of the acquisition.
        starts = [header.SeriesTime, *(s.AcquisitionTime for s in slices if s.get("AcquisitionTime"))]
        elapsed = min((_seconds(start) - injection) % DAY for start in starts)
        if elapsed > 5 * half_life:
            raise ValueError(
                f"the scan starts {elapsed / 60:.0f} minutes after RadiopharmaceuticalStartTime, more than five "
                "half-lives: one of the times is wrong."
            )
    return 1000 * weight / (dose * 2 ** (-elapsed / half_life))


def _seconds(time: str) -> float:
    """Seconds since midnight of a DICOM time, HHMMSS.FFF."""
    return int(time[:2]) * 3600 + int(time[2:4] or 0) * 60 + float(time[4:] or 0)


def _only_rtstruct(folder: Path) -> Path:
    files = sorted(folder.glob("*.dcm"))
    if len(files) != 1:
        found = ", ".join(file.name for file in files) or "none"
        raise ValueError(f"{folder}: found {found}, expected one RTSTRUCT file (.dcm). Leave the one to use there.")
    return files[0]


if __name__ == "__main__":
    typer.run(main)
