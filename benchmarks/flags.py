"""
Dice of scans that are flagged against those that are not, by cross-validation over the cases of finished runs.

    python -m benchmarks.flags FOLDER … [--runs REGEX]

The folders and the divisions are those of :mod:`benchmarks.calibration`: four fifths of a run's subjects are the scans
that it was validated on, and the last fifth is judged. The second table judges the scans of one cohort by those of
another. Nothing is trained, and no limit is tuned: masks only tell the Dice of what was flagged.
"""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Iterator, Sequence
from itertools import permutations
from pathlib import Path

import pandas as pd
from sklearn.metrics import roc_auc_score

from benchmarks.calibration import REPEATS, Runs, divisions, read_runs
from medsize.metrics.reliability import FLAGS, IMAGE_FACTS, CohortFacts, StructureFacts, cohort_facts, reliability

__all__ = ["across_cohorts", "area_under_curve", "by_cross_validation", "judged"]

POOR = 0.5
"""Dice below which a prediction is poor."""


def judged(table: pd.DataFrame, cohort: CohortFacts) -> pd.DataFrame:
    """
    Judge the scans of a table.

    Args:
        table: cases as :class:`medsize.handlers.CaseTable` writes them.
        cohort: values of other scans.

    Returns:
        a row for each scan: its ``flag``, its number of ``reasons``, its ``confidence``, the least of the structures
        relative to the cohort's median, its ``dice``, the mean over the structures, and its ``least`` Dice. Dice that
        is not defined is left out.
    """
    return pd.DataFrame(_judged(table, cohort))


def _judged(table: pd.DataFrame, cohort: CohortFacts) -> Iterator[dict[str, object]]:
    for image, rows in table.groupby("image", sort=False):
        if rows["dice"].isna().all():
            continue
        structures = {
            str(row["structure"]): StructureFacts(
                row["volume_ml"], bool(row["at_edge"]), row["outside_largest"], row.get("confidence")
            )
            for row in rows.astype(object).where(rows.notna(), None).to_dict("records")
        }
        values = {key: float(rows[key].iloc[0]) for key in IMAGE_FACTS}
        found = reliability(structures, values, cohort)
        dice = {"dice": rows["dice"].mean(), "least": rows["dice"].min()}
        usual = {name: of_structure.confidence for name, of_structure in cohort.structures.items()}
        sure = [f.confidence / m for n, f in structures.items() if (m := usual.get(n)) and f.confidence is not None]
        told = {"flag": found.flag, "reasons": len(found.reasons), "confidence": min(sure, default=math.nan)}
        yield {"image": image, **told, **dice}


def by_cross_validation(runs: Sequence[pd.DataFrame], repeats: int = REPEATS) -> pd.DataFrame:
    """
    Judge scans by the other subjects of the same run.

    Args:
        runs: cases of some runs on one cohort.
        repeats: number of random divisions.
    """
    found = [judged(tested, cohort_facts(known)) for known, tested in divisions(runs, repeats)]
    return pd.concat(found, ignore_index=True)


def across_cohorts(runs: Runs) -> dict[tuple[str, str], pd.DataFrame]:
    """Judge the scans of each cohort by those of another, by runs of the same name."""
    found = {}
    for known, new in permutations(runs, 2):
        if names := [name for name in runs[known] if name in runs[new]]:
            tables = [judged(runs[new][name], cohort_facts(runs[known][name])) for name in names]
            found[known, new] = pd.concat(tables, ignore_index=True)
    return found


def area_under_curve(scans: pd.DataFrame) -> float:
    """Return the AUROC of flag and number of reasons for a Dice below 0.5; NaN if all scans, or none, have one."""
    return _area(scans, scans["flag"].map(FLAGS.index) * 100 + scans["reasons"])


def _area(scans: pd.DataFrame, doubt: pd.Series) -> float:
    poor = scans["least"] < POOR
    if poor.nunique() < 2 or doubt.isna().any():
        return math.nan
    return float(roc_auc_score(poor, doubt))


def _row(scans: pd.DataFrame) -> str:
    parts = []
    for flag in FLAGS:
        of_flag = scans[scans["flag"] == flag]
        dice = f"{of_flag['dice'].mean():.3f}" if len(of_flag) else "–"
        parts.append(f"{100 * len(of_flag) / len(scans):.0f} %: {dice}")
    poor = f"{100 * (scans['least'] < POOR).mean():.0f} %"
    areas = (area_under_curve(scans), _area(scans, -scans["confidence"]))
    return " | ".join([*parts, poor, *(f"{area:.2f}" for area in areas)])


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").strip().partition("\n")[0])
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--runs", default="", help="regular expression of the runs")
    arguments = parser.parse_args()
    found = read_runs(arguments.folders)
    runs: Runs = {}
    for cohort, by_name in found.items():
        kept = {n: t for n, t in by_name.items() if re.search(arguments.runs, n) and "at_edge" in t}
        runs |= {cohort: kept} if kept else {}
    titles = ("judged", *(f"{flag}: Dice" for flag in FLAGS), "with Dice < 0.5", "AUROC", "of the confidence")
    print(f"| {' | '.join(titles)} |\n|{len(titles) * ' --- |'}")
    for cohort, by_name in runs.items():
        print(f"| {cohort} | {_row(by_cross_validation(list(by_name.values())))} |")
    for (known, new), scans in across_cohorts(runs).items():
        print(f"| {new}, by {known} | {_row(scans)} |")


if __name__ == "__main__":
    main()
