"""Tables of a ladder's results, which outlive its runs."""

from __future__ import annotations

import hashlib
import itertools
import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import bootstrap

from medsize.bundle.run.command import as_options
from medsize.bundle.run.folder import METRICS
from medsize.bundle.run.summary import RunSummary
from medsize.files import atomic_write
from medsize.studies.cell_settings import distinguishing
from medsize.studies.ladder.study import LadderCell, LadderStudy

__all__ = ["LadderResults", "mean_of_cohorts", "paired_gain", "summarise_runs"]

CELL = ["cohort", "rung", "seed"]
SOMETIMES = ("false findings", "false fraction", "circumference error mm")
"""Columns that only some cohorts have: with scans that lack a structure, or with measured circumferences."""


class LadderResults:
    """
    Tables of a ladder, with the finished runs of a work folder and those that the tables hold already.

    The files have the path's name and these endings: ``.csv``, a row for each run; ``_subjects.csv``, the Dice of each
    subject and structure in each run; ``.md`` and ``.png``, means over the seeds; ``_gains.md``, rungs compared. The
    last three also have the means over cohorts that the study asks for.

    Args:
        study: study of the runs.
        table: path of the files, without suffix.

    Raises:
        ValueError: when the table holds runs with other settings than the study has now; naming all of them.
    """

    def __init__(self, study: LadderStudy, table: Path) -> None:
        self.study = study
        self.table = table
        # In the order of the tables: seeds of a rung together.
        self.cells = {
            (cohort.name, rung, seed): LadderCell(cohort.name, rung, seed=seed)
            for cohort in study.cohorts
            for rung in cohort.rungs
            for seed in cohort.seeds
        }
        self.runs = _read(table.with_suffix(".csv"))
        self.subjects = _read(self._subjects_file)
        digests = {key: _digest(study.settings(cell)) for key, cell in self.cells.items()}
        strangers = [
            f"- {row.cohort} / {row.rung} / seed {row.seed}"
            for row in self.runs.itertuples()
            if getattr(row, "settings", None) != digests.get((row.cohort, row.rung, row.seed))
        ]
        if strangers:
            raise ValueError(
                f"{table.with_suffix('.csv')} holds runs with other settings than the study has now. Name another "
                "table in the study, or remove these rows:\n" + "\n".join(strangers)
            )

    @property
    def _subjects_file(self) -> Path:
        return self.table.with_name(f"{self.table.name}_subjects.csv")

    def has(self, cell: LadderCell) -> bool:
        """Return whether the table holds this run."""
        return _key(cell) in _keys(self.runs)

    def add(self, work_dir: Path) -> None:
        """Add all finished runs of a work folder; they replace those that the table has already."""
        finished = [cell for cell in self.cells.values() if cell.is_finished(work_dir)]
        if finished:
            self.runs = self._merged(self.runs, pd.DataFrame([self._row(cell, work_dir) for cell in finished]))
            dice = pd.concat([_dice_of_subjects(cell, work_dir) for cell in finished])
            self.subjects = self._merged(self.subjects, dice)

    def _merged(self, before: pd.DataFrame, now: pd.DataFrame) -> pd.DataFrame:
        """Return the rows of both in the order of the study; if both have a run, those of now."""
        kept = before[~_keys(before).isin(_keys(now))]
        merged = pd.concat([table for table in (kept, now) if len(table)])
        place = {key: place for place, key in enumerate(self.cells)}
        return merged.iloc[np.argsort(_keys(merged).map(place), kind="stable")].reset_index(drop=True)

    def _row(self, cell: LadderCell, work_dir: Path) -> dict[str, Any]:
        settings, summary = self.study.settings(cell), RunSummary.read(cell.folder(work_dir))
        results = summary.results
        return {
            "cohort": cell.cohort,
            "rung": cell.rung,
            "seed": cell.seed,
            "dice": results.dice.mean,
            **{f"dice {name}": entry.mean for name, entry in results.dice.structures.items()},
            "hd95 mm": results.hd95_mm.mean,
            "volume error mL": results.volume_error_ml.mean,
            "mRE": results.relative_size_error.mean,
            "false findings": results.false_finding.mean,
            "false fraction": results.false_fraction.mean,
            "circumference error mm": results.circumference_error_mm.mean,
            "scans": summary.training_scans,
            "epochs": summary.epochs,
            "seconds": summary.training_seconds,
            "overlays": " ".join(settings["overlays"]),
            "overrides": shlex.join(as_options(settings["overrides"])),
            "settings": _digest(settings),
        }

    def write(self) -> None:
        """Write all files of the table."""
        if self.runs.empty:
            return
        for file, rows in {self.table.with_suffix(".csv"): self.runs, self._subjects_file: self.subjects}.items():
            with atomic_write(file) as partial:
                rows.to_csv(partial, index=False)
        references = {name: rung.reference or self.study.reference for name, rung in self.study.rungs.items()}
        means = [mean_of_cohorts(self.runs, name, cohorts) for name, cohorts in self.study.means.items()]
        summary = summarise_runs(pd.concat([self.runs, *(mean for mean in means if len(mean))]), references)
        with atomic_write(self.table.with_suffix(".md")) as partial:
            partial.write_text(_markdown(summary))
        _draw(summary, self.table.with_suffix(".png"))
        gains = self.gains()
        if not gains.empty:
            with atomic_write(self.table.with_name(f"{self.table.name}_gains.md")) as partial:
                partial.write_text(_markdown(gains))

    def gains(self) -> pd.DataFrame:
        """Return :func:`paired_gain` of every comparison, cohort by cohort, over the seeds that both rungs have."""
        found = {
            run: table.assign(subject=f"{run[0]} / " + table["subject"])  # another cohort may have one of this name
            for run, table in (self.subjects.groupby(CELL) if len(self.subjects) else ())
        }
        seeds_of = {cohort.name: cohort.seeds for cohort in self.study.cohorts}
        rows = []
        for name, cohorts in ({cohort: [cohort] for cohort in seeds_of} | self.study.means).items():
            for pair in self.study.comparisons:
                wanted = {s: [[(cohort, rung, s) for cohort in cohorts] for rung in pair] for s in seeds_of[cohorts[0]]}
                both = [runs for runs in wanted.values() if all(run in found for run in itertools.chain(*runs))]
                if both:
                    of_rungs = (itertools.chain(*of_rung) for of_rung in zip(*both, strict=True))
                    gain = paired_gain(*(pd.concat([found[run] for run in runs]) for runs in of_rungs))
                    rows.append({"cohort": name, "rung": pair[0], "over": pair[1], "seeds": len(both)} | gain)
        return pd.DataFrame(rows)


def _key(cell: LadderCell) -> tuple[str, str, int]:
    return cell.cohort, cell.rung, cell.seed


def _keys(table: pd.DataFrame) -> pd.Index:
    return pd.Index(list(table[CELL].itertuples(index=False, name=None)), tupleize_cols=False)


def _digest(settings: dict[str, Any]) -> str:
    """Return a short hash of the settings that distinguish a cell."""
    return hashlib.sha256(json.dumps(distinguishing(settings), sort_keys=True, default=str).encode()).hexdigest()[:12]


def _read(file: Path) -> pd.DataFrame:
    if not file.is_file():
        return pd.DataFrame(columns=[*CELL, "settings"])
    return pd.read_csv(file, dtype={"subject": str, "settings": str})


def _dice_of_subjects(cell: LadderCell, work_dir: Path) -> pd.DataFrame:
    cases = pd.read_csv(cell.folder(work_dir) / METRICS, dtype={"subject": str})
    dice = cases.groupby(["subject", "structure"], as_index=False)["dice"].mean().round(4)
    return dice.assign(cohort=cell.cohort, rung=cell.rung, seed=cell.seed)[[*CELL, "subject", "structure", "dice"]]


def mean_of_cohorts(runs: pd.DataFrame, name: str, cohorts: Sequence[str]) -> pd.DataFrame:
    """
    Return the mean over cohorts of each rung and seed that all of them have, as if these were runs of one cohort.

    Args:
        runs: one row for each run, with the columns of the CSV file.
        name: name of the mean, in the column ``cohort``.
        cohorts: names of the cohorts.
    """
    together = runs[runs["cohort"].isin(cohorts)].groupby(["rung", "seed"], sort=False)
    means = together.mean(numeric_only=True)[together.size() == len(cohorts)]
    return means.reset_index().assign(cohort=name)


def summarise_runs(runs: pd.DataFrame, references: dict[str, str]) -> pd.DataFrame:
    """
    Return the mean over the seeds of every cohort and rung.

    Args:
        runs: one row for each run, with the columns of the CSV file.
        references: for each rung the one that its Dice is divided by, of the same seeds, if the cohort has it.

    Returns:
        one row for each cohort and rung, in the order of ``runs``.
    """
    rows = []
    for cohort, of_cohort in runs.groupby("cohort", sort=False):
        structures = [c for c in runs.columns if c.startswith("dice ") and of_cohort[c].notna().any()]
        by_seed = {rung: group.set_index("seed")["dice"] for rung, group in of_cohort.groupby("rung")}
        for rung, group in of_cohort.groupby("rung", sort=False):
            both = pd.concat({"dice": by_seed[rung], "of": by_seed.get(references[rung])}, axis=1, join="inner")
            rows.append(
                {
                    "cohort": cohort,
                    "rung": rung,
                    "seeds": len(group),
                    "Dice": group["dice"].mean(),
                    "spread": group["dice"].std(),
                    "Dice by structure": " / ".join(f"{group[c].mean():.2f}" for c in structures),
                    "of reference": both["dice"].mean() / both["of"].mean() if "of" in both else np.nan,
                    "reference": references[rung],
                    "HD95 mm": group["hd95 mm"].mean(),
                    "volume error mL": group["volume error mL"].mean(),
                    "mRE": group["mRE"].mean(),
                    **{column: group[column].mean() for column in SOMETIMES if column in group},
                    "seconds": group["seconds"].mean(),
                }
            )
    summary = pd.DataFrame(rows)
    return summary.drop(columns=[column for column in SOMETIMES if column in summary and summary[column].isna().all()])


def paired_gain(first: pd.DataFrame, second: pd.DataFrame) -> dict[str, Any]:
    """
    Return the gain in Dice of one run over another on the same subjects.

    Args:
        first: rows with ``subject``, ``structure`` and ``dice``, of one or several runs.
        second: rows of the other rung.

    Returns:
        ``subjects``, their number; ``gain``, mean over the subjects; ``low`` and ``high``, its 95 % interval by the
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
    """Draw bars of the mean Dice, one panel for each cohort."""
    from matplotlib.figure import Figure

    cohorts = summary["cohort"].unique()
    heights = [0.3 * (summary["cohort"] == cohort).sum() + 0.8 for cohort in cohorts]
    figure = Figure(figsize=(8, sum(heights)), layout="constrained")
    panels = figure.subplots(len(cohorts), squeeze=False, height_ratios=heights)[:, 0]
    for axes, cohort in zip(panels, cohorts, strict=True):
        part = summary[summary["cohort"] == cohort].iloc[::-1]
        axes.barh(part["rung"], part["Dice"], xerr=part["spread"].fillna(0), color="#4878a8")
        axes.set(title=cohort, xlim=(0, 1), xlabel="Dice")
    with atomic_write(file) as partial:
        figure.savefig(partial, format="png", dpi=120)
