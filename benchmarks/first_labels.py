"""
Time of first labels over that of a training epoch, in one run of the 2D bundle.

    python -m benchmarks.first_labels

The cohort is a phantom of 24 training scans with a volume for each structure. Both times are those that the run states
itself: ``first_labels.json`` and ``epochs.csv``. The training is that of the default recipe.
"""

from __future__ import annotations

import csv
import json
import statistics
import sys
import tempfile
from pathlib import Path

from benchmarks.result import Result, machine, run_quietly
from medsize.bundle.run.folder import EPOCHS
from medsize.data import write_phantom_cohort

PROJECT = Path(__file__).parent.parent
BUNDLE = PROJECT / "bundles" / "size_seg_2d"
SCANS, TRAINED = 36, 24
NUM_EPOCHS = 4


def main() -> None:
    """Print the result."""
    print(machine())
    for result in results():
        print(result)


def results() -> list[Result]:
    """Measure the result."""
    with tempfile.TemporaryDirectory() as folder:
        cohort, run = Path(folder) / "phantom", Path(folder) / "run"
        write_phantom_cohort(cohort, num_scans=SCANS)
        arguments = ["--bundle_root", BUNDLE, "--config_file", BUNDLE / "configs" / "train.yaml"]
        arguments += ["--dataset_dir", cohort, "--output_dir", run, "--size_level", "volume"]
        arguments += ["--max_epochs", NUM_EPOCHS, "--val_interval", NUM_EPOCHS]
        run_quietly([sys.executable, "-m", "monai.bundle", "run", *map(str, arguments)], PROJECT)
        (summary,) = (run / "first_labels").glob("*/first_labels.json")
        made = float(json.loads(summary.read_text())["seconds"])
        with (run / EPOCHS).open() as lines:
            epoch = statistics.median([float(row["seconds"]) for row in csv.DictReader(lines)][1:])
    return [
        Result(
            f"first labels of {TRAINED} phantoms over a training epoch of theirs, UNet",
            [made / epoch],
            remark=f"{made:.1f} s over {epoch:.1f} s on the wall",
        )
    ]


if __name__ == "__main__":
    main()
