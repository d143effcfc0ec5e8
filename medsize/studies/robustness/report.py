"""Report of a study of robustness: one page that opens offline, and its tables as CSV and Parquet."""

from __future__ import annotations

import hashlib
import importlib.metadata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from medsize.bundle.run.folder import LOG
from medsize.files import atomic_write
from medsize.page_templates import page_templates
from medsize.studies.robustness import figures
from medsize.studies.robustness.analysis import (
    METRICS,
    accuracy,
    comparisons,
    crossovers,
    equally_wrong,
    volume_agreement,
)
from medsize.studies.robustness.conclusions import conclusions, dice_by_error, of_all
from medsize.studies.robustness.gallery import worst_cases
from medsize.studies.robustness.results import AS_GIVEN, CONDITION, read_cases, read_runs
from medsize.studies.robustness.statistics import RESAMPLES
from medsize.studies.robustness.study import RobustnessCell, RobustnessStudy
from medsize.units import size_text

__all__ = ["write_report"]

PACKAGES = ("medsize", "dask", "scipy", "statsmodels", "pandas")


@dataclass(frozen=True)
class Panel:
    """A figure of the page."""

    name: str
    caption: str
    svg: str
    table: str
    """Name of the CSV that it shows."""
    data: pd.DataFrame

    @property
    def columns(self) -> dict[str, str]:
        """Columns of the table beside the figure, with their titles."""
        return {name: name for name in self.data.columns if name not in ("cohort", "network", "labels")}


@dataclass(frozen=True)
class Grid:
    """Content of the page for a cohort and a network."""

    name: str
    conclusions: list[str]
    dice: pd.DataFrame
    """Dice by kind of error (rows) and level (columns), as text."""
    panels: list[Panel]
    comparisons: pd.DataFrame
    """Comparisons of the mean over the structures."""
    of_structures: pd.DataFrame
    """Comparisons of each structure, if there are several."""
    crossovers: pd.DataFrame
    agreements: pd.DataFrame

    @property
    def dice_columns(self) -> dict[str, str]:
        """Columns of the table of Dice, with their titles."""
        return {name: name for name in self.dice.columns}


def write_report(
    study: RobustnessStudy,
    study_file: Path,
    cells: Sequence[RobustnessCell],
    data_dir: Path,
    work_dir: Path,
    output_dir: Path,
    failed: Sequence[str] = (),
) -> Path | None:
    """
    Write ``report.html``, its tables as CSV and Parquet, and its figures as SVG, of all cells that are finished.

    The study's file goes beside them, as ``study.yaml``.

    Args:
        study: the study.
        study_file: its file, whose hash the methods paragraph states.
        cells: cells of the study.
        data_dir: folder that holds the cohorts.
        work_dir: folder of the runs.
        output_dir: folder to write to.
        failed: messages about failed cells.

    Returns:
        the page; ``None`` when no cell is finished.
    """
    cells = study.by_kind_of_error(cells)
    runs, cases = read_runs(study, cells, work_dir), read_cases(cells, work_dir)
    if runs.empty:
        return None
    accuracies = accuracy(cases, runs)
    tables = {
        "runs": runs,
        "cases": cases,
        "accuracy": accuracies,
        "comparisons": comparisons(cases, study),
        "equally_wrong": (differences := equally_wrong(cases, accuracies, study)),
        "crossovers": crossovers(differences),
        "volume_agreement": volume_agreement(cases),
    }
    for name, table in tables.items():
        with atomic_write(output_dir / f"{name}.csv") as file:
            table.to_csv(file, index=False, float_format="%.6g")
        with atomic_write(output_dir / f"{name}.parquet") as file:
            table.to_parquet(file, index=False)
    grids = [
        _grid(study, cohort, network, tables)
        for cohort, network in dict.fromkeys(zip(runs["cohort"], runs["network"], strict=True))
    ]
    for number, grid in enumerate(grids):
        for panel in grid.panels:
            with atomic_write(output_dir / "figures" / f"{panel.name}_{number}.svg") as file:
                file.write_text(panel.svg)
    page = _template().render(
        study=study,
        grids=grids,
        gallery=worst_cases(study, cells, data_dir, work_dir),
        failed=list(failed),
        unfinished=_unfinished(cells, work_dir),
        cells=len(cells),
        facts=_facts(study_file, runs, cases),
    )
    with atomic_write(output_dir / "study.yaml") as file:
        file.write_bytes(study_file.read_bytes())
    with atomic_write(output_dir / "report.html") as file:
        file.write_text(page)
    return output_dir / "report.html"


def _grid(study: RobustnessStudy, cohort: str, network: str, tables: dict[str, pd.DataFrame]) -> Grid:
    part = {name: _of(table, cohort, network) for name, table in tables.items()}
    accuracies, cases, differences = part["accuracy"], part["cases"], part["equally_wrong"]
    panels = [
        Panel(
            f"error_{metric}",
            f"{title[0].upper()}{title[1:]} against the realised mean relative error of the training labels: means "
            "over subjects and seeds with 95 % intervals. Sizes solid and filled, masks dashed and open."
            + (" Of the cases in which the structure was found." if metric == "hd95_mm" else ""),
            figures.error_figure(accuracies, metric, study),
            "accuracy",
            accuracies[accuracies["figure"] == metric].drop(columns=["minutes"]),
        )
        for metric, title in METRICS.items()
    ]
    if not differences.empty:
        panels.append(
            Panel(
                "difference",
                "Dice of sizes less that of masks which are equally wrong: whose voxels differ by as large a part of "
                "the structure as the sizes are off. Above 0, sizes are the better labels.",
                figures.difference_figure(differences, study),
                "equally_wrong",
                differences,
            )
        )
    if accuracies["minutes"].notna().any():
        panels.append(
            Panel(
                "minutes",
                "Dice against the minutes that annotation of all training scans takes, by the study's cost model.",
                figures.minutes_figure(accuracies, study),
                "accuracy",
                accuracies[(accuracies["figure"] == "dice") & accuracies["minutes"].notna()],
            )
        )
    shown = _of_interest(study, cases)
    agreements = part["volume_agreement"]
    if not shown.empty:
        panels.append(
            Panel(
                "agreement",
                "Bland–Altman plots of predicted against true volumes, by the networks of all seeds: bias, and limits "
                "of agreement of a single network (dashed). Labels as given, and the first level of the first kind of "
                "noise.",
                figures.agreement_figure(shown, agreements),
                "volume_agreement",
                agreements[agreements["labels"].isin(shown["labels"])],
            )
        )
    return Grid(
        f"{cohort}, {network}",
        conclusions(study, part),
        dice_by_error(accuracies, part["comparisons"], len(study.seeds)),
        panels,
        of_all(part["comparisons"]),
        part["comparisons"].drop(of_all(part["comparisons"]).index),
        part["crossovers"],
        agreements,
    )


def _of(table: pd.DataFrame, cohort: str, network: str) -> pd.DataFrame:
    if table.empty:
        return table
    return table[(table["cohort"] == cohort) & (table["network"] == network)]


def _of_interest(study: RobustnessStudy, cases: pd.DataFrame) -> pd.DataFrame:
    """Return the labels as given and the first condition with noise of each supervision."""
    is_shown = cases["noise"] == AS_GIVEN
    for name, supervision in study.supervision.items():
        for kind, levels in list(supervision.noise.items())[:1]:
            of_kind = (cases["supervision"] == name) & (cases["noise"] == kind)
            is_shown |= of_kind & (cases["level"] == levels[0] if levels else True)
    return cases[is_shown]


def _unfinished(cells: Sequence[RobustnessCell], work_dir: Path) -> list[str]:
    """Return the cells without results, with the log of those that have started."""
    missing = []
    for cell in cells:
        folder = cell.folder(work_dir)
        if not cell.is_finished(work_dir):
            log = folder.relative_to(work_dir) / LOG
            missing.append(f"{cell}" + (f", begun: {log} in the work folder" if (folder / LOG).is_file() else ""))
    return missing


def _facts(study_file: Path, runs: pd.DataFrame, cases: pd.DataFrame) -> dict[str, Any]:
    """Return the facts for the methods paragraph."""
    hashes = {cohort: list(group["data_list_sha256"].unique()) for cohort, group in runs.groupby("cohort")}
    cohorts = []
    for cohort, group in runs.groupby("cohort", sort=False):
        of_cohort = cases[cases["cohort"] == cohort]
        images = of_cohort[["subject", "image"]].drop_duplicates()
        scans = " to ".join(dict.fromkeys(str(n) for n in (group["scans"].min(), group["scans"].max())))
        cohorts.append(
            f"{cohort}: trained on {scans} scans, evaluated on {len(images)} scans of {images['subject'].nunique()} "
            "other subjects"
        )
    per_condition = runs.groupby(CONDITION)["seed"].nunique()
    return {
        "networks": ", ".join(runs["network"].unique()),
        "runs": len(runs),
        "cohorts": "; ".join(cohorts),
        "seeds": ", ".join(str(seed) for seed in sorted(runs["seed"].unique())),
        "fewest_seeds": per_condition.min(),
        "most_seeds": per_condition.max(),
        "run_versions": "; ".join(runs["versions"].unique()),
        "versions": ", ".join(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES),
        "data_lists": "; ".join(f"{cohort}: {', '.join(found)}" for cohort, found in hashes.items()),
        "mixed_cohorts": [cohort for cohort, found in hashes.items() if len(found) > 1],
        "study_file": hashlib.sha256(study_file.read_bytes()).hexdigest(),
        "resamples": RESAMPLES,
    }


def _template() -> Any:
    environment = page_templates("medsize.studies.robustness")
    environment.lstrip_blocks = True
    environment.filters |= {"figure": _figure, "p": _p}
    return environment.get_template("report.html.j2")


def _figure(value: Any) -> str:
    """Return the text of a table's cell."""
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, float):
        return "–" if pd.isna(value) else size_text(value)
    return "–" if value is None else str(value)


def _p(value: float) -> str:
    return "–" if pd.isna(value) else "< 0.001" if value < 0.001 else f"{value:.3f}"
