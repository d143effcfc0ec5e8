"""
Prepare a task of the Medical Segmentation Decathlon, or any folder in its layout.

    python -m data_prep.msd FOLDER --output-dir OUT [--download] [--clicks | --one-click]

FOLDER is a task's folder, with ``dataset.json``. OUT gets ``datalist.json``, with sizes measured in the masks and all
scans of a subject in one fold, and ``cohort.yaml`` for ``medsize fit``. With ``--download``, MONAI first fetches the
task of FOLDER's name.

Antonelli et al. "The Medical Segmentation Decathlon". Nature Communications 2022. Licence of the data: CC BY-SA 4.0.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated, Any

import typer

from data_prep.clicks import clicks_in
from medsize.cohort.proposal import propose_run
from medsize.cohort.structures import decathlon_labels
from medsize.data import assign_folds, describe_scans, load_cohort


def main(
    folder: Annotated[Path, typer.Argument(help="The task's folder, such as Task04_Hippocampus.")],
    output_dir: Annotated[Path, typer.Option(help="Folder to write datalist.json to.")],
    download: Annotated[bool, typer.Option(help="Fetch the task through MONAI if FOLDER does not exist.")] = False,
    folds: Annotated[int, typer.Option(help="Number of folds.", min=2)] = 5,
    clicks: Annotated[bool, typer.Option(help="Simulate one click per class and slice.")] = False,
    one_click: Annotated[bool, typer.Option(help="Simulate one click in each structure of each scan.")] = False,
    roi_shift_mm: Annotated[
        float | None,
        typer.Option(help="Also state a region of interest, shifted at random by up to so many mm."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the shifts.")] = 0,
) -> None:
    """Write a data list for a Decathlon task."""
    if download and not folder.is_dir():
        _download(folder)
    description = folder / "dataset.json"
    if not description.is_file():
        raise typer.BadParameter(f"{description} does not exist: not a Decathlon task.", param_hint="FOLDER")
    try:
        class_names = decathlon_labels(folder)
    except ValueError as e:
        raise typer.BadParameter(str(e), param_hint="FOLDER") from e
    task: dict[str, Any] = json.loads(description.read_text())
    scans = [
        {
            "image": scan["image"].removeprefix("./"),
            "label": scan["label"].removeprefix("./"),
            "subject": subject_of(scan["image"]),
        }
        for scan in task["training"]
    ]
    if one_click and clicks:
        raise typer.BadParameter("got both --clicks and --one-click. Choose one.", param_hint="--one-click")
    if one_click:
        scans = [{**scan, "clicks": clicks_in(folder / scan["label"], class_names)} for scan in scans]
    fold_of = assign_folds([scan["subject"] for scan in scans], folds)
    data_list = output_dir / "datalist.json"
    describe_scans(
        data_list,
        folder,
        [{**scan, "fold": fold_of[scan["subject"]]} for scan in scans],
        class_names,
        roi_shift_mm=roi_shift_mm,
        click_dir=output_dir / "clicks" if clicks else None,
        seed=seed,
        **{key: task[key] for key in ("name", "description", "reference", "licence") if key in task},
    )
    propose_run(load_cohort(data_list, folder), [], output_dir / "cohort.yaml", dataset_dir=folder)
    typer.echo(f"{data_list}: {len(scans)} scans of {len(fold_of)} subjects")


def subject_of(image: str) -> str:
    """
    Return the subject of a scan, from its file name.

    Each scan is a subject of its own, except in the hippocampus task: its ids 2k − 1 and 2k are most likely the two
    sides of one subject.
    """
    name = Path(image).name.split(".")[0]
    side = re.fullmatch(r"hippocampus_(\d+)", name)
    return name if side is None else f"hippocampus_pair_{(int(side[1]) + 1) // 2:03d}"


def _download(folder: Path) -> None:
    from monai.apps import DecathlonDataset, download_and_extract

    if folder.name not in DecathlonDataset.resource:
        known = ", ".join(DecathlonDataset.resource)
        raise typer.BadParameter(f"{folder.name} is not a Decathlon task, expected {known}.", param_hint="FOLDER")
    download_and_extract(
        DecathlonDataset.resource[folder.name],
        folder.with_suffix(".tar"),
        folder.parent,
        DecathlonDataset.md5[folder.name],
    )


if __name__ == "__main__":
    typer.run(main)
