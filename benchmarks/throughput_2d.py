"""
Training throughput of the 2D bundle, over the same training written with the model zoo's usual pieces.

    python -m benchmarks.throughput_2d

Both run by ``monai.bundle run`` on the same phantoms, under masks, with the same network, window, slices, batches and
augmentation. benchmarks/bare_monai.yaml reads and prepares each scan whenever it is drawn (``Dataset``), in two loader
processes, in the default memory format. The time on the wall is taken in turn, without the first epoch.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from ignite.engine import Engine, Events

from benchmarks.result import Result, machine, run_quietly
from medsize.data import write_phantom_cohort

PROJECT = Path(__file__).parent.parent
BUNDLE = PROJECT / "bundles" / "size_seg_2d"
REPEATS, EPOCHS = 3, 4


class EpochClock:
    """
    Handler that writes the seconds of all epochs but the first, and ends the process.

    Args:
        file: file to write to.
    """

    def __init__(self, file: str) -> None:
        self.file = Path(file)
        self._ends: list[float] = []

    def attach(self, engine: Engine) -> None:
        """
        Attach to an engine.

        Args:
            engine: the trainer.
        """
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        self._ends.append(time.perf_counter())
        if len(self._ends) == EPOCHS:
            self.file.write_text(str(self._ends[-1] - self._ends[0]))
            engine.terminate()


def main() -> None:
    """Print the result."""
    print(machine())
    for result in results():
        print(result)


def results() -> list[Result]:
    """Measure the result."""
    ours = [str(BUNDLE / "configs" / name) for name in ("train.yaml", "mask_supervision.yaml")]
    theirs = [str(PROJECT / "benchmarks" / "bare_monai.yaml")]
    alike = ["--spacing", "[3.0,3.0]", "--roi_size", "[64,64]", "--max_epochs", str(EPOCHS), "--val_interval", "1000"]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_phantom_cohort(folder / "data", num_scans=24, shape=(64, 64, 12))
        one_view = ["--agreement_weight", "0.0"]
        pairs = [(seconds(ours, folder, *alike, *one_view), seconds(theirs, folder, *alike)) for _ in range(REPEATS)]
    return [
        Result(
            "2D training throughput over the zoo's usual pieces",
            [theirs_took / ours_took for ours_took, theirs_took in pairs],
            "≥ 1.8",
            "one view, masks",
        )
    ]


def seconds(configs: list[str], folder: Path, *options: str) -> float:
    """Measure the seconds of all epochs but the first."""
    run = Path(tempfile.mkdtemp(dir=folder))
    clock = run / "clock.yaml"
    clock.write_text(
        f"+train#handlers:\n- _target_: benchmarks.throughput_2d.EpochClock\n  file: {run / 'seconds.txt'}\n"
        "run: ['$@train#trainer.run()']\n"
    )
    arguments = ["--bundle_root", str(BUNDLE), "--config_file", str([*configs, str(clock)])]
    paths = ["--dataset_dir", str(folder / "data"), "--output_dir", str(run / "out")]
    command = [sys.executable, "-m", "monai.bundle", "run", *arguments, *paths, *options]
    run_quietly(command, PROJECT)
    return float((run / "seconds.txt").read_text())


if __name__ == "__main__":
    main()
