"""Pictures of the worst cases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd

from medsize.bundle.run.folder import MASKS, METRICS
from medsize.data.load_cohort import load_cohort
from medsize.pictures import data_url, fullest_slice, slice_png
from medsize.studies.robustness.study import RobustnessCell, RobustnessStudy

__all__ = ["Failure", "worst_cases"]


@dataclass(frozen=True)
class Failure:
    """A case that a cell segments badly."""

    title: str
    picture: str
    """PNG as a data URL: the slice with most wrong voxels, truth solid and prediction dashed."""


def worst_cases(
    study: RobustnessStudy, cells: Sequence[RobustnessCell], data_dir: Path, work_dir: Path
) -> list[Failure]:
    """
    Return the cases with the smallest Dice among all cells with masks, only the worst one of each subject.

    Args:
        study: study that states the number of cases.
        cells: cells of the study.
        data_dir: folder that holds the cohorts.
        work_dir: folder of the runs.
    """
    tables = []
    for number, cell in enumerate(cells):
        folder = cell.folder(work_dir)
        if study.gallery and cell.is_finished(work_dir) and (folder / MASKS).is_dir():
            table = pd.read_csv(folder / METRICS, dtype={"subject": str})
            dice = table.groupby(["subject", "image"])["dice"].mean().dropna().reset_index()
            tables.append(dice.assign(cell=number, cohort=cell.cohort))
    if not tables:
        return []
    worst = pd.concat(tables).sort_values("dice").drop_duplicates(["cohort", "subject"]).head(study.gallery)
    failures = []
    for row in worst.itertuples():
        cell = cells[row.cell]
        places = study.cohort(cell).locations(data_dir, work_dir)
        cohort = load_cohort(places["data_list"], places["dataset_dir"])
        for item in cohort.items:  # of whichever fold: only what was validated on has a predicted mask
            # By its place in the data set, which may have moved since the run.
            place = Path(item["image"]).relative_to(places["dataset_dir"])
            mask = cell.folder(work_dir) / MASKS / place
            if Path(row.image).parts[-len(place.parts) :] == place.parts and "label" in item and mask.is_file():
                picture = _picture(Path(item["image"]), Path(item["label"]), mask)
                title = f"{row.subject}, Dice {row.dice:.2f}: {cell.labels}, seed {cell.seed}"
                failures.append(Failure(title, picture))
    return failures


def _picture(image_file: Path, truth_file: Path, mask_file: Path) -> str:
    image, truth, mask = (_volume(file) for file in (image_file, truth_file, mask_file))
    z = fullest_slice(truth != mask)
    shown = np.argwhere((truth > 0) | (mask > 0))[:, :2]
    low, high = np.maximum(shown.min(axis=0) - 15, 0), shown.max(axis=0) + 16
    window = (slice(low[0], high[0]), slice(low[1], high[1]), z)
    spacing = nibabel.load(image_file).header.get_zooms()[:2]
    picture = slice_png(image[window], [(truth[window], "solid"), (mask[window], "dashed")], spacing)
    return data_url(picture, "image/png")


def _volume(file: Path) -> np.ndarray:
    """Read three axes of the first channel."""
    data = np.asarray(nibabel.load(file).dataobj)
    return data.reshape(*data.shape[:3], *(1,) * (3 - data.ndim), -1)[..., 0]
