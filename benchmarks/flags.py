"""
Dice of scans that are flagged against those that are not, by cross-validation over the cases of finished runs.

    python -m benchmarks.flags FOLDER … [--runs REGEX]

The folders and the divisions are those of :mod:`benchmarks.finished_runs`: four fifths of a run's subjects are scans
that it was validated on, and the last fifth is judged. The second table judges the scans of one cohort by those of
another. Nothing is trained, and no limit is tuned: masks only tell the Dice of what was flagged.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import pandas as pd
from sklearn.metrics import roc_auc_score

from benchmarks.finished_runs import across_cohorts, by_cross_validation, read_runs
from medsize.metrics.reliability import (
    FLAGS,
    IMAGE_FACTS,
    OF_PICTURES,
    OF_SCANS,
    StructureFacts,
    cohort_facts,
    least_confidences,
    reliability,
)
from medsize.units import MM3_PER_ML

__all__ = ["area_under_curve", "judged"]

POOR = 0.5
"""Dice below which a prediction is poor."""


def judged(known: pd.DataFrame, new: pd.DataFrame) -> pd.DataFrame:
    """
    Judge scans by others.

    Args:
        known: cases of scans that a run was validated on, as :class:`medsize.handlers.CaseTable` writes them.
        new: cases of the scans to judge.

    Returns:
        a row for each scan: its ``flag``, its number of ``reasons``, its ``confidence``, the least of the structures
        relative to the cohort's median, its ``dice``, the mean over the structures, and its ``least`` Dice. Scans
        without a Dice are left out.
    """
    cohort = cohort_facts(known)
    are_pictures = bool((new["depth_mm"] == 1).all())
    confidences = least_confidences(new, cohort.structures)
    found = []
    for image, rows in new.groupby("image", sort=False):
        if rows["dice"].isna().all():
            continue
        structures = {
            str(row["structure"]): StructureFacts(
                row["volume_ml"],
                bool(row["at_edge"]),
                row["outside_largest"],
                row.get("confidence"),
                row["volume_ml"] * MM3_PER_ML / row["view_mm"] ** 2 if are_pictures else None,
            )
            for row in rows.astype(object).where(rows.notna(), None).to_dict("records")
        }
        image_facts = {key: float(rows[key].iloc[0]) for key in IMAGE_FACTS}
        judgement = reliability(structures, image_facts, cohort, OF_PICTURES if are_pictures else OF_SCANS)
        told = {"flag": judgement.flag, "reasons": len(judgement.reasons), "confidence": confidences[image]}
        found.append({"image": image, **told, "dice": rows["dice"].mean(), "least": rows["dice"].min()})
    return pd.DataFrame(found)


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
    runs = read_runs(arguments.folders, arguments.runs, ["at_edge"])
    titles = ("judged", *(f"{flag}: Dice" for flag in FLAGS), "with Dice < 0.5", "AUROC", "of the confidence")
    print(f"| {' | '.join(titles)} |\n|{len(titles) * ' --- |'}")
    for cohort, by_name in runs.items():
        print(f"| {cohort} | {_row(by_cross_validation(list(by_name.values()), judged))} |")
    for (known, new), scans in across_cohorts(runs, judged).items():
        print(f"| {new}, by {known} | {_row(scans)} |")


if __name__ == "__main__":
    main()
