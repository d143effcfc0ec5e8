"""Durations: a rough guess before a training, and what a time limit leaves of the plan."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from typing import Protocol

from pydantic import BaseModel, ConfigDict

__all__ = [
    "CLEARLY_LONGER",
    "LEAST_EPOCHS",
    "START_SECONDS",
    "Machine",
    "Pace",
    "as_text",
    "guess_seconds",
    "parse_time",
    "shortened",
    "this_machine",
]

SECONDS_PER_MEGAVOXEL = {"unet": 2.7, "lean_unet": 3.7, "segresnet": 7.0, "first labels": 6.0}
"""Seconds that a million voxels take on one core; in training, two views of each. One machine, phantoms."""
GPU_CORES = 30
"""Cores that a GPU counts as. Nothing was measured on one: the first epochs correct it."""
START_SECONDS = 8.0
"""Seconds before the first epoch of a training: imports, scans. One machine."""
LEAST_EPOCHS = 10
"""Epochs that a time limit leaves to each training."""
LEAST_SHARE = 0.5
"""Share of the epochs below which a teacher is left out rather than all trainings shortened further."""
MEASURED = 2
"""Epochs to measure before a training is shortened or lengthened."""
MAX_CHANGES = 2
"""Changes of the number of epochs of a training, at most: each time, its process starts anew."""
CLEARLY_LESS, CLEARLY_MORE = 0.9, 1.3
"""Ratios of the epochs that are worth a new start."""
CLEARLY_LONGER = 1.1
"""Ratio of a duration to the time limit beyond which the limit is said not to hold."""
TIME = re.compile(r"(?:(?P<h>[\d.]+)h)?(?:(?P<m>[\d.]+)m(?:in)?)?(?:(?P<s>[\d.]+)s)?")


class Training(Protocol):
    """A training, as far as its duration goes."""

    @property
    def folder(self) -> str:
        """Its folder, which is its name."""

    @property
    def epochs(self) -> int:
        """Epochs that the plan gives it."""

    @property
    def all_epochs(self) -> int:
        """Epochs that it has without a time limit."""

    @property
    def seconds(self) -> float:
        """Rough guess of its duration."""


class Machine(BaseModel):
    """A machine to train on."""

    model_config = ConfigDict(frozen=True)

    memory_bytes: int
    cores: int = 1
    has_gpu: bool = False


def this_machine() -> Machine:
    """Return the machine that this process runs on."""
    import torch

    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return Machine(memory_bytes=memory, cores=torch.get_num_threads(), has_gpu=torch.cuda.is_available())


def guess_seconds(network: str, voxels: float, machine: Machine) -> float:
    """
    Guess roughly how long an epoch takes.

    Args:
        network: name of the network.
        voxels: voxels that an epoch trains on.
        machine: the machine to train on.
    """
    cores = GPU_CORES if machine.has_gpu else machine.cores**0.7  # two cores do not halve the time
    return SECONDS_PER_MEGAVOXEL[network] * voxels / 1e6 / cores


def shortened(seconds: Callable[[int], float], teachers: int, least: int, limit: float) -> tuple[int, float]:
    """
    Return the number of teachers, and the share of the epochs, that fit into a time limit.

    Args:
        seconds: returns the duration of the whole plan with a number of teachers and all epochs.
        teachers: number of teachers in full.
        least: number of teachers to keep.
        limit: seconds.
    """
    while True:
        share = min(limit / max(seconds(teachers), 1e-9), 1.0)
        if share >= LEAST_SHARE or teachers <= least:
            return teachers, share
        teachers -= 1


def least_epochs(stage: Training) -> int:
    """Return the epochs that a time limit leaves to a training."""
    return min(LEAST_EPOCHS, stage.all_epochs)


def parse_time(text: str) -> float:
    """
    Return the seconds that a text such as 2h, 90m or 1h30m states.

    Raises:
        ValueError: when it is not of that form.
    """
    found = TIME.fullmatch(text.replace(" ", "").lower())
    try:
        parts = [float(part or 0) for part in found.group("h", "m", "s")] if found else []
    except ValueError:
        parts = []
    seconds = sum(part * unit for part, unit in zip(parts, (3600, 60, 1), strict=False))
    if seconds <= 0:
        raise ValueError(f"the time limit is '{text}', expected such as 2h, 90m or 1h30m. Correct it.")
    return seconds


def as_text(seconds: float) -> str:
    """Return a duration for a reader, such as 1 h 30 min."""
    if seconds < 120:
        return f"{max(round(seconds), 1)} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


class Pace:
    """
    Measured pace of the trainings: how long the rest takes, and how many epochs a time limit leaves.

    Args:
        trainings: the trainings of the plan, with their guesses.
        limit: seconds for all of them. Default: none.
    """

    def __init__(self, trainings: Sequence[Training], limit: float | None = None) -> None:
        self.ahead = list(trainings)
        self.limit = limit
        self.factor = 1.0
        self.measured: dict[str, float] = {}
        self.changes: dict[str, int] = {}
        self.told = False

    def measure(self, stage: Training, seconds: Sequence[float]) -> None:
        """Take in the epochs of a training that this process has seen; the first one is longer than the others."""
        steady = seconds[1:] or seconds
        self.measured[stage.folder] = sum(steady) / len(steady)
        self.factor = self.measured[stage.folder] * stage.epochs / max(stage.seconds, 1e-9)

    def finish(self, stage: Training) -> None:
        """Take out a stage that has ended."""
        self.ahead = [other for other in self.ahead if other.folder != stage.folder]

    def of_epoch(self, stage: Training) -> float:
        """Return the seconds of an epoch: as measured, or as guessed and corrected by what was measured."""
        return self.measured.get(stage.folder, self.factor * stage.seconds / max(stage.epochs, 1))

    def seconds_left(self, stage: Training, epochs: int) -> float:
        """Return the seconds that the fit still takes, with so many more epochs of a stage."""
        others = [other for other in self.ahead if other.folder != stage.folder]
        return epochs * self.of_epoch(stage) + sum(
            other.epochs * self.of_epoch(other) + START_SECONDS for other in others
        )

    def too_long(self, stage: Training, done: int, used: float) -> float | None:
        """
        Return the seconds of the whole fit with the least epochs, once, if these are clearly more than the limit.

        Args:
            stage: a training that runs.
            done: epochs that it has finished.
            used: seconds that the fit has taken.
        """
        if self.limit is None or done < MEASURED or self.told:
            return None
        others = [other for other in self.ahead if other.folder != stage.folder]
        needed = used + max(least_epochs(stage) - done, 0) * self.of_epoch(stage)
        needed += sum(least_epochs(other) * self.of_epoch(other) + START_SECONDS for other in others)
        self.told = needed > CLEARLY_LONGER * self.limit
        return needed if self.told else None

    def epochs(self, stage: Training, now: int, done: int, used: float) -> int:
        """
        Return the number of epochs for a training, so that the fit ends in time.

        Args:
            stage: a training that runs.
            now: its number of epochs so far.
            done: epochs that it has finished.
            used: seconds that the fit has taken.
        """
        if self.limit is None or done < MEASURED or self.changes.get(stage.folder, 0) >= MAX_CHANGES:
            return now
        least, left = least_epochs(stage), self.limit - used
        needed = max(self.seconds_left(stage, now - done), 1e-9)
        if CLEARLY_LESS < left / needed < CLEARLY_MORE:
            return now
        share = max(left - START_SECONDS, 0.0) / needed  # its process starts anew
        wanted = min(max(done + round((now - done) * share), least, done + 1), stage.all_epochs)
        if CLEARLY_LESS * now <= wanted <= CLEARLY_MORE * now:
            return now
        self.changes[stage.folder] = self.changes.get(stage.folder, 0) + 1
        return wanted
