"""Size error of the final network on scans never trained on, against predictors that look at no scan."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from medsize.bundle.run.folder import METRICS
from medsize.bundle.run.summary import RunSummary
from medsize.checks.plausibility.cohort import size_volumes
from medsize.data.cohort import Cohort
from medsize.fit.plan import Plan, Stage
from medsize.fit.stages import shortened_to
from medsize.metrics.size_error import relative_size_error
from medsize.scans.scan_facts import image_place
from medsize.units import MM3_PER_ML

__all__ = ["FinalError", "better_teacher", "by_fold_or_case", "final_error", "validation_cases", "what_helps"]

VIEW = "view of the scan"
"""Column of sizes."""
CLEARLY_BETTER = 0.8
"""Size error of a teacher, relative to that of its student, below which the reader is told."""


class FinalError(NamedTuple):
    """Mean relative size error of the final network, and of the best of the predictors that look at no scan."""

    network: float
    blind: float
    """Error of that predictor on the same scans."""
    predictor: str
    """Its name for a reader."""
    scans: int

    @property
    def is_useless(self) -> bool:
        """True if the network's sizes are no better than those of the predictor."""
        return self.network >= self.blind

    def __str__(self) -> str:
        text = f"size error {self.network:.2f} on {self.scans} scan{'s' if self.scans > 1 else ''} never trained on"
        if self.is_useless:
            return f"{text}, no better than {self.predictor}: {self.blind:.2f}. Do not use or share it as it is."
        return f"{text}; {self.predictor}: {self.blind:.2f}"


def final_error(cases: pd.DataFrame, cohort: Cohort, plan: Plan) -> FinalError | None:
    """
    Compare the size error of the final network with the lowest one of predictors that look at no scan.

    They say the training scans' mean size, or their mean fraction of the view, for every scan, or find nothing.

    Args:
        cases: from :func:`validation_cases`.
        cohort: the cohort.
        plan: plan of the fit.

    Returns:
        both errors; ``None`` if no size is known.
    """
    cases = cases[cases["relative_size_error"].notna()]
    if cases.empty:
        return None
    sizes = {stage.folder: _training_sizes(cohort, stage.fold) for stage in plan.results}
    views = {image: _view_ml(image) for image in cases["image"].unique()}
    rows = [(sizes[row.fold], row.structure, views[row.image]) for row in cases.itertuples()]
    said = {
        "the training scans' mean size, said for every scan": [known[name].mean() for known, name, _ in rows],
        "the training scans' mean fraction of the view, said for every scan": [
            (known[name] / known[VIEW]).mean() * view for known, name, view in rows
        ],
        "finding nothing": [0.0] * len(rows),
    }
    ends = cases["true_low_ml"].tolist(), cases["true_high_ml"].tolist()
    errors = {name: relative_size_error(blind, *ends).numpy() for name, blind in said.items()}
    averaged = by_fold_or_case(cases.assign(**errors), ["relative_size_error", *errors])
    found = {name: float(values.mean()) for name, values in averaged.items()}
    predictor = min(said, key=lambda name: (math.isnan(found[name]), round(found[name], 6)))
    return FinalError(found["relative_size_error"], found[predictor], predictor, int(cases["image"].nunique()))


def better_teacher(plan: Plan, output_dir: Path) -> tuple[Stage, float] | None:
    """
    Return the teacher of the first fold whose sizes are clearly better than those of the network that it taught.

    Args:
        plan: plan of the fit.
        output_dir: folder of the fit, whose trainings have finished.

    Returns:
        the best such teacher and its mean relative size error; ``None`` if there is none.
    """
    result = plan.results[0]
    errors = {
        stage.folder: (stage, error)
        for stage in plan.trainings
        if stage.fold == result.fold
        and (error := RunSummary.read(output_dir / stage.folder).results.relative_size_error.mean) is not None
    }
    if result.folder not in errors:
        return None
    best, error = min(errors.values(), key=lambda found: found[1])
    return (best, error) if error < CLEARLY_BETTER * errors[result.folder][1] else None


def what_helps(plan: Plan, output_dir: Path) -> str:
    """Return what to do about a network that is useless."""
    if any(shortened_to(stage, output_dir / stage.folder) for stage in plan.trainings):
        return "Train longer: with a larger --time-limit, or without it, and with another --output-dir."
    return "Look at the pictures in report.html. Clicks in three scans help most, then more scans."


def validation_cases(plan: Plan, output_dir: Path) -> pd.DataFrame:
    """Return the metrics of the final networks, a row for each scan and structure, with run and fold."""
    return pd.concat(
        [
            pd.read_csv(output_dir / stage.folder / METRICS, dtype={"subject": str}).assign(
                run=str(output_dir / stage.folder), fold=stage.folder
            )
            for stage in plan.results
        ],
        ignore_index=True,
    )


def by_fold_or_case(cases: pd.DataFrame, metrics: Iterable[str]) -> dict[str, pd.Series]:
    """Return the values to average: a mean for each fold if there are several, else of each scan."""
    key = "fold" if cases["fold"].nunique() > 1 else "image"
    return {metric: cases.groupby(key, sort=False)[metric].mean() for metric in metrics}


def _training_sizes(cohort: Cohort, fold: int | None) -> pd.DataFrame:
    """Return the known sizes of the training scans of a fold, a column for each structure and one for the view, mL."""
    held_out = {item["image"] for item in cohort.validation_items(fold)}
    sized = [item for item in cohort.items if item["image"] not in held_out and "volume_mm3" in item]
    known = pd.DataFrame([size_volumes(item) for item in sized], columns=cohort.class_names[1:]) / MM3_PER_ML
    return known.assign(**{VIEW: [_view_ml(item["image"]) for item in sized]})


def _view_ml(image: str) -> float:
    return image_place(image).view_mm3 / MM3_PER_ML
