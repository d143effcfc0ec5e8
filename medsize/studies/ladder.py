"""The ladder: what each kind of supervision reaches, from organ tags to all masks."""

from __future__ import annotations

import itertools
import json
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, model_validator
from scipy.stats import bootstrap

from medsize.bundle import training_command
from medsize.data.whole_file import written_whole
from medsize.keeper import LOG, SUMMARY, is_finished, run_kept
from medsize.studies.cell_settings import check_settings
from medsize.studies.cohort_setting import CohortSetting, as_options, folder_name
from medsize.studies.folder_lock import locked
from medsize.studies.study_file import matches, read_study

__all__ = ["Cell", "Study", "load_study", "run_study"]

TEACHER_KEY = "teacher_checkpoint"
ONE_THREAD = {"OMP_NUM_THREADS": "1"}


class Rung(BaseModel):
    """One kind of supervision: what sets its run apart."""

    model_config = ConfigDict(extra="forbid")

    overlays: list[str] = []
    """Configs of the bundle to put over the cohort's."""
    overrides: dict[str, Any] = {}
    """Values of single keys."""
    teacher: str | None = None
    """A rung whose weights, of the same cohort and seed, teach this one."""
    locator: str | None = None
    """A rung on whole scans, of the same cohort and seed, whose network finds the regions of interest of this one."""
    replace_overlays: bool = False
    """Leave out the overlays of the cohort."""
    bundle: str | None = None
    """Another bundle than the study's, for a 2D teacher of a 3D network: its folder, from the study's own."""

    @property
    def needs(self) -> list[str]:
        """Rungs that must have run before."""
        return [rung for rung in (self.teacher, self.locator) if rung]


class LadderCohort(CohortSetting):
    """A cohort, and the rungs to try on it."""

    rungs: list[str]
    seeds: list[int] = [0]


class Study(BaseModel):
    """What to run: a YAML file."""

    model_config = ConfigDict(extra="forbid")

    bundle: str
    """Folder of the bundle, from the study's own."""
    table: str
    """Where the tables and the figure go: a path without suffix, from the study's folder."""
    reference: str
    """The rung that the others' Dice is divided by."""
    overrides: dict[str, Any] = {}
    comparisons: list[tuple[str, str]] = []
    """Pairs of rungs: how much more Dice the first has than the second, subject by subject."""
    rungs: dict[str, Rung]
    cohorts: list[LadderCohort]

    @model_validator(mode="after")
    def _rungs_exist(self) -> Study:
        named = {self.reference, *(before for rung in self.rungs.values() for before in rung.needs)}
        named |= {rung for pair in self.comparisons for rung in pair}
        named |= {rung for cohort in self.cohorts for rung in cohort.rungs}
        unknown = sorted(named - self.rungs.keys())
        if unknown:
            raise ValueError(f"there is no rung {', '.join(unknown)}; there are: {', '.join(self.rungs)}")
        for cohort in self.cohorts:
            for rung in cohort.rungs:
                for before in self.rungs[rung].needs:
                    if before not in cohort.rungs[: cohort.rungs.index(rung)]:
                        raise ValueError(f"{cohort.name}: '{rung}' needs '{before}' before it")
        return self


@dataclass(frozen=True)
class Cell:
    """One run: a cohort, a rung and a seed."""

    cohort: LadderCohort
    rung: str
    seed: int

    def folder(self, work_dir: Path) -> Path:
        """Where the run's output goes."""
        return self.cohort.folder(work_dir) / f"{folder_name(self.rung)}_seed_{self.seed}"

    def __str__(self) -> str:
        return f"{self.cohort.name} / {self.rung} / seed {self.seed}"


def load_study(file: Path) -> Study:
    """
    Read and check a study.

    Raises:
        ValueError: naming what is wrong with the file.
    """
    return read_study(file, Study)


def run_study(
    file: Path,
    data_dir: Path,
    work_dir: Path,
    workers: int = 2,
    only: str | None = None,
    report: Callable[[str], None] = print,
) -> bool:
    """
    Run every cell of a study that is not finished, two one-thread runs at a time, and write the tables after each.

    A finished run is kept; an interrupted one goes on from its last checkpoint. Several ladders may share a work
    folder, even at the same time.

    Args:
        file: the study.
        data_dir: folder that holds the cohorts.
        work_dir: folder for the runs.
        workers: runs at a time, of one thread each.
        only: part of the names of the cells to run, a regular expression. Default: all.
        report: told of each cell that ends.

    Returns:
        whether all cells succeeded.

    Raises:
        ValueError: when the study is faulty, or the work folder holds a cell that was run with other settings.
        subprocess.CalledProcessError: when a cohort cannot be prepared.
    """
    study = load_study(file)
    cells = list(_cells(study))
    wanted = [cell for cell in cells if matches(only, str(cell))]
    check_settings(work_dir, ((str(cell), cell.folder(work_dir), _settings(study, cell)) for cell in cells))
    for cohort in {cell.cohort.name: cell.cohort for cell in wanted}.values():
        with locked(cohort.folder(work_dir), "prepare.lock"):
            cohort.make_ready(data_dir, work_dir)
    failed = False
    for batch in _waves(study, wanted):
        with ThreadPoolExecutor(workers) as pool:
            runs = {pool.submit(_run_cell, study, file.parent, cell, data_dir, work_dir): cell for cell in batch}
            for run in as_completed(runs):
                outcome = run.result()
                failed |= outcome.startswith("failed")
                report(f"{runs[run]}: {outcome}")
                write_tables(study, cells, work_dir, file.parent / study.table)
    return not failed


def _cells(study: Study) -> Iterator[Cell]:
    """By seed first, so that a study that is stopped early has one of each."""
    for cohort in study.cohorts:
        for seed, rung in itertools.product(cohort.seeds, cohort.rungs):
            yield Cell(cohort, rung, seed)


def _waves(study: Study, cells: list[Cell]) -> Iterator[list[Cell]]:
    """Those that need none of the others; then those that need none but these; and so on."""
    waiting = cells
    while waiting:
        wave = [
            cell
            for cell in waiting
            if not any(Cell(cell.cohort, rung, cell.seed) in waiting for rung in study.rungs[cell.rung].needs)
        ]
        yield wave
        waiting = [cell for cell in waiting if cell not in wave]


def _settings(study: Study, cell: Cell) -> dict[str, Any]:
    """What sets a cell apart but for its seed, wherever bundles and data are; with that of the cells it needs."""
    rung = study.rungs[cell.rung]
    return {
        "rung": cell.rung,
        "bundle": Path(rung.bundle or study.bundle).name,
        "cohort": cell.cohort.source,
        "overlays": ([] if rung.replace_overlays else cell.cohort.overlays) + rung.overlays,
        "overrides": {**study.overrides, **cell.cohort.overrides, **rung.overrides},
        "teacher": rung.teacher and _settings(study, Cell(cell.cohort, rung.teacher, cell.seed)),
        "locator": rung.locator and _settings(study, Cell(cell.cohort, rung.locator, cell.seed)),
    }


def _run_cell(study: Study, study_dir: Path, cell: Cell, data_dir: Path, work_dir: Path) -> str:
    rung, folder, settings = study.rungs[cell.rung], cell.folder(work_dir), _settings(study, cell)
    if is_finished(folder):
        return "kept"
    places = cell.cohort.locations(data_dir, work_dir)
    if rung.locator:
        locator = Cell(cell.cohort, rung.locator, cell.seed).folder(work_dir)
        if not is_finished(locator):
            return f"failed: '{rung.locator}', which finds its regions, is not finished"
        located = locator.with_name(f"located_by_{locator.name}.json")  # paths may start from what else was prepared
        arguments = [locator, places["data_list"], "--dataset-dir", places["dataset_dir"], "--output", located]
        locate = [sys.executable, "-m", "medsize.cli", "locate", *map(str, arguments)]
        with locked(locator, "locate.lock"), (folder / LOG).open("a") as log:
            is_current = located.is_file() and located.stat().st_mtime >= (locator / SUMMARY).stat().st_mtime
            if not is_current and subprocess.run(locate, stdout=log, stderr=log, check=False).returncode:
                return f"failed: '{rung.locator}' found no regions, see {folder / LOG}"
        places["data_list"] = located
    if rung.teacher:
        places[TEACHER_KEY] = Cell(cell.cohort, rung.teacher, cell.seed).folder(work_dir) / "model.pt"
    options = as_options({**places, **settings["overrides"], "seed": cell.seed, "output_dir": folder})
    command = training_command((study_dir / (rung.bundle or study.bundle)).resolve(), settings["overlays"], options)
    result = run_kept(str(folder), command, ONE_THREAD)
    while result["outcome"] == "busy":  # another study in the work folder runs it just now
        result = run_kept(str(folder), command, ONE_THREAD)
    if result["outcome"] != "failed":
        return str(result["outcome"])
    reason = f": {result['reason']}" if "reason" in result else f" with exit code {result['exit_code']}"
    return f"failed{reason}, see {folder / LOG}"


def write_tables(study: Study, cells: list[Cell], work_dir: Path, table: Path) -> None:
    """Write what is finished: every run as CSV; means and spreads over the seeds as a Markdown table and a figure."""
    rows = [_row(study, cell, work_dir) for cell in cells if is_finished(cell.folder(work_dir))]
    if not rows:
        return
    runs = pd.DataFrame(rows)
    with written_whole(table.with_suffix(".csv")) as partial:
        runs.to_csv(partial, index=False)
    summary = summarise_runs(runs, study.reference)
    with written_whole(table.with_suffix(".md")) as partial:
        partial.write_text(_markdown(summary))
    _draw(summary, table.with_suffix(".png"))
    gains = _gains(study, cells, work_dir)
    if not gains.empty:
        with written_whole(table.with_name(f"{table.name}_gains.md")) as partial:
            partial.write_text(_markdown(gains))


def _row(study: Study, cell: Cell, work_dir: Path) -> dict[str, Any]:
    settings, summary = _settings(study, cell), json.loads((cell.folder(work_dir) / SUMMARY).read_text())
    results = summary["results"]
    return {
        "cohort": cell.cohort.name,
        "rung": cell.rung,
        "seed": cell.seed,
        "dice": results["dice"]["mean"],
        **{f"dice {name}": entry["mean"] for name, entry in results["dice"]["structures"].items()},
        "hd95 mm": results["hd95_mm"]["mean"],
        "volume error mL": results["volume_error_ml"]["mean"],
        "mRE": results["relative_size_error"]["mean"],
        "scans": summary["training_scans"],
        "epochs": summary["epochs"],
        "seconds": summary["training_seconds"],
        "overlays": " ".join(settings["overlays"]),
        "overrides": shlex.join(as_options(settings["overrides"])),
    }


def summarise_runs(runs: pd.DataFrame, reference: str) -> pd.DataFrame:
    """
    Mean over the seeds of every cohort and rung.

    Args:
        runs: one row for each run, with the columns of the CSV file.
        reference: rung that the mean Dice is divided by, where the cohort has it.

    Returns:
        one row for each cohort and rung, in the order of ``runs``.
    """
    rows = []
    for cohort, of_cohort in runs.groupby("cohort", sort=False):
        full = of_cohort.loc[of_cohort["rung"] == reference, "dice"].mean()
        structures = [c for c in runs.columns if c.startswith("dice ") and of_cohort[c].notna().any()]
        for rung, group in of_cohort.groupby("rung", sort=False):
            rows.append(
                {
                    "cohort": cohort,
                    "rung": rung,
                    "seeds": len(group),
                    "Dice": group["dice"].mean(),
                    "spread": group["dice"].std(),
                    "Dice by structure": " / ".join(f"{group[c].mean():.2f}" for c in structures),
                    f"of {reference}": group["dice"].mean() / full,
                    "HD95 mm": group["hd95 mm"].mean(),
                    "volume error mL": group["volume error mL"].mean(),
                    "mRE": group["mRE"].mean(),
                    "seconds": group["seconds"].mean(),
                }
            )
    return pd.DataFrame(rows)


def _gains(study: Study, cells: list[Cell], work_dir: Path) -> pd.DataFrame:
    """For every comparison, cohort by cohort, of the seeds that both rungs have."""
    found = {(cell.cohort.name, cell.rung, cell.seed): cell.folder(work_dir) / "metrics.csv" for cell in cells}
    found = {key: file for key, file in found.items() if is_finished(file.parent)}
    rows = []
    for cohort in study.cohorts:
        for first, second in study.comparisons:
            seeds = [s for s in cohort.seeds if {(cohort.name, first, s), (cohort.name, second, s)} <= found.keys()]
            if seeds:
                tables = [
                    pd.concat([pd.read_csv(found[cohort.name, rung, seed]) for seed in seeds])
                    for rung in (first, second)
                ]
                gain = {"cohort": cohort.name, "rung": first, "over": second, "seeds": len(seeds)}
                rows.append(gain | paired_gain(*tables))
    return pd.DataFrame(rows)


def paired_gain(first: pd.DataFrame, second: pd.DataFrame) -> dict[str, Any]:
    """
    How much more Dice one run has than another on the same subjects.

    Args:
        first: rows of ``metrics.csv``, of one or several runs.
        second: the same of the other rung.

    Returns:
        ``subjects``, how many; ``gain``, mean over the subjects; ``low`` and ``high``, its 95 % interval by the
        bootstrap over the subjects (bias-corrected and accelerated), NaN for a single one. Structures count alike
        within a subject.
    """
    by_subject = [
        table.groupby(["subject", "structure"])["dice"].mean().groupby("subject").mean() for table in (first, second)
    ]
    difference = (by_subject[0] - by_subject[1]).dropna().to_numpy()
    low = high = np.nan
    if len(difference) > 1:
        low, high = bootstrap((difference,), np.mean, rng=np.random.default_rng(0)).confidence_interval
    return {"subjects": len(difference), "gain": float(difference.mean()), "low": float(low), "high": float(high)}


def _markdown(summary: pd.DataFrame) -> str:
    lines = ["| " + " | ".join(summary.columns) + " |", "|" + " --- |" * len(summary.columns)]
    lines += ["| " + " | ".join(_text(v) for v in row) + " |" for row in summary.itertuples(index=False)]
    return "\n".join(lines) + "\n"


def _text(value: Any) -> str:
    if isinstance(value, float):
        return "–" if value != value else f"{value:.0f}" if value >= 100 else f"{value:.2f}"
    return str(value)


def _draw(summary: pd.DataFrame, file: Path) -> None:
    """Bars of the mean Dice, one panel for each cohort."""
    from matplotlib.figure import Figure

    cohorts = summary["cohort"].unique()
    most = summary.groupby("cohort").size().max()
    figure = Figure(figsize=(8, (0.3 * most + 0.8) * len(cohorts)), layout="constrained")
    for axes, cohort in zip(figure.subplots(len(cohorts), squeeze=False)[:, 0], cohorts, strict=True):
        part = summary[summary["cohort"] == cohort].iloc[::-1]
        axes.barh(part["rung"], part["Dice"], xerr=part["spread"].fillna(0), color="#4878a8")
        axes.set(title=cohort, xlim=(0, 1), xlabel="Dice")
    with written_whole(file) as partial:
        figure.savefig(partial, format="png", dpi=120)
