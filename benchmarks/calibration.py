"""
Coverage and width of the intervals of volumes, by cross-validation over the cases of finished runs.

    python -m benchmarks.calibration FOLDER … [--level 0.9] [--runs REGEX]

The folders and the divisions are those of :mod:`benchmarks.finished_runs`: four fifths of a run's subjects calibrate,
and the last fifth is tested, in ten random divisions.

The second table takes the scans of one cohort to calibrate the volumes of another, by runs of the same name: this is
what a user does whose scans are unlike those of the validation. The third is a simulation: the same scans have also
chosen the epoch.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.finished_runs import Runs, across_cohorts, by_cross_validation, read_runs
from medsize.handlers.case_table import calibrate_volumes
from medsize.metrics.conformal import LEVEL, calibrate

__all__ = ["Coverage", "chosen_epoch", "held_volumes"]

EPOCHS, STRUCTURES, TRIALS = 12, 3, 1000


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
    def of(cls, tests: pd.DataFrame) -> Coverage:
        """Return the coverage of tested volumes, as :func:`held_volumes` gives them."""
        held = tests.groupby("subject")["held"].mean()
        error = float(held.std(ddof=1) / np.sqrt(len(held)))
        means = float(tests["level"].mean()), float(held.mean()), error
        return cls(len(held), *means, float(tests["low"].median()), float(tests["high"].median()))

    def __str__(self) -> str:
        spread = f"{self.promised:.3f} | {self.held:.3f} ± {self.error:.3f}"
        return f"{self.subjects} | {spread} | {self.low:.2f} to {self.high:.2f}"


def held_volumes(calibrating: pd.DataFrame, new: pd.DataFrame, level: float = LEVEL) -> pd.DataFrame:
    """
    Test whether intervals hold volumes, or meet the intervals of the true volumes.

    Args:
        calibrating: cases that calibrate the intervals.
        new: cases to test.
        level: level asked for.

    Returns:
        a row for each volume that has an interval: ``subject``, ``structure``, ``held``, ``level``, ``low`` and
        ``high`` factor.
    """
    made = calibrate_volumes(calibrating, level)
    found = new[["subject", "structure"]].copy()
    volumes, truth = new["volume_ml"].tolist(), new["true_volume_ml"]
    low, high = (new.get(end, truth).tolist() for end in ("true_low_ml", "true_high_ml"))
    calibrations = [made[name] for name in found["structure"]]
    ends = [of.interval(volume) or (np.nan, np.nan) for of, volume in zip(calibrations, volumes, strict=True)]
    found["held"] = [a <= h and v <= b for (a, b), v, h in zip(ends, low, high, strict=True)]
    for name in ("level", "low", "high"):
        found[name] = [getattr(of, name) for of in calibrations]
    return found[truth.notna() & found["level"].notna()]


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


def _report(runs: Runs, level: float) -> Iterator[str]:
    heads = "subjects | promised | held | interval, as factors of the predicted volume |"
    test = partial(held_volumes, level=level)
    yield f"| cohort | structure | runs | {heads}"
    yield "| --- " * 7 + "|"
    for cohort, by_name in runs.items():
        tests = by_cross_validation(list(by_name.values()), test)
        for structure, of_structure in [("all", tests), *tests.groupby("structure", sort=False)]:
            if len(of_structure):
                yield f"| {cohort} | {structure} | {len(by_name)} | {Coverage.of(of_structure)} |"
    if across := across_cohorts(runs, test):
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
    for line in _report(read_runs(options.folders, options.runs), options.level):
        print(line, flush=True)


if __name__ == "__main__":
    main()
