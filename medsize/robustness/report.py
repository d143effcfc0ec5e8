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
from medsize.robustness.statistics import RESAMPLES
from medsize.robustness.study import NO_LEVEL, Cell, Study

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
    dice: pd.DataFrame
    """By kind of error (rows) and level (columns), as text."""
    panels: list[Panel]
    comparisons: pd.DataFrame
    crossovers: pd.DataFrame
    agreements: pd.DataFrame

    @property
    def dice_columns(self) -> dict[str, str]:
        """Of the table of Dice, with their titles."""
        return {name: name for name in self.dice.columns}


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
    return Grid(
        f"{cohort}, {network}",
        _answers(study, part),
        _dice(accuracies, part["comparisons"]),
        panels,
        _main(part["comparisons"]),
        part["crossovers"],
        agreements,
    )


def _of(table: pd.DataFrame, cohort: str, network: str) -> pd.DataFrame:
    if table.empty:
        return table
    return table[(table["cohort"] == cohort) & (table["network"] == network)]


def _of_interest(study: Study, cases: pd.DataFrame) -> pd.DataFrame:
    """Of each supervision the labels as given, and the condition with noise that runs first."""
    is_shown = cases["noise"] == AS_GIVEN
    for name, supervision in study.supervision.items():
        for kind, levels in list(supervision.noise.items())[:1]:
            of_kind = (cases["supervision"] == name) & (cases["noise"] == kind)
            is_shown |= of_kind & (cases["level"] == levels[0] if levels else True)
    return cases[is_shown]


def _main(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of the mean over the structures, or of the only one."""
    return table if table.empty else table[table["structure"] == table["structure"].iloc[0]]


def _dice(accuracies: pd.DataFrame, against: pd.DataFrame) -> pd.DataFrame:
    """
    Dice by kind of error (rows) and level (columns; "–" for kinds without one).

    ✓: not inferior to the same labels as given.
    """
    of_dice = _main(accuracies[accuracies["figure"] == "dice"])
    of_own = _main(against)
    not_inferior = set()
    if not of_own.empty:
        of_own = of_own[of_own["supervision"] == of_own["reference"]]
        not_inferior = set(of_own.loc[of_own["non_inferior"], "labels"])
    right = of_dice[of_dice["noise"] == AS_GIVEN].set_index("supervision")["mean"]
    wrong = of_dice[of_dice["noise"] != AS_GIVEN]
    rows: dict[str, dict[str, str]] = {}
    for found in wrong.itertuples():
        row = rows.setdefault(f"{found.supervision}, {found.noise}", {})
        if found.supervision in right:
            row["right"] = f"{right[found.supervision]:.3f}"
        row["–" if found.noise in NO_LEVEL else f"{found.level:g}"] = f"{found.mean:.3f}" + (
            " ✓" if found.labels in not_inferior else ""
        )
    table = pd.DataFrame.from_dict(rows, orient="index")
    levels = sorted({f"{level:g}" for level in wrong["level"]}, key=float)
    table = table.reindex(columns=[name for name in ("right", *levels, "–") if name in table])
    return table.rename_axis("labels").reset_index()


def _answers(study: Study, part: dict[str, pd.DataFrame]) -> list[str]:
    """What a reader wants to know, in sentences; of the mean over the structures."""
    of_dice = _main(part["accuracy"][part["accuracy"]["figure"] == "dice"])
    answers = [
        f"{row.labels}: Dice {row.mean:.3f} ({row.low:.3f} to {row.high:.3f})."
        for row in of_dice[of_dice["noise"] == AS_GIVEN].itertuples()
    ]
    against, overtaking = _main(part["comparisons"]), _main(part["crossovers"])
    for name, supervision in study.supervision.items():
        if supervision.noise_on == "masks":
            continue
        if not against.empty:
            own = against[(against["supervision"] == name) & (against["reference"] == name)]
            answers += _bearable(name, own, study.non_inferiority_margin)
        if not overtaking.empty:
            answers += _overtaking(name, overtaking[overtaking["supervision"] == name])
    return answers


def _bearable(name: str, against: pd.DataFrame, margin: float) -> list[str]:
    """Up to which level labels with each kind of error are not inferior to labels as given."""
    borne, unbearable = [], []
    for kind, group in against.groupby("noise", sort=False):
        group = group.sort_values("level")
        count = int(group["non_inferior"].cumprod().sum())
        if not count:
            unbearable.append(str(kind))
        elif kind in NO_LEVEL:
            borne.append(str(kind))
        else:
            row = group.iloc[count - 1]
            borne.append(f"{kind} up to {row['level']:g} ({_signed(row['mean'])})")
    sentences = []
    if borne:
        sentences.append(
            f"Wrong {name} are not inferior to {name} as given, by the margin of {margin:g} Dice: {', '.join(borne)}."
        )
    if unbearable:
        sentences.append(f"Not so at any level that was tried: {', '.join(unbearable)}.")
    return sentences


def _overtaking(name: str, overtaking: pd.DataFrame) -> list[str]:
    """From which mRE on sizes are as good as equally wrong masks."""
    is_behind = overtaking["overtakes_at"].isna()
    sentences = [
        f"With errors of the kind {row.noise}, {name} are at least as good as equally wrong {row.masks} from an mRE "
        f"of {row.overtakes_at:.2f} on."
        for row in overtaking[~is_behind].itertuples()
    ]
    if is_behind.any():
        others = "kind" if is_behind.all() else "other kind"
        upto = overtaking.loc[is_behind, "compared_up_to"].min()
        sentences.append(f"With errors of no {others} {name} overtake equally wrong masks, up to an mRE of {upto:.2f}.")
    return sentences


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
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return "–" if pd.isna(value) else f"{value:.4g}"
    return "–" if value is None else str(value)


def _signed(value: float) -> str:
    return "–" if pd.isna(value) else f"{value:+.3f}".replace("-", "−")


def _p(value: float) -> str:
    return "–" if pd.isna(value) else "< 0.001" if value < 0.001 else f"{value:.3f}"
