"""
Prepare CHAOS: abdominal T2 MR (SPIR) with liver, kidneys and spleen.

    python -m data_prep.chaos FOLDER --output-dir OUT [--validation-fold 0] [--clicks 3]

FOLDER holds ``MR/N/T2SPIR/DICOM_anon/*.dcm`` with ``Ground/*.png``, at any depth, as the challenge ships them; or
``images/*.nii.gz`` with ``masks/*.nii.gz``. DICOM becomes NIfTI below OUT, under the subject's number alone. OUT gets
``datalist.json``, with sizes measured in the masks. With ``--clicks`` the first so many training scans get one
simulated click for each organ, in scanner mm. ``cohort.yaml`` beside it is for ``medsize fit``.

Kavur et al. "CHAOS Challenge - combined (CT-MR) healthy abdominal organ segmentation". Medical Image Analysis 2021.
Licence of the data: CC BY-SA 4.0.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import SimpleITK
import typer
from PIL import Image

from data_prep.clicks import clicks_in
from data_prep.folds import folds_from
from data_prep.ibsi_sts import only_scan
from medsize.cohort.proposal import propose_run
from medsize.data import DataListError, describe_scans, load_cohort
from medsize.scans.find_scans import read_scan
from medsize.scans.image_file import write_nifti

CLASSES = ("background", "liver", "right kidney", "left kidney", "spleen")
GREY_VALUES = ((55, 70), (110, 135), (175, 200), (240, 255))
"""Range of values of each organ in the challenge's PNG files."""


def main(
    folder: Annotated[Path, typer.Argument(help="Folder that holds the scans.", exists=True)],
    output_dir: Annotated[Path, typer.Option(help="Folder to write datalist.json to.")],
    folds: Annotated[int, typer.Option(help="Number of folds.", min=2)] = 5,
    validation_fold: Annotated[int, typer.Option(help="Fold that gets the number 0.", min=0)] = 0,
    clicks: Annotated[int, typer.Option(help="Number of training scans with a click for each organ.", min=0)] = 0,
) -> None:
    """Write a data list for CHAOS."""
    dataset_dir, names = _nifti_layout(folder) or _official_layout(folder, output_dir)
    fold_of = folds_from(names, folds, validation_fold)
    training = [name for name in names if fold_of[name] > 0]
    if clicks > len(training):
        raise typer.BadParameter(f"got {clicks}, but there are {len(training)} training scans.", param_hint="--clicks")
    scans: list[dict[str, Any]] = []
    for name in names:
        scan: dict[str, Any] = {
            "image": os.path.relpath(dataset_dir / "images" / f"{name}.nii.gz", dataset_dir),
            "label": os.path.relpath(dataset_dir / "masks" / f"{name}.nii.gz", dataset_dir),
            "subject": name,
            "fold": fold_of[name],
        }
        if name in training[:clicks]:
            scan["clicks"] = clicks_in(dataset_dir / scan["label"], CLASSES)
        scans.append(scan)
    data_list = output_dir / "datalist.json"
    describe_scans(
        data_list,
        dataset_dir,
        scans,
        CLASSES,
        name="CHAOS, T2 MR",
        licence="CC BY-SA 4.0",
        reference="Kavur et al., Medical Image Analysis 2021",
    )
    propose_run(load_cohort(data_list, dataset_dir), ["MR"], output_dir / "cohort.yaml", dataset_dir=dataset_dir)
    clicked = f", {clicks} of them with clicks" if clicks else ""
    typer.echo(f"{data_list}: {len(scans)} scans{clicked}; paths from {dataset_dir}")


def _nifti_layout(folder: Path) -> tuple[Path, list[str]] | None:
    names = sorted(file.name.removesuffix(".nii.gz") for file in folder.glob("masks/*.nii.gz"))
    return (folder, names) if names else None


def _official_layout(folder: Path, output_dir: Path) -> tuple[Path, list[str]]:
    """Convert DICOM and PNG files; return the folder of the result, and the names of the scans."""
    found = sorted(path for path in folder.rglob("T2SPIR") if (path / "Ground").is_dir())
    if not found:
        raise typer.BadParameter(
            f"found no masks/*.nii.gz and no MR/N/T2SPIR/Ground below {folder}. Name the folder that holds them.",
            param_hint="FOLDER",
        )
    names, problems = [], []
    for path in found:
        name = f"chaos_{int(path.parent.name):02d}" if path.parent.name.isdigit() else path.parent.name
        try:
            _convert(path, output_dir, name)
        except ValueError as e:
            problems.append(str(e))
        names.append(name)
    if problems:
        raise SystemExit(f"{DataListError(folder, problems)}\nNo data list was written. Mend or remove these scans.")
    return output_dir, sorted(names)


def _convert(source: Path, output_dir: Path, name: str) -> None:
    """
    Write a scan and its mask.

    Raises:
        ValueError: naming the file at fault.
    """
    scan = only_scan(source / "DICOM_anon")
    drawn = {file.stem: file for file in (source / "Ground").glob("*.png")}
    if missing := [file.name for file in scan.files if file.stem not in drawn]:
        raise ValueError(
            f"{source / 'Ground'}: found no PNG for {missing[0]} ({len(missing)} of {len(scan.files)} slices), "
            "expected one of the same name for each slice. Unpack the set again."
        )
    image = read_scan(scan)
    mask = SimpleITK.GetImageFromArray(np.stack([_classes(drawn[file.stem]) for file in scan.files]))
    if mask.GetSize() != image.GetSize():
        raise ValueError(
            f"{source}: found masks of {mask.GetSize()} voxels, expected {image.GetSize()} as in the scan. Unpack the "
            "set again."
        )
    mask.CopyInformation(image)
    for kind, volume in (("images", image), ("masks", mask)):
        write_nifti(volume, output_dir / kind / f"{name}.nii.gz")


def _classes(png: Path) -> np.ndarray:
    """Return the class indices of a slice."""
    grey = np.asarray(Image.open(png).convert("L"))
    classes = np.zeros(grey.shape, dtype=np.uint8)
    for index, (low, high) in enumerate(GREY_VALUES, start=1):
        classes[(grey >= low) & (grey <= high)] = index
    if (other := np.unique(grey[(classes == 0) & (grey > 0)])).size:
        raise ValueError(f"{png}: found the values {other[:5].tolist()}, expected 0 and those of the four organs.")
    return classes


if __name__ == "__main__":
    typer.run(main)
