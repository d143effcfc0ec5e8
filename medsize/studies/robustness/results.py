"""Tables of the results of a study's finished cells."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from medsize.bundle.run.folder import METRICS
from medsize.bundle.run.summary import RunSummary
from medsize.studies.robustness.study import RobustnessCell, RobustnessStudy

__all__ = ["CONDITION", "read_cases", "read_runs"]

CONDITION = ["cohort", "network", "supervision", "noise", "level", "labels"]
"""Columns that the runs of all seeds share."""
AS_GIVEN = "none"


def read_runs(study: RobustnessStudy, cells: Sequence[RobustnessCell], work_dir: Path) -> pd.DataFrame:
    """
    Return one row for each finished cell, in their order.

    Returns:
        the columns of :data:`CONDITION`, with ``noise`` "none" for labels as given; ``seed``; ``expected_mre`` and
        ``realised_mre``, of sizes their mean relative error, of masks the mean of |A Δ B| / |A|; ``scans``, trained on;
        ``minutes`` of annotation, by the study's cost model; ``dice``, its mean over structures and cases;
        ``seconds`` of training; ``folder``, from the work folder; ``data_list_sha256``; and ``versions``.
    """
    rows = []
    for cell in cells:
        if not cell.is_finished(work_dir):
            continue
        folder = cell.folder(work_dir)
        summary = RunSummary.read(folder)
        rows.append(
            {
                **_condition(cell),
                "seed": cell.seed,
                **_errors(summary, study.supervision[cell.supervision].noise_on),
                "scans": summary.training_scans,
                "minutes": study.minutes(cell, summary.training_scans),
                "dice": summary.results.dice.mean,
                "seconds": summary.training_seconds,
                "folder": str(folder.relative_to(work_dir)),
                "data_list_sha256": summary.data_list_sha256,
                "versions": ", ".join(f"{name} {version}" for name, version in summary.versions.items()),
            }
        )
    return pd.DataFrame(rows)


def read_cases(cells: Sequence[RobustnessCell], work_dir: Path) -> pd.DataFrame:
    """
    Return one row for each finished cell, case and structure.

    Its columns are those of :data:`CONDITION`, ``seed``, and those of ``metrics.csv``.
    """
    tables = []
    for cell in cells:
        if cell.is_finished(work_dir):
            table = pd.read_csv(cell.folder(work_dir) / METRICS, dtype={"image": str, "subject": str, "structure": str})
            table["image"] = [Path(image).name for image in table["image"]]
            tables.append(pd.DataFrame({**_condition(cell), "seed": cell.seed}, index=table.index).join(table))
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def _condition(cell: RobustnessCell) -> dict[str, Any]:
    return {name: getattr(cell, name) for name in CONDITION} | {"noise": cell.noise or AS_GIVEN}


def _errors(summary: RunSummary, noise_on: str) -> dict[str, float | None]:
    if noise_on == "masks":
        return {"expected_mre": summary.noise_level, "realised_mre": summary.mask_change}
    # A coarser detail than the sizes given is not random: what came of it is what was to be expected.
    is_coarse = summary.size_detail != "given"
    expected = summary.size_change if is_coarse else summary.expected_size_change
    return {"expected_mre": expected, "realised_mre": summary.size_change}
