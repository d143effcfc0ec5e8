"""Size error of the final network on scans never trained on, against predictors that look at no scan."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from medsize.bundle.run.folder import METRICS
from medsize.checks.plausibility.cohort import size_volumes
from medsize.data.cohort import Cohort
from medsize.fit.plan import Plan
from medsize.fit.stages import shortened_to
from medsize.metrics.size_error import relative_size_error
from medsize.units import MM3_PER_ML

__all__ = ["FinalError", "by_fold_or_case", "final_error", "validation_cases", "what_helps"]


class FinalError(NamedTuple):
    """Mean relative size error of the final network, and of the better of two predictors that look at no scan."""

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
    Compare the size error of the final network with the lower one of two predictors that look at no scan.

    One says the training scans' mean size for every scan. The other finds nothing, so that its error is 1.

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
    means = pd.concat([_mean_sizes(cohort, stage.fold).rename(stage.folder) for stage in plan.results], axis=1)
    said = [means.loc[row.structure, row.fold] for row in cases.itertuples()]
    errors = relative_size_error(said, cases["true_low_ml"].tolist(), cases["true_high_ml"].tolist()).numpy()
    averaged = by_fold_or_case(cases.assign(mean_size=errors), ["relative_size_error", "mean_size"])
    network, mean_size = (float(values.mean()) for values in averaged.values())
    scans = int(cases["image"].nunique())
    if mean_size < 1:
        return FinalError(network, mean_size, "the training scans' mean size, said for every scan", scans)
    return FinalError(network, 1.0, "finding nothing", scans)


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


def _mean_sizes(cohort: Cohort, fold: int | None) -> pd.Series:
    """Return the mean known size of each structure in the training scans of a fold, mL."""
    held_out = {item["image"] for item in cohort.validation_items(fold)}
    sized = [item for item in cohort.items if item["image"] not in held_out and "volume_mm3" in item]
    return pd.DataFrame([size_volumes(item) for item in sized], columns=cohort.class_names[1:]).mean() / MM3_PER_ML
