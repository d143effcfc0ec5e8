"""
Prepare ACDC, the cardiac MR of the Automated Cardiac Diagnosis Challenge.

    python -m data_prep.acdc FOLDER --output-dir OUT [--validation 46-60] [--clicks] [--structure 'left ventricle']

FOLDER holds ``patientNNN/patientNNN_frameMM.nii.gz`` with ``…_gt.nii.gz`` masks, at any depth, as the challenge ships
them. ``…_scribble.nii.gz`` files beside them are used, too. OUT gets ``datalist.json``, with sizes measured in the
masks and all scans of a patient in one fold. Its regions of interest are like those of one click on the heart.
``cohort.yaml`` beside it is for ``medsize fit``.

Bernard et al. "Deep Learning Techniques for Automatic MRI Cardiac Multi-Structures Segmentation and Diagnosis".
IEEE Transactions on Medical Imaging 2018. Licence of the data: CC BY-NC-SA 4.0.
"""

from __future__ import annotations

import glob
import os
import re
from pathlib import Path
from typing import Annotated, Any

import nibabel
import numpy as np
import typer

from medsize.cohort.proposal import propose_run
from medsize.data import assign_folds, describe_scans, load_cohort
from medsize.files import atomic_write, is_newer
from medsize.losses import IGNORE_INDEX

CLASSES = ("background", "right ventricle", "myocardium", "left ventricle")
SCRIBBLE_UNLABELLED = 4


def main(
    folder: Annotated[Path, typer.Argument(help="Folder that holds the patients' folders.", exists=True)],
    output_dir: Annotated[Path, typer.Option(help="Folder to write datalist.json to.")],
    validation: Annotated[
        str | None,
        typer.Option(help="Patients of fold 0, such as 46-60. Default: dealt out to the folds in turn."),
    ] = None,
    without: Annotated[list[int] | None, typer.Option(help="Number of a patient to leave out.")] = None,
    folds: Annotated[int, typer.Option(help="Number of folds.", min=2)] = 4,
    clicks: Annotated[
        bool, typer.Option(help="Simulate one click per class and slice, in place of scribbles.")
    ] = False,
    structure: Annotated[
        str | None, typer.Option(help="Keep one structure only, such as 'left ventricle', in masks below OUT.")
    ] = None,
    roi_shift_mm: Annotated[float, typer.Option(help="Largest random shift of the region of interest.")] = 12.0,
    seed: Annotated[int, typer.Option(help="Seed of the shifts.")] = 0,
) -> None:
    """Write a data list for ACDC."""
    pattern = "**/patient*_frame*_gt.nii.gz"
    masks = sorted(folder / file for file in glob.glob(pattern, root_dir=folder, recursive=True))  # it follows links
    left_out = {f"patient{number:03d}" for number in without or ()}
    masks = [mask for mask in masks if mask.name.split("_")[0] not in left_out]
    if not masks:
        raise typer.BadParameter(f"no patientNNN_frameMM_gt.nii.gz below {folder}.", param_hint="FOLDER")
    if structure is not None and structure not in CLASSES[1:]:
        raise typer.BadParameter(
            f"got {structure}, expected one of {', '.join(CLASSES[1:])}.", param_hint="--structure"
        )
    subjects = {mask: mask.name.split("_")[0] for mask in masks}
    fold_of = _folds(sorted(set(subjects.values())), validation, folds)
    drawn_scribbles = not clicks and structure is None  # they show all structures
    scans = []
    for mask in masks:
        image = mask.with_name(mask.name.replace("_gt", ""))
        label = mask if structure is None else _keep_structure(mask, structure, output_dir)
        scan: dict[str, Any] = {
            "image": str(image.relative_to(folder)),
            "label": os.path.relpath(label, folder),
            "subject": subjects[mask],
            "fold": fold_of[subjects[mask]],
        }
        scribble = mask.with_name(mask.name.replace("_gt", "_scribble"))
        if drawn_scribbles and scribble.is_file():
            scan["scribble"] = str(scribble.relative_to(folder))
        scans.append(scan)
    data_list = output_dir / "datalist.json"
    describe_scans(
        data_list,
        folder,
        scans,
        CLASSES if structure is None else ("background", structure),
        roi_shift_mm=roi_shift_mm,
        click_dir=output_dir / _of("clicks", structure) if clicks else None,
        seed=seed,
        name="ACDC",
        licence="CC BY-NC-SA 4.0",
        reference="Bernard et al., IEEE TMI 2018",
        scribble_unlabelled=SCRIBBLE_UNLABELLED if drawn_scribbles else IGNORE_INDEX,
    )
    propose_run(load_cohort(data_list, folder), ["MR"], output_dir / "cohort.yaml", dataset_dir=folder)
    typer.echo(f"{data_list}: {len(scans)} scans of {len(fold_of)} patients")


def _keep_structure(mask_file: Path, structure: str, output_dir: Path) -> Path:
    """Write the mask of one structure, in a folder of its own; one that is newer than the whole mask is kept."""
    file = output_dir / _of("masks", structure) / mask_file.name
    if not is_newer(file, mask_file):
        mask = nibabel.load(mask_file)
        kept = (np.asarray(mask.dataobj) == CLASSES.index(structure)).astype(np.uint8)
        with atomic_write(file) as partial:
            nibabel.save(nibabel.Nifti1Image(kept, mask.affine), partial)
    return file


def _of(kind: str, structure: str | None) -> str:
    """Folder of masks or clicks, of all structures or of one."""
    return kind if structure is None else f"{kind}_{structure.replace(' ', '_')}"


def _folds(subjects: list[str], validation: str | None, num_folds: int) -> dict[str, int]:
    if validation is None:
        return assign_folds(subjects, num_folds)
    match = re.fullmatch(r"(\d+)-(\d+)", validation)
    if match is None:
        raise typer.BadParameter(f"got {validation}, expected a range such as 46-60.", param_hint="--validation")
    first, last = (int(number) for number in match.groups())
    held_out = {s for s in subjects if first <= int(s.removeprefix("patient")) <= last}
    if not held_out or len(held_out) == len(subjects):
        raise typer.BadParameter(f"{validation} leaves no patient on one side.", param_hint="--validation")
    others = assign_folds([s for s in subjects if s not in held_out], num_folds - 1)
    return dict.fromkeys(held_out, 0) | {s: fold + 1 for s, fold in others.items()}


if __name__ == "__main__":
    typer.run(main)
