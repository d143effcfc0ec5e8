"""Results of benchmarks, and measurement of ratios on a machine with other work."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import torch

__all__ = ["Result", "cpu_seconds", "machine", "paired_ratios", "run_module", "run_quietly"]


@dataclass(frozen=True)
class Result:
    """
    Result of one benchmark.

    Args:
        what: name of the quantity.
        values: its value in every repeat.
        limit: limit for the median, such as "≤ 1.2"; "" for none.
        remark: conditions of the measurement.
    """

    what: str
    values: Sequence[float]
    limit: str = ""
    remark: str = ""

    @property
    def median(self) -> float:
        """Median of the repeats."""
        return statistics.median(self.values)

    @property
    def spread(self) -> str:
        """Quartiles of the repeats."""
        if len(self.values) < 3:
            return f"{min(self.values):.3g} to {max(self.values):.3g}" if len(self.values) > 1 else "one run"
        low, _, high = statistics.quantiles(self.values, n=4)
        return f"{low:.3g} to {high:.3g}, {len(self.values)} repeats"

    @property
    def met(self) -> str:
        """Answer in a word: is the median within its limit?"""
        if not self.limit:
            return ""
        bound = float(self.limit.split()[1])
        return "yes" if (self.median <= bound if self.limit.startswith("≤") else self.median >= bound) else "**no**"

    def __str__(self) -> str:
        limit = f"; limit {self.limit}" if self.limit else ""
        remark = f"; {self.remark}" if self.remark else ""
        return f"{self.what}: {self.median:.3g} ({self.spread}{limit}{remark})"


def machine() -> str:
    """Describe the machine and the versions."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "monai", "medsize"))
    load = f"load {os.getloadavg()[0]:.1f}"
    return (
        f"{platform.machine()}, {os.cpu_count()} cores, {load}, {torch.get_num_threads()} threads, "
        f"Python {platform.python_version()}, {packages}"
    )


def cpu_seconds(step: Callable[[], object]) -> float:
    """Measure processor time, which other processes disturb less than the time on the wall."""
    started = time.process_time()
    step()
    return time.process_time() - started


def paired_ratios(
    ours: Callable[[], float], theirs: Callable[[], float], repeats: int, warm_up: int = 2
) -> list[float]:
    """Measure both in turn, and return the ratio of each pair."""
    pairs = [(ours(), theirs()) for _ in range(repeats + warm_up)][warm_up:]
    return [a / b for a, b in pairs]


def run_module(*arguments: object) -> list[float]:
    """Run a module in a fresh process, and read the numbers in the last line that it prints."""
    command = [sys.executable, "-m", *map(str, arguments)]
    printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return [float(number) for number in printed.strip().splitlines()[-1].split()]


def run_quietly(command: Sequence[str], folder: Path) -> None:
    """
    Run a command without showing its output.

    Raises:
        RuntimeError: with the end of its output, when it fails.
    """
    run = subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False)
    if run.returncode:
        raise RuntimeError(
            f"{' '.join(command)}: exit code {run.returncode}\n{run.stdout[-2000:]}\n{run.stderr[-2000:]}"
        )
