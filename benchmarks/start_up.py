"""
Start-up of the command line, and of a bundle's run to its first step beside one of MONAI's pieces alone.

    python -m benchmarks.start_up

It measures the processor time of fresh processes in turn. The bare run is benchmarks/bare_monai.yaml: the 2D bundle as
the model zoo writes it, trained from masks.
"""

from __future__ import annotations

import os
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path

from ignite.engine import Engine, Events

from benchmarks.result import Result, machine, run_quietly
from medsize.data import write_phantom_cohort

PROJECT = Path(__file__).parent.parent
BUNDLE = PROJECT / "bundles" / "size_seg_2d"
BARE = PROJECT / "benchmarks" / "bare_monai.yaml"
REPEATS = 5


class StopAtFirstStep:
    """Handler that ends the process when the first batch is there."""

    def attach(self, engine: Engine) -> None:
        """
        Attach to an engine.

        Args:
            engine: the trainer.
        """
        engine.add_event_handler(Events.ITERATION_STARTED, lambda _: os._exit(0))


def main() -> None:
    """Print the results."""
    print(machine())
    for result in results():
        print(result)


def results() -> list[Result]:
    """Measure the results."""
    help_times = [seconds_of(["medsize.cli", "--help"]) for _ in range(REPEATS + 1)][1:]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_phantom_cohort(folder / "data", num_scans=12, shape=(64, 64, 12))
        stop = folder / "stop.yaml"
        stop.write_text("+train#handlers:\n- _target_: benchmarks.start_up.StopAtFirstStep\n")
        ours = [str(BUNDLE / "configs" / "train.yaml"), str(stop)]
        bare = [str(BARE), str(stop)]
        pairs = [(first_step(ours, folder), first_step(bare, folder)) for _ in range(REPEATS + 1)][1:]
    return [
        Result(
            "medsize --help: seconds",
            [wall for wall, _ in help_times],
            "≤ 0.5",
            f"{statistics.median(cpu for _, cpu in help_times):.2f} s of processor time",
        ),
        Result(
            "a bundle's run to its first step over bare MONAI's",
            [our_cpu / bare_cpu for (_, our_cpu), (_, bare_cpu) in pairs],
            "≤ 1.1",
            f"{statistics.median(cpu for (_, cpu), _ in pairs):.1f} s over "
            f"{statistics.median(cpu for _, (_, cpu) in pairs):.1f} s of processor time",
        ),
    ]


def first_step(configs: list[str], folder: Path) -> tuple[float, float]:
    """Measure the seconds and the processor time of a run until its first step."""
    return seconds_of(
        [
            *("monai.bundle", "run", "--bundle_root", str(BUNDLE), "--config_file", str(configs)),
            *("--dataset_dir", str(folder / "data"), "--output_dir", tempfile.mkdtemp(dir=folder)),
            *("--spacing", "[3.0,3.0]", "--roi_size", "[64,64]"),
        ]
    )


def seconds_of(arguments: list[str]) -> tuple[float, float]:
    """Measure the seconds and the processor time of a Python module."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    run_quietly([sys.executable, "-m", *arguments], PROJECT)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - started, spent


if __name__ == "__main__":
    main()
