"""
Cases of finished runs, divided into scans that were validated on and new ones. Nothing is trained.

Folders are searched for ``COHORT/RUN/metrics.csv``, as studies write them, and for the ``COHORT/cases.csv`` of a study
of robustness, of which the runs with labels as given count. The folds of a cohort (``NAME_fold_0`` …) are joined.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import permutations
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pandas as pd

from medsize.bundle.run.folder import METRICS

__all__ = ["Runs", "Test", "across_cohorts", "by_cross_validation", "read_runs"]

CASES = "cases.csv"
NUM_PARTS, REPEATS = 5, 10

Runs: TypeAlias = dict[str, dict[str, pd.DataFrame]]
"""Cases by cohort and run."""
Test: TypeAlias = Callable[[pd.DataFrame, pd.DataFrame], pd.DataFrame]
"""Function of the cases that were validated on and of new ones, which gives a row for each test."""


def read_runs(folders: Sequence[Path], pattern: str = "", columns: Sequence[str] = ()) -> Runs:
    """
    Read the cases of finished runs.

    Args:
        folders: see the module.
        pattern: regular expression that the names of the runs match.
        columns: columns without which a run, an older one, is left out.

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
        if re.search(pattern, run) and set(columns) <= set(table):
            runs.setdefault(cohort, {})[run] = table.assign(subject=table["subject"].fillna(table["image"]))
    return runs


def by_cross_validation(runs: Sequence[pd.DataFrame], test: Test, repeats: int = REPEATS) -> pd.DataFrame:
    """
    Test a fifth of each run's subjects by the other four, each fifth once in a random division.

    Args:
        runs: cases of some runs on one cohort.
        test: the test.
        repeats: number of random divisions.
    """
    rng = np.random.default_rng(0)
    tests = []
    for table in runs:
        subjects = table["subject"].unique()
        for _ in range(repeats):
            for part in np.array_split(rng.permutation(subjects), min(NUM_PARTS, len(subjects))):
                is_new = table["subject"].isin(part)
                tests.append(test(table[~is_new], table[is_new]))
    return pd.concat(tests, ignore_index=True)


def across_cohorts(runs: Runs, test: Test) -> dict[tuple[str, str], pd.DataFrame]:
    """
    Test the scans of each cohort by those of another, by runs of the same name and structures.

    Args:
        runs: cases by cohort and run.
        test: the test.

    Returns:
        the tests, by the cohort that is known and the one that is new.
    """
    found = {}
    for known, new in permutations(runs, 2):
        pairs = [(table, runs[new][name]) for name, table in runs[known].items() if name in runs[new]]
        tests = [test(a, b) for a, b in pairs if set(a["structure"]) == set(b["structure"])]
        if tests:
            found[known, new] = pd.concat(tests, ignore_index=True)
    return found
