"""Head of a report: conclusions, and one table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd

from medsize.studies.robustness.results import AS_GIVEN
from medsize.studies.robustness.study import NO_LEVEL, RobustnessStudy

__all__ = ["conclusions", "dice_by_error", "of_all"]


def of_all(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of a table of the analysis on the mean over the structures, or on the only one."""
    return table if table.empty else table[table["structure"] == table["structure"].iloc[0]]


def dice_by_error(accuracies: pd.DataFrame, against: pd.DataFrame, seeds: int) -> pd.DataFrame:
    """
    Return the Dice by kind of error (rows) and level (columns; "no level" for kinds without one).

    ✓: not inferior to the same labels as given. If fewer than all ``seeds`` are finished, their number is stated.

    Args:
        accuracies: rows of one cohort and network; see :func:`medsize.studies.robustness.analysis.accuracy`.
        against: rows of the same; see :func:`medsize.studies.robustness.analysis.comparisons`.
        seeds: number of seeds of the study.
    """
    of_dice = of_all(accuracies[accuracies["figure"] == "dice"])
    of_own = of_all(against)
    not_inferior = set()
    if not of_own.empty:
        of_own = of_own[of_own["supervision"] == of_own["reference"]]
        not_inferior = set(of_own.loc[of_own["non_inferior"].eq(True), "labels"])
    right = {row.supervision: row for row in of_dice[of_dice["noise"] == AS_GIVEN].itertuples()}

    def text(found: Any) -> str:
        few = "" if found.seeds == seeds else f" ({found.seeds} of {seeds} seeds)"
        return f"{found.mean:.3f}" + (" ✓" if found.labels in not_inferior else "") + few

    wrong = of_dice[of_dice["noise"] != AS_GIVEN]
    rows: dict[str, dict[str, str]] = {}
    for found in wrong.itertuples():
        row = rows.setdefault(f"{found.supervision}, {found.noise}", {})
        if found.supervision in right:
            row["right"] = text(right[found.supervision])
        row["no level" if found.noise in NO_LEVEL else f"{found.level:g}"] = text(found)
    table = pd.DataFrame.from_dict(rows, orient="index")
    levels = sorted({f"{level:g}" for level in wrong["level"]}, key=float)
    table = table.reindex(columns=[name for name in ("right", *levels, "no level") if name in table])
    return table.rename_axis("labels").reset_index()


def conclusions(study: RobustnessStudy, part: dict[str, pd.DataFrame]) -> list[str]:
    """
    Return the main results in sentences.

    Args:
        study: the study.
        part: tables of the analysis for one cohort and network, by their names: accuracy, comparisons, equally_wrong
            and crossovers.
    """
    of_dice = of_all(part["accuracy"][part["accuracy"]["figure"] == "dice"])
    told = [
        f"{row.labels}: Dice {row.mean:.3f}{_interval(row)}."
        for row in of_dice[of_dice["noise"] == AS_GIVEN].itertuples()
    ]
    for name, supervision in study.supervision.items():
        if supervision.noise_on == "sizes":
            told += _bearable(name, part["comparisons"], study.non_inferiority_margin)
            told += _overtaking(name, part["equally_wrong"], of_all(part["crossovers"]))
    return told


def _bearable(name: str, comparisons: pd.DataFrame, margin: float) -> list[str]:
    """State the highest level at which each kind of noise is not inferior to clean labels, and the worst structure."""
    if comparisons.empty:
        return []
    own = comparisons[(comparisons["supervision"] == name) & (comparisons["reference"] == name)]
    borne, not_shown = [], []
    for kind, group in of_all(own).groupby("noise", sort=False):
        group = group.sort_values("level")
        count = int(group["non_inferior"].eq(True).cumprod().sum())
        if not count:
            not_shown.append(str(kind))
            continue
        row = group.iloc[count - 1]
        worst = own[own["labels"] == row["labels"]].sort_values("mean").iloc[0]
        upto = "" if kind in NO_LEVEL else f" up to {row['level']:g}"
        of_worst = "" if worst["structure"] == row["structure"] else f"; {worst['structure']} {_signed(worst['mean'])}"
        borne.append(f"{kind}{upto} ({_signed(row['mean'])}{of_worst})")
    sentences = []
    if borne:
        sentences.append(
            f"Wrong {name} are not inferior to {name} as given, by the margin of {margin:g} mean Dice: "
            f"{', '.join(borne)}."
        )
    if not_shown:
        sentences.append(
            f"Of these kinds no error that was tried is shown to leave {name} not inferior: {', '.join(not_shown)}."
        )
    return sentences


def _overtaking(name: str, differences: pd.DataFrame, overtaking: pd.DataFrame) -> list[str]:
    """State the mRE from which on sizes are as good as equally wrong masks, in the mean over the structures."""
    sentences = []
    if not overtaking.empty:
        overtaking = overtaking[overtaking["supervision"] == name]
        is_behind = overtaking["overtakes_at"].isna()
        for row in overtaking[~is_behind].itertuples():
            sentences.append(
                f"Errors of the kind {row.noise}: {name} are at least as good as equally wrong {row.masks} from "
                f"an mRE of {row.overtakes_at:.2f} on: {_signed(row.mean)} Dice{_interval(row, _signed)} at "
                f"{row.compared_up_to:.2f}."
            )
        for masks, behind in overtaking[is_behind].groupby("masks", sort=False):
            tried = behind["compared_up_to"]
            upto = " to ".join(dict.fromkeys((f"{tried.min():.2f}", f"{tried.max():.2f}")))
            sentences.append(
                f"Errors of the kinds {', '.join(behind['noise'])}: {name} do not overtake equally wrong {masks} up to "
                f"the largest mRE compared, {upto}."
            )
    if not differences.empty:
        main = of_all(differences)
        for row in main[(main["supervision"] == name) & main["noise"].isin(NO_LEVEL)].itertuples():
            sentences.append(
                f"{row.labels}: {_signed(row.mean)} Dice{_interval(row, _signed)} over equally wrong {row.masks}, at "
                f"an mRE of {row.realised_mre:.2f}."
            )
    return sentences


def _interval(row: Any, form: Callable[[float], str] = "{:.3f}".format) -> str:
    return "" if pd.isna(row.low) else f" ({form(row.low)} to {form(row.high)})"


def _signed(value: float) -> str:
    return "–" if pd.isna(value) else f"{value:+.3f}".replace("-", "−")
