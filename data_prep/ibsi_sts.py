"""
Prepare soft-tissue sarcoma: PET, MR or CT with the tumour's contours (DICOM), as the IBSI publishes them.

    python -m data_prep.ibsi_sts FOLDER --output-dir OUT [--modality PET] [--clicks] [--sizes TABLE]

FOLDER holds ``STS_nnn/PET/image`` (a DICOM series) and ``STS_nnn/PET/mask`` (an RTSTRUCT), and the same under ``MR_T1``
and ``CT``. OUT gets the scans as NIfTI (PET: SUV by body weight, g/mL), ``datalist.json``, with sizes measured in the
contours, and ``cohort.yaml`` for ``medsize fit``. With ``--sizes`` they are those of a size table, as ``medsize
diameters`` writes it: its images are paths of series from FOLDER (``STS_001/PET/image``). Masks, the contours on the
voxel grid, are written for evaluation and comparison only. The IBSI cropped the scans to some 5 cm around the tumour.
Needs pydicom (``pip install 'medsize[dicom]'``).

Vallières et al. "A radiomics model from joint FDG-PET and MRI texture features for the prediction of lung metastases in
soft-tissue sarcomas of the extremities". Physics in Medicine and Biology 2015. Data: Vallières et al.,
"Soft-tissue-Sarcoma", The Cancer Imaging Archive 2015, prepared by the Image Biomarker Standardisation Initiative.
Licence of the data: CC BY 3.0.
"""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import SimpleITK
import typer
from rich.progress import track

from medsize.cohort.proposal import propose_run
from medsize.data import DataListError, assign_folds, load_cohort, write_clicks, write_data_list
from medsize.scans.dicom.polygons import contour_area
from medsize.scans.dicom.rtstruct import contours_by_slice, read_contours, volume_mask
from medsize.scans.dicom.suv import to_suv
from medsize.scans.find_scans import find_scans, read_scan
from medsize.scans.image_file import write_nifti
from medsize.scans.scan import FoundScan
from medsize.sizes.table.read import read_size_table
from medsize.sizes.table.scan_sizes import scan_sizes
from medsize.units import MM3_PER_ML

CLASSES = ("background", "tumour")
ROI_NAME = "GTV_Mass"


class Modality(str, Enum):
    """Modality to prepare."""

    PET = "PET"
    MR = "MR"
    CT = "CT"


DICOM_NAMES = {Modality.PET: "PT", Modality.MR: "MR", Modality.CT: "CT"}
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
    sizes: Annotated[
        Path | None, typer.Option(help="Size table, CSV or XLSX, in place of the contours' sizes.", dir_okay=False)
    ] = None,
) -> None:
    """Write scans, masks and a data list for the soft-tissue sarcomas."""
    patients = patients_of(folder, modality)
    try:
        table = None if sizes is None else read_size_table(sizes)
    except ValueError as e:
        raise typer.BadParameter(str(e), param_hint="--sizes") from e
    if table is not None and table.structures != CLASSES[1:]:
        raise typer.BadParameter(
            f"{sizes} states sizes of {', '.join(table.structures)}, expected of {CLASSES[1]} alone.",
            param_hint="--sizes",
        )
    fold_of = assign_folds([patient.name for patient in patients], folds)
    items, problems = [], []
    for number, patient in enumerate(track(patients, description=f"converting {modality.value}")):
        rng = np.random.default_rng([seed, number])
        try:
            item = prepare_scan(patient, modality, output_dir, roi_margin_mm, rng)
            if table is not None:
                stated = scan_sizes(table, series_folder(patient, modality).relative_to(folder).as_posix(), folder)
                item = {key: entry for key, entry in item.items() if key not in ("size", "slice_size")} | stated
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
    propose_run(
        load_cohort(data_list, output_dir),
        ["PT" if modality is Modality.PET else modality.value],
        output_dir / "cohort.yaml",
    )
    ends = np.array([end for item in items for end in np.ravel(item.get("size", {}).get("tumour") or [])]) / MM3_PER_ML
    tumours = f"tumours of {ends.min():.1f} to {ends.max():.1f} mL" if len(ends) else "no size of a tumour is known"
    typer.echo(f"{data_list}: {len(items)} patients, {tumours}")


def patients_of(folder: Path, modality: Modality) -> list[Path]:
    """
    List the folders of the patients who have such a scan.

    Raises:
        typer.BadParameter: when there is none.
    """
    patients = sorted(path.parent for path in folder.glob(f"STS_*/{FOLDER_OF[modality]}"))
    if not patients:
        raise typer.BadParameter(f"no STS_nnn/{FOLDER_OF[modality]} below {folder}.", param_hint="FOLDER")
    return patients


def series_folder(patient: Path, modality: Modality) -> Path:
    """Return the folder of a patient's DICOM series."""
    return patient / FOLDER_OF[modality] / "image"


def prepare_scan(
    patient: Path, modality: Modality, output_dir: Path, roi_margin_mm: float, rng: np.random.Generator
) -> dict[str, Any]:
    """
    Write a patient's scan and mask.

    Returns:
        its entries of the data list: paths, ``size`` (mm³) and ``slice_size`` (mm²) of the contours, and ``roi``, a box
        around them. Its distance is ``roi_margin_mm`` ± 50 % on each side, like that of a reader's rough box.

    Raises:
        ValueError: naming the file at fault.
    """
    source = series_folder(patient, modality)
    scan = only_scan(source)
    image, by_slice, contours = contours_on_slices(source, scan)
    if modality is Modality.PET:
        image = to_suv(image, scan)
    x, y, slice_distance = image.GetSpacing()
    areas = [contour_area(polygons) * x * y for polygons in by_slice]
    mask = volume_mask(by_slice, image.GetSize()[:2]).astype(np.uint8)
    drawn = SimpleITK.GetImageFromArray(mask)
    drawn.CopyInformation(image)
    name = f"{patient.name}_{modality.value}.nii.gz"
    for kind, volume in (("images", image), ("masks", drawn)):
        write_nifti(volume, output_dir / kind / name)

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


def contours_on_slices(
    folder: Path, scan: FoundScan
) -> tuple[SimpleITK.Image, list[list[np.ndarray]], list[np.ndarray]]:
    """
    Read a scan and the tumour's contours on it.

    Args:
        folder: folder of a series; the folder ``mask`` beside it holds the contours.
        scan: that series.

    Returns:
        the image; the tumour's contours by slice, see :func:`contours_by_slice`; and in patient coordinates.

    Raises:
        ValueError: naming the file at fault.
    """
    image = read_scan(scan)
    rtstruct = _only_rtstruct(folder.with_name("mask"))
    contours = read_contours(rtstruct, ROI_NAME, scan.frame_of_reference)
    try:
        return image, contours_by_slice(contours, image), contours
    except ValueError as e:
        raise ValueError(f"{rtstruct} on {folder}: {e}") from e


def only_scan(folder: Path) -> FoundScan:
    """
    Find the only scan in a folder.

    Raises:
        ValueError: when the folder holds none or several.
    """
    scans = find_scans(folder)
    if len(scans) != 1:
        found = ", ".join(scan.source for scan in scans) or "none"
        raise ValueError(f"{folder}: found {len(scans)} scans ({found}), expected one. Leave one series in the folder.")
    return scans[0]


def _only_rtstruct(folder: Path) -> Path:
    files = sorted(folder.glob("*.dcm"))
    if len(files) != 1:
        found = ", ".join(file.name for file in files) or "none"
        raise ValueError(f"{folder}: found {found}, expected one RTSTRUCT file (.dcm). Leave the one to use there.")
    return files[0]


if __name__ == "__main__":
    typer.run(main)
