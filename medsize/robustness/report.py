"""The report of a study: one page that opens offline, and its figures as CSV and Parquet."""

from __future__ import annotations

import hashlib
import importlib.metadata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined

from medsize.data.whole_file import written_whole
from medsize.keeper import is_finished
from medsize.robustness import figures
from medsize.robustness.analysis import (
    FIGURES,
    accuracy,
    comparisons,
    crossovers,
    equally_wrong,
    volume_agreement,
)
from medsize.robustness.gallery import worst_cases
from medsize.robustness.results import AS_GIVEN, read_cases, read_runs
from medsize.robustness.statistics import ALL, RESAMPLES
from medsize.robustness.study import Cell, Study

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
        """Of the table beside the figure, with their titles."""
        return {name: name for name in self.data.columns if name not in ("cohort", "network", "labels")}


@dataclass(frozen=True)
class Grid:
    """What is told of a cohort and a network."""

    name: str
    answers: list[str]
    panels: list[Panel]
    comparisons: pd.DataFrame
    crossovers: pd.DataFrame
    agreements: pd.DataFrame


def write_report(
    study: Study,
    study_file: Path,
    cells: Sequence[Cell],
    data_dir: Path,
    work_dir: Path,
    output_dir: Path,
    failed: Sequence[str] = (),
) -> Path | None:
    """
    Write ``report.html``, its tables as CSV and Parquet, and its figures as SVG, of all cells that are finished.

    The study's file goes beside them, as ``study.yaml``.

    Args:
        study: what was run.
        study_file: its file, whose hash the methods paragraph states.
        cells: of the study.
        data_dir: folder that holds the cohorts.
        work_dir: folder of the runs.
        output_dir: folder to write to.
        failed: what is to be told of cells that failed.

    Returns:
        the page; ``None`` when no cell is finished.
    """
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
        with written_whole(output_dir / f"{name}.csv") as file:
            table.to_csv(file, index=False, float_format="%.6g")
        with written_whole(output_dir / f"{name}.parquet") as file:
            table.to_parquet(file, index=False)
    grids = [
        _grid(study, cohort, network, tables)
        for cohort, network in dict.fromkeys(zip(runs["cohort"], runs["network"], strict=True))
    ]
    for number, grid in enumerate(grids):
        for panel in grid.panels:
            with written_whole(output_dir / "figures" / f"{panel.name}_{number}.svg") as file:
                file.write_text(panel.svg)
    page = _template().render(
        study=study,
        grids=grids,
        gallery=worst_cases(study, cells, data_dir, work_dir),
        failed=list(failed),
        unfinished=[str(cell) for cell in cells if not is_finished(cell.folder(work_dir))],
        cells=len(cells),
        facts=_facts(study_file, runs, accuracies),
    )
    with written_whole(output_dir / "study.yaml") as file:
        file.write_bytes(study_file.read_bytes())
    with written_whole(output_dir / "report.html") as file:
        file.write_text(page)
    return output_dir / "report.html"


def _grid(study: Study, cohort: str, network: str, tables: dict[str, pd.DataFrame]) -> Grid:
    part = {name: _of(table, cohort, network) for name, table in tables.items()}
    accuracies, cases, differences = part["accuracy"], part["cases"], part["equally_wrong"]
    panels = [
        Panel(
            f"error_{figure}",
            f"{title[0].upper()}{title[1:]} against the realised mean relative error of the training labels: means "
            "over subjects and seeds with 95 % intervals. Sizes solid and filled, masks dashed and open.",
            figures.error_figure(accuracies, figure, study),
            "accuracy",
            accuracies[accuracies["figure"] == figure].drop(columns=["minutes"]),
        )
        for figure, title in FIGURES.items()
    ]
    if not differences.empty:
        panels.append(
            Panel(
                "difference",
                "Dice of sizes less that of masks which are equally wrong. Above 0, sizes are the better labels.",
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
    panels.append(
        Panel(
            "agreement",
            "Bland–Altman plots of predicted against true volumes, means of the seeds: bias, and limits of agreement "
            "(dashed). Labels as given, and the first level of the first kind of noise.",
            figures.agreement_figure(shown, agreements),
            "volume_agreement",
            agreements[agreements["labels"].isin(shown["labels"])],
        )
    )
    answers = _answers(study, part)
    return Grid(f"{cohort}, {network}", answers, panels, part["comparisons"], part["crossovers"], agreements)


def _of(table: pd.DataFrame, cohort: str, network: str) -> pd.DataFrame:
    if table.empty:
        return table
    return table[(table["cohort"] == cohort) & (table["network"] == network)]


def _of_interest(study: Study, cases: pd.DataFrame) -> pd.DataFrame:
    """Of each supervision the clean labels, and the first condition with noise."""
    labels = []
    for name in study.supervision:
        found = cases.loc[cases["supervision"] == name, ["noise", "labels"]].drop_duplicates()
        labels += list(found.loc[found["noise"] == AS_GIVEN, "labels"])
        labels += list(found.loc[found["noise"] != AS_GIVEN, "labels"][:1])
    return cases[cases["labels"].isin(labels)]


def _answers(study: Study, part: dict[str, pd.DataFrame]) -> list[str]:
    """What a reader wants to know, in sentences; of the mean over the structures."""
    accuracies, answers = part["accuracy"], []
    structure = ALL if ALL in set(accuracies["structure"]) else accuracies["structure"].iloc[0]
    of_dice = accuracies[(accuracies["figure"] == "dice") & (accuracies["structure"] == structure)]
    for row in of_dice[of_dice["noise"] == AS_GIVEN].itertuples():
        answers.append(f"{row.labels}: Dice {row.mean:.3f} ({row.low:.3f} to {row.high:.3f}).")
    against = part["comparisons"]
    if not against.empty:
        against = against[against["structure"] == structure]
        for row in against[(against["supervision"] == against["reference"])].itertuples():
            if study.supervision[row.supervision].noise_on == "sizes":
                answers.append(
                    f"{row.labels} instead of {row.reference} as given: {_signed(row.mean)} Dice "
                    f"({_signed(row.low)} to {_signed(row.high)})"
                    + (
                        f", not inferior by the margin of {study.non_inferiority_margin:g}."
                        if row.non_inferior
                        else "."
                    )
                )
    overtaking = part["crossovers"]
    if not overtaking.empty:
        for row in overtaking[overtaking["structure"] == structure].itertuples():
            found = (
                f"do not overtake them up to an mRE of {row.compared_up_to:.2f}."
                if pd.isna(row.overtakes_at)
                else f"are at least as good from an mRE of {row.overtakes_at:.2f} on."
            )
            answers.append(f"Against equally wrong {row.masks}, {row.supervision} ({row.noise}) {found}")
    return answers


def _facts(study_file: Path, runs: pd.DataFrame, accuracies: pd.DataFrame) -> dict[str, Any]:
    """For the methods paragraph."""
    hashes = {cohort: ", ".join(group["data_list_sha256"].unique()) for cohort, group in runs.groupby("cohort")}
    return {
        "networks": ", ".join(runs["network"].unique()),
        "runs": len(runs),
        "scans": runs["scans"].max(),
        "subjects": accuracies["subjects"].max(),
        "seeds": ", ".join(str(seed) for seed in sorted(runs["seed"].unique())),
        "run_versions": "; ".join(runs["versions"].unique()),
        "versions": ", ".join(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES),
        "data_lists": "; ".join(f"{cohort}: {found}" for cohort, found in hashes.items()),
        "study_file": hashlib.sha256(study_file.read_bytes()).hexdigest(),
        "resamples": RESAMPLES,
    }


def _template() -> Any:
    environment = Environment(
        loader=PackageLoader("medsize.robustness", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"figure": _figure, "signed": _signed, "p": _p}
    return environment.get_template("report.html.j2")


def _figure(value: Any) -> str:
    """Of a table's cell."""
    if isinstance(value, float):
        return "–" if pd.isna(value) else f"{value:.4g}"
    return "–" if value is None else str(value)


def _signed(value: float) -> str:
    return "–" if pd.isna(value) else f"{value:+.3f}".replace("-", "−")


def _p(value: float) -> str:
    return "–" if pd.isna(value) else "< 0.001" if value < 0.001 else f"{value:.3f}"
