"""Tables of a report: each condition's accuracy, against clean labels and against equally wrong masks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from medsize.studies.robustness.results import AS_GIVEN, CONDITION
from medsize.studies.robustness.statistics import (
    ALL,
    agreement,
    holm,
    mean_interval,
    paired_difference,
    subjects_by_seeds,
)
from medsize.studies.robustness.study import NO_LEVEL, RobustnessStudy

__all__ = ["METRICS", "accuracy", "comparisons", "crossovers", "equally_wrong", "volume_agreement"]

METRICS = {"dice": "Dice", "hd95_mm": "HD95, mm", "volume_error_ml": "volume error, mL"}
GRID = ["cohort", "network"]
TOLERANCE = 0.1
"""Relative excess of sizes' error over that of the most wrong masks up to which they are compared with these."""
Condition = dict[str, Any]


def accuracy(cases: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """
    Return each condition's accuracy: a row for each metric of :data:`METRICS` and structure, and for their mean.

    Args:
        cases: see :func:`medsize.studies.robustness.results.read_cases`.
        runs: see :func:`medsize.studies.robustness.results.read_runs`.

    Returns:
        columns of the condition; ``seeds``; ``expected_mre`` and ``realised_mre``, means over the seeds; ``minutes`` of
        annotation; ``figure``, the metric; ``structure``; ``mean``, ``low``, ``high``, ``subjects``: see
        :func:`medsize.studies.robustness.statistics.mean_interval`.
    """
    facts = runs.groupby(CONDITION, sort=False)[["expected_mre", "realised_mre", "minutes"]].mean()
    rows = []
    for condition, group in _by_condition(cases):
        shared = {**condition, "seeds": group["seed"].nunique(), **facts.loc[tuple(condition.values())].to_dict()}
        for metric in METRICS:
            for structure in _structures(group):
                interval = mean_interval(subjects_by_seeds(group, metric, structure))
                rows.append({**shared, "figure": metric, "structure": structure, **interval})
    return pd.DataFrame(rows)


def comparisons(cases: pd.DataFrame, study: RobustnessStudy) -> pd.DataFrame:
    """
    Compare the Dice of every condition with that of clean labels, subject by subject.

    It is compared with the study's reference and with the clean labels of its own supervision. Holm's correction is
    over all conditions that are compared with the same labels on the same cohort, network and structure.

    Returns:
        columns of the condition; ``reference``, ``structure``; ``mean``, ``low``, ``high``, ``subjects``, ``p`` and
        ``effect``: see :func:`medsize.studies.robustness.statistics.paired_difference`; ``p_holm``; and
        ``non_inferior``, whether ``low`` is above −margin, undefined if there is no interval.
    """
    rows = []
    for _, grid in cases.groupby(GRID, sort=False):
        clean = dict(iter(grid[grid["noise"] == AS_GIVEN].groupby("supervision", sort=False)))
        for condition, group in _by_condition(grid):
            is_clean = condition["noise"] == AS_GIVEN
            for name in dict.fromkeys((study.reference, condition["supervision"])):
                if name not in clean or (is_clean and name == condition["supervision"]):
                    continue
                for structure in _structures(group):
                    pair = (subjects_by_seeds(part, "dice", structure) for part in (group, clean[name]))
                    rows.append({**condition, "reference": name, "structure": structure, **paired_difference(*pair)})
    table = pd.DataFrame(rows)
    if table.empty:
        return table
    table["p_holm"] = table.groupby([*GRID, "reference", "structure"])["p"].transform(holm)
    table["non_inferior"] = (table["low"] > -study.non_inferiority_margin).where(table["low"].notna())
    return table


def equally_wrong(cases: pd.DataFrame, accuracies: pd.DataFrame, study: RobustnessStudy) -> pd.DataFrame:
    """
    Return the Dice of sizes minus that of equally wrong masks.

    The masks' Dice at a realised mRE is interpolated, subject by subject, between the two levels beside it. Up to a
    tenth beyond the last level it is that level's; further there is no row. Sizes with missing ones are left out, since
    a missing size has no error.

    Args:
        cases: see :func:`medsize.studies.robustness.results.read_cases`.
        accuracies: see :func:`accuracy`.
        study: study that states the kind of each supervision.

    Returns:
        columns of the condition with sizes; ``realised_mre``; ``masks``, the kind of noise on masks; ``structure``; the
        paired difference; and ``p_holm``, over all of the same cohort, network, masks and structure.
    """
    realised = accuracies.drop_duplicates(CONDITION).set_index(CONDITION)["realised_mre"]
    is_mask = cases["supervision"].map(lambda name: study.supervision[name].noise_on == "masks")
    rows = []
    for _, grid in cases.groupby(GRID, sort=False):
        masks = list(_by_condition(grid[is_mask.loc[grid.index]]))
        sizes = list(_by_condition(grid[~is_mask.loc[grid.index] & (grid["noise"] != "missing")]))
        for supervision, kind in dict.fromkeys((m["supervision"], m["noise"]) for m, _ in masks):
            if kind == AS_GIVEN:
                continue
            curve = [
                (realised[tuple(m.values())], group)
                for m, group in masks
                if m["supervision"] == supervision and m["noise"] in (kind, AS_GIVEN)
            ]
            curve.sort(key=lambda point: point[0])
            for condition, group in sizes:
                at = realised[tuple(condition.values())]
                for structure in _structures(group):
                    expected = _interpolated(curve, at, structure)
                    if expected is not None:
                        difference = paired_difference(subjects_by_seeds(group, "dice", structure), expected)
                        rows.append(
                            {
                                **condition,
                                "realised_mre": at,
                                "masks": f"{supervision}, {kind}",
                                "structure": structure,
                                **difference,
                            }
                        )
    table = pd.DataFrame(rows)
    if not table.empty:
        table["p_holm"] = table.groupby([*GRID, "masks", "structure"])["p"].transform(holm)
    return table


def crossovers(differences: pd.DataFrame) -> pd.DataFrame:
    """
    Find the mRE from which on sizes overtake equally wrong masks.

    Args:
        differences: see :func:`equally_wrong`.

    Returns:
        one row for each kind of noise on sizes that has levels, each kind on masks and structure: ``overtakes_at``, the
        smallest mRE from which on sizes reach as much Dice as masks, by linear interpolation between the levels, NaN
        where masks lead at the largest; ``compared_up_to``, that largest mRE; and the difference there, ``mean`` with
        its interval ``low`` to ``high``.
    """
    rows = []
    if differences.empty:
        return pd.DataFrame()
    noisy = differences[~differences["noise"].isin([AS_GIVEN, *NO_LEVEL])]
    keys = ["cohort", "network", "supervision", "noise", "masks", "structure"]
    shared = ["cohort", "network", "supervision", "masks", "structure"]
    clean = differences[differences["noise"] == AS_GIVEN].set_index(shared)["mean"]
    for key, group in noisy.groupby(keys, sort=False):
        named = dict(zip(keys, key, strict=True))
        start = clean.get(tuple(named[name] for name in shared))
        compared = group.dropna(subset=["realised_mre", "mean"]).sort_values("realised_mre")
        points = compared[["realised_mre", "mean"]].to_numpy().tolist()
        points = ([] if start is None or np.isnan(start) else [[0.0, start]]) + points
        if len(points) > 1 and len(compared):
            x, y = np.array(points).T
            last = compared.iloc[-1][["mean", "low", "high"]].to_dict()
            rows.append({**named, "overtakes_at": overtaking(x, y), "compared_up_to": x[-1], **last})
    return pd.DataFrame(rows)


def overtaking(x: np.ndarray, difference: np.ndarray) -> float:
    """Return the x from which on a piecewise linear function is never negative; NaN if it ends below 0."""
    negative = np.flatnonzero(difference < 0)
    if not len(negative):
        return float(x[0])
    last = negative[-1]
    if last == len(x) - 1:
        return float("nan")
    share = -difference[last] / (difference[last + 1] - difference[last])
    return float(x[last] + share * (x[last + 1] - x[last]))


def volume_agreement(cases: pd.DataFrame) -> pd.DataFrame:
    """Return :func:`medsize.studies.robustness.statistics.agreement` of every condition and structure."""
    rows = []
    for condition, group in _by_condition(cases):
        for structure, part in group.groupby("structure", sort=False):
            rows.append({**condition, "structure": structure, **agreement(part)})
    return pd.DataFrame(rows)


def _by_condition(cases: pd.DataFrame) -> Iterator[tuple[Condition, pd.DataFrame]]:
    for values, group in cases.groupby(CONDITION, sort=False):
        yield dict(zip(CONDITION, values, strict=True)), group


def _structures(cases: pd.DataFrame) -> list[str]:
    structures = list(cases["structure"].unique())
    return [ALL, *structures] if len(structures) > 1 else structures


def _interpolated(curve: list[tuple[float, pd.DataFrame]], at: float, structure: str) -> pd.DataFrame | None:
    positions = [x for x, _ in curve]
    if not positions[0] <= at <= (1 + TOLERANCE) * positions[-1]:
        return None
    after = max(int(np.searchsorted(positions, at)), 1)
    if after == len(positions):
        return subjects_by_seeds(curve[-1][1], "dice", structure)
    (start, first), (end, second) = curve[after - 1], curve[after]
    share = (at - start) / (end - start) if end > start else 0.5
    values = [subjects_by_seeds(group, "dice", structure) for group in (first, second)]
    seeds = values[0].columns.intersection(values[1].columns)
    return (1 - share) * values[0][seeds] + share * values[1][seeds]
