"""
Coverage and width of the intervals of volumes, by cross-validation over the cases of finished runs.

    python -m benchmarks.calibration FOLDER … [--level 0.9] [--runs REGEX]

Each folder is searched for ``COHORT/RUN/metrics.csv``, as studies write them, and for the ``COHORT/cases.csv`` of a
study of robustness, of which the runs with labels as given count. The folds of a cohort (``NAME_fold_0`` …) are joined.
Nothing is trained. The scans of each run are divided by subject into five parts; four calibrate, and the fifth is
tested, in ten random divisions.

The second table takes the scans of one cohort to calibrate the volumes of another, by runs of the same name: this is
what a user does whose scans are unlike those of the validation. The third is a simulation: the same scans have also
chosen the epoch.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path

import numpy as np
import pandas as pd

from medsize.bundle.run_folder import METRICS
from medsize.handlers.case_table import calibrate_volumes
from medsize.metrics.conformal import LEVEL, calibrate

__all__ = ["Coverage", "Runs", "across_cohorts", "by_cross_validation", "chosen_epoch", "divisions", "read_runs"]

CASES = "cases.csv"
NUM_PARTS, REPEATS = 5, 10
EPOCHS, STRUCTURES, TRIALS = 12, 3, 1000

Runs = dict[str, dict[str, pd.DataFrame]]
"""Cases by cohort and run."""


@dataclass(frozen=True)
class Coverage:
    """Coverage and width of intervals of volumes that did not calibrate them."""

    subjects: int
    promised: float
    """Mean level of the intervals."""
    held: float
    """Share of the volumes that they hold: of each subject, then over the subjects."""
    error: float
    """Standard error of that share over the subjects."""
    low: float
    """Median factor of the low end."""
    high: float
    """Median factor of the high end."""

    @classmethod
    def of(cls, tested: pd.DataFrame) -> Coverage:
        """Return the coverage of tested volumes, as :func:`_tested` gives them."""
        held = tested.groupby("subject")["held"].mean()
        error = float(held.std(ddof=1) / np.sqrt(len(held)))
        means = float(tested["level"].mean()), float(held.mean()), error
        return cls(len(held), *means, float(tested["low"].median()), float(tested["high"].median()))

    def __str__(self) -> str:
        spread = f"{self.promised:.3f} | {self.held:.3f} ± {self.error:.3f}"
        return f"{self.subjects} | {spread} | {self.low:.2f} to {self.high:.2f}"


def read_runs(folders: Sequence[Path]) -> Runs:
    """
    Read the cases of all finished runs below some folders.

    Args:
        folders: see the module.

    Raises:
        ValueError: when there are none.
    """
    parts: dict[tuple[str, str], list[pd.DataFrame]] = {}
    for folder in folders:
        for file in sorted(folder.glob(f"*/*/{METRICS}")):
            cohort = re.sub(r"_fold_\d+$", "", file.parent.parent.name)
            parts.setdefault((cohort, file.parent.name), []).append(pd.read_csv(file, dtype={"subject": str}))
        for file in sorted(folder.glob(f"*/{CASES}")):
            cases = pd.read_csv(file, dtype={"subject": str})
            by_run = cases[cases["noise"] == "none"].groupby(["cohort", "network", "supervision", "seed"], sort=False)
            for (cohort, *run), rows in by_run:
                parts.setdefault((cohort, ", ".join(map(str, run))), []).append(rows)
    if not parts:
        raise ValueError(
            f"{', '.join(map(str, folders))}: found no {METRICS} and no {CASES}. Name the folder of a study."
        )
    runs: Runs = {}
    for (cohort, run), tables in parts.items():
        table = pd.concat(tables, ignore_index=True)
        runs.setdefault(cohort, {})[run] = table.assign(subject=table["subject"].fillna(table["image"]))
    return runs


def by_cross_validation(runs: Sequence[pd.DataFrame], level: float = LEVEL, repeats: int = REPEATS) -> pd.DataFrame:
    """
    Test intervals that are calibrated by the other subjects of the same run.

    Args:
        runs: cases of some runs on one cohort.
        level: level asked for.
        repeats: number of random divisions.

    Returns:
        a row for each test of a volume: ``subject``, ``structure``, ``held``, ``level``, ``low`` and ``high`` factor.
    """
    tests = [_tested(known, tested, level) for known, tested in divisions(runs, repeats)]
    return pd.concat(tests, ignore_index=True)


def divisions(runs: Sequence[pd.DataFrame], repeats: int = REPEATS) -> Iterator[tuple[pd.DataFrame, pd.DataFrame]]:
    """
    Yield the cases of four fifths of a run's subjects and of the last fifth, each fifth once in a random division.

    Args:
        runs: cases of some runs on one cohort.
        repeats: number of random divisions.
    """
    rng = np.random.default_rng(0)
    for table in runs:
        subjects = table["subject"].unique()
        for _ in range(repeats):
            for part in np.array_split(rng.permutation(subjects), min(NUM_PARTS, len(subjects))):
                is_tested = table["subject"].isin(part)
                yield table[~is_tested], table[is_tested]


def across_cohorts(runs: Runs, level: float = LEVEL) -> dict[tuple[str, str], pd.DataFrame]:
    """
    Test the intervals that the scans of one cohort give on another, by runs of the same name and structures.

    Args:
        runs: cases by cohort and run.
        level: level asked for.

    Returns:
        tests as :func:`by_cross_validation` gives them, by the cohort that calibrates and the one that is tested.
    """
    found = {}
    for one, other in permutations(runs, 2):
        pairs = [(runs[one][name], runs[other][name]) for name in runs[one] if name in runs[other]]
        alike = [(a, b) for a, b in pairs if set(a["structure"]) == set(b["structure"])]
        if alike:
            found[one, other] = pd.concat([_tested(a, b, level) for a, b in alike], ignore_index=True)
    return found


def chosen_epoch(subjects: int, alike: float, level: float = LEVEL, trials: int = TRIALS) -> float:
    """
    Simulate the coverage of new scans, if those that calibrate have chosen the epoch by their relative size error.

    All epochs are equally good, which is the worst case: then the choice follows chance alone.

    Args:
        subjects: number of scans that calibrate.
        alike: correlation of a scan's log error in two epochs.
        level: level asked for.
        trials: number of trainings.
    """
    rng = np.random.default_rng(0)
    held = []
    for _ in range(trials):
        shared, own = (rng.normal(size=(n, STRUCTURES, subjects + 1)) for n in (1, EPOCHS))
        found = np.exp(0.2 * (np.sqrt(alike) * shared + np.sqrt(1 - alike) * own))  # of a true size of 1
        best = found[np.abs(found[:, :, :-1] - 1).mean(axis=(1, 2)).argmin()]
        ones = np.ones(subjects)
        for sizes in best:
            made = calibrate(sizes[:-1], ones, ones, range(subjects), level)
            low, high = made.interval(float(sizes[-1])) or (np.nan, np.nan)
            held.append(low <= 1 <= high)
    return float(np.mean(held))


def _tested(calibrating: pd.DataFrame, tested: pd.DataFrame, level: float) -> pd.DataFrame:
    """Return a row for each volume that has an interval: does the interval hold it, or meet that of its true volume?"""
    made = calibrate_volumes(calibrating, level)
    found = tested[["subject", "structure"]].copy()
    volumes, truth = tested["volume_ml"].tolist(), tested["true_volume_ml"]
    low, high = (tested.get(end, truth).tolist() for end in ("true_low_ml", "true_high_ml"))
    calibrations = [made[name] for name in found["structure"]]
    ends = [of.interval(volume) or (np.nan, np.nan) for of, volume in zip(calibrations, volumes, strict=True)]
    found["held"] = [a <= h and v <= b for (a, b), v, h in zip(ends, low, high, strict=True)]
    for name in ("level", "low", "high"):
        found[name] = [getattr(of, name) for of in calibrations]
    return found[truth.notna() & found["level"].notna()]


def _report(runs: Runs, level: float) -> Iterator[str]:
    heads = "subjects | promised | held | interval, as factors of the predicted volume |"
    yield f"| cohort | structure | runs | {heads}"
    yield "| --- " * 7 + "|"
    for cohort, by_name in runs.items():
        tests = by_cross_validation(list(by_name.values()), level)
        for structure, of_structure in [("all", tests), *tests.groupby("structure", sort=False)]:
            if len(of_structure):
                yield f"| {cohort} | {structure} | {len(by_name)} | {Coverage.of(of_structure)} |"
    if across := across_cohorts(runs, level):
        yield f"\n| calibrated by | tested on | {heads}"
        yield "| --- " * 6 + "|"
        for (one, other), tests in across.items():
            yield f"| {one} | {other} | {Coverage.of(tests)} |"
    yield f"\n| scans that calibrate, and have chosen one of {EPOCHS} epochs | errors of epochs correlate by | held |"
    yield "| --- " * 3 + "|"
    for subjects in (10, 20, 40):
        for alike in (0.0, 0.8):
            yield f"| {subjects} | {alike} | {chosen_epoch(subjects, alike, level):.3f} |"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description="Coverage and width of intervals of volumes.")
    parser.add_argument("folders", nargs="+", type=Path, help="folders with the runs of studies")
    parser.add_argument("--level", type=float, default=LEVEL, help="level asked for")
    parser.add_argument("--runs", default="", help="regular expression that the names of the runs match")
    options = parser.parse_args()
    chosen: Runs = {}
    for cohort, by_name in read_runs(options.folders).items():
        if kept := {name: table for name, table in by_name.items() if re.search(options.runs, name)}:
            chosen[cohort] = kept
    for line in _report(chosen, options.level):
        print(line, flush=True)


if __name__ == "__main__":
    main()
