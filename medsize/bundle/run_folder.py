"""
The files of a run's output folder, by name, and whether the run has finished.

It needs the standard library only, so that what supervises runs starts at once. The bundles' configs state the names
of :data:`WEIGHTS` and :data:`TENSORBOARD` themselves: a config is read without this module.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

__all__ = [
    "CHECKPOINT",
    "CONFIG",
    "EPOCHS",
    "EVALUATION",
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
"""The config as it was run, overrides and overlays merged."""
INFERENCE = "inference.json"
"""An overlay for the bundle's inference config: network, window and structures of the run."""
EPOCHS = "epochs.csv"
"""A row for each epoch: losses, metrics, seconds."""
CHECKPOINT = "checkpoint.pt"
"""All that the run needs to go on after its last epoch."""
WEIGHTS = "model.pt"
"""The network's best weights."""
TENSORBOARD = "tensorboard"
"""Folder of curves and overlays."""
METRICS = "metrics.csv"
"""A row for each validation case and structure."""
MASKS = "masks"
"""Folder of predicted masks."""
VOLUMES = "volumes.csv"
"""Predicted volumes in mL: beside the masks that an inference writes."""
EVALUATION = "evaluation"
"""Folder with the metrics and the summary of a later evaluation."""
SUMMARY = "summary.json"
"""
Settings, course and results, see :class:`medsize.bundle.run_summary.RunSummary`. A run writes it last, in one step: who
has it is finished.
"""
LOG = "log.txt"
"""All that the run printed, where a study or the demo started it."""
LOCK = "run.lock"
"""Held by the run of a study as long as it lives."""
SETTINGS = "cell.json"
"""What sets this run apart from the others of its study."""


def is_finished(run: Path) -> bool:
    """Return whether a run has all its results."""
    return (run / SUMMARY).is_file()


def check_finished(run: Path, files: Sequence[str]) -> None:
    """
    Refuse an unfinished run.

    Args:
        run: its output folder.
        files: names of the files that it must have.

    Raises:
        ValueError: naming those that are missing.
    """
    missing = [name for name in files if not (run / name).is_file()]
    if missing:
        raise ValueError(f"{run} is no finished run: there is no {', '.join(missing)} in it.")
