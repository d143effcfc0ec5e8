"""
Names of the files in a run's output folder, and the check that the run has finished.

The module needs only the standard library, so that the supervisor of a run starts at once. The bundles' configs state
the names of :data:`WEIGHTS` and :data:`TENSORBOARD` themselves: a config is read without this module.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

__all__ = [
    "CHECKPOINT",
    "CONFIG",
    "EPOCHS",
    "FIRST_LABELS",
    "INFERENCE",
    "LOCK",
    "LOG",
    "MASKS",
    "METRICS",
    "SETTINGS",
    "SUMMARY",
    "TENSORBOARD",
    "VOLUMES",
    "WEIGHTS",
    "check_finished",
    "is_finished",
]

CONFIG = "config.yaml"
"""The config of the run, with overrides and overlays."""
INFERENCE = "inference.json"
"""Overlay of the bundle's inference config: network, window and structures of the run."""
EPOCHS = "epochs.csv"
"""A row for each epoch: losses, metrics, seconds."""
CHECKPOINT = "checkpoint.pt"
"""State from which the run can go on after its last epoch."""
WEIGHTS = "model.pt"
"""The network's best weights."""
FIRST_LABELS = "first_labels"
"""Folder of the first labels, if they were made in the run's folder."""
TENSORBOARD = "tensorboard"
"""Folder of curves and overlays."""
METRICS = "metrics.csv"
"""A row for each validation case and structure."""
MASKS = "masks"
"""Folder of predicted masks."""
VOLUMES = "volumes.csv"
"""Predicted volumes in mL, beside the masks of an inference."""
SUMMARY = "summary.json"
"""
Settings, course and results, see :class:`medsize.bundle.run.summary.RunSummary`. A run writes it last, in one step: a
run that has it is finished.
"""
LOG = "log.txt"
"""Output of a run that a study or the demo has started, and of an inference."""
LOCK = "run.lock"
"""Lock that the run of a study holds as long as it lives."""
SETTINGS = "cell.json"
"""Settings that distinguish this run from the others of its study."""


def is_finished(run: Path) -> bool:
    """Return whether a run has all its results."""
    return (run / SUMMARY).is_file()


def check_finished(run: Path, files: Sequence[str]) -> None:
    """
    Refuse an unfinished run, and one whose weights are cut off.

    Args:
        run: its output folder.
        files: names of the files that it must have.

    Raises:
        ValueError: naming the files that are missing or cut off, and the latest finished run inside, as in a fit.
    """
    missing = [name for name in files if not (run / name).is_file()]
    if missing:
        inside = [file.parent for folder in ("*", "*/*") for file in run.glob(f"{folder}/{SUMMARY}")]
        finished = [folder for folder in inside if all((folder / name).is_file() for name in files)]
        latest = max(finished, key=lambda folder: (folder / SUMMARY).stat().st_mtime, default=None)
        guess = "" if latest is None else f" Did you mean {latest}?"
        raise ValueError(f"{run} is not a finished run: there is no {', '.join(missing)} in it.{guess}")
    if WEIGHTS in files and not zipfile.is_zipfile(run / WEIGHTS):  # torch writes a ZIP file, whose end tells
        raise ValueError(f"{run / WEIGHTS}: found a file that is cut off, or no weights of torch. Copy it again.")
