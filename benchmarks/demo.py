"""
Demonstration of sizes against masks on a phantom cohort, from the scans to a table and a figure.

    python -m benchmarks.demo --output-dir demo

It makes the cohort, and trains the UNet of the 2D bundle under each supervision by ``python -m monai.bundle run``, two
runs of one thread at a time. Sizes are one volume for each organ and scan: the bundle's default recipe makes first
labels of them. Each run is evaluated on scans never trained on. A table and a picture of their masks come last.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any

import nibabel
import numpy as np
import typer
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from medsize.bundle.run_folder import LOG, MASKS
from medsize.bundle.run_summary import RunSummary
from medsize.data import PHANTOM_CLASSES, write_phantom_cohort
from medsize.files import atomic_write
from medsize.pictures import draw_slice

PROJECT = Path(__file__).parent.parent
CONFIGS = PROJECT / "bundles" / "size_seg_2d" / "configs"
VOLUMES = ["--size_level", "volume"]
SUPERVISIONS: dict[str, tuple[list[str], list[str]]] = {  # the longest runs first
    "sizes": ([], VOLUMES),
    "sizes + clicks": ([], [*VOLUMES, "--supervision", "size+scribble"]),
    "masks": (["mask_supervision.yaml"], []),
}
"""Overlays and options of each run."""
SCHEDULE = ["--learning_rate", "0.003", "--start_at_mean_sizes", "True", "--potts_weight", "0.0"]
SCHEDULE += ["--val_interval", "10"]
"""The same for all runs. Fast and short: a longer training learns the faults of the first labels by heart."""


def main(
    output_dir: Annotated[Path, typer.Option(help="Folder to write everything to.")] = Path("demo"),
    scans: Annotated[int, typer.Option(help="Phantom scans; a third of them validates.", min=6)] = 36,
    epochs: Annotated[int, typer.Option(help="Epochs of each training.", min=1)] = 40,
    seed: Annotated[int, typer.Option(help="Seed of the trainings.", min=0)] = 0,
) -> None:
    """Make a phantom cohort, train and evaluate under each supervision, print a table and draw a figure."""
    console = Console()
    started = time.perf_counter()
    output_dir = output_dir.resolve()
    cohort = output_dir / "phantom"
    write_phantom_cohort(cohort, num_scans=scans)
    console.print(f"phantom cohort of {scans} scans: {cohort}")
    with console.status("training on the phantoms, two runs at a time …"), ThreadPoolExecutor(2) as pool:
        for label, code in pool.map(
            lambda label: (label, train(label, cohort, output_dir, epochs, seed)), SUPERVISIONS
        ):
            if code:
                raise SystemExit(f"the run '{label}' failed, see {run_dir(label, output_dir) / LOG}")
            console.print(f"trained with {label}")
    console.print(results_table(output_dir))
    figure = draw(cohort, output_dir)
    console.print(f"figure: {figure}\nruns: {output_dir}\n{time.perf_counter() - started:.0f} s in all")
    console.print(
        "Sizes: one volume per organ and scan. Clicks: one per organ and slice. The scans were never trained on. "
        "A phantom shows that the software works, not how well the method does on patients."
    )


def run_dir(label: str, output_dir: Path) -> Path:
    """Return the output folder of a run."""
    return output_dir / label.replace(" + ", "_and_")


def train(label: str, cohort: Path, output_dir: Path, epochs: int, seed: int = 0) -> int:
    """Train and evaluate, and keep the masks of the validation scans; return the exit code."""
    run = run_dir(label, output_dir)
    run.mkdir(parents=True, exist_ok=True)
    overlays, options = SUPERVISIONS[label]
    files = [str(CONFIGS / name) for name in ("train.yaml", *overlays)]
    command = [sys.executable, "-m", "monai.bundle", "run", "--bundle_root", str(CONFIGS.parent)]
    command += ["--config_file", str(files), "--dataset_dir", str(cohort), "--output_dir", str(run)]
    command += [*options, *SCHEDULE, "--max_epochs", str(epochs), "--seed", str(seed)]
    command += ["--save_masks", "True", "--overwrite", "True"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with (run / LOG).open("w") as log:
        return subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, env=environment, check=False).returncode


def results_table(output_dir: Path) -> Table:
    """Make a table with a row for each supervision."""
    summaries = {label: RunSummary.read(run_dir(label, output_dir)) for label in SUPERVISIONS}
    reference = summaries["masks"].results.dice.mean
    table = Table(title="phantom cohort, validation scans")
    for column in (
        "supervision",
        "Dice",
        "of masks",
        *(name for name in PHANTOM_CLASSES[1:]),
        "HD95 mm",
        "mRE",
        "s",
    ):
        first = column == "supervision"
        table.add_column(column, justify="left" if first else "right", no_wrap=first)
    for label, summary in summaries.items():
        results = summary.results
        share = results.dice.mean / reference if results.dice.mean is not None and reference else None
        figures = [results.dice.mean, share, *(results.dice.structures[name].mean for name in PHANTOM_CLASSES[1:])]
        figures += [results.hd95_mm.mean, results.relative_size_error.mean]
        table.add_row(label, *map(_shown, figures), f"{summary.training_seconds:.0f}")
    return table


def draw(cohort: Path, output_dir: Path) -> Path:
    """Draw predictions over the middle slices of three validation phantoms."""
    items: list[dict[str, Any]] = json.loads((cohort / "datalist.json").read_text())["training"]
    shown = [item for item in items if item["fold"] == 0][:3]
    titles = {"true mask": "true mask"}
    for label in SUPERVISIONS:
        dice = RunSummary.read(run_dir(label, output_dir)).results.dice.mean
        titles[label] = f"trained from {label}\nDice of all scans {_shown(dice)}"
    figure = Figure(figsize=(3 * len(titles), 3.3 * len(shown)), layout="constrained")
    for row, item in zip(figure.subplots(len(shown), len(titles), squeeze=False), shown, strict=True):
        image = np.asarray(nibabel.load(cohort / item["image"]).dataobj)
        masks = [cohort / item["label"]]
        masks += [run_dir(label, output_dir) / MASKS / item["image"] for label in SUPERVISIONS]
        z = image.shape[2] // 2
        for axis, title, mask_file in zip(row, titles, masks, strict=True):
            draw_slice(axis, image[..., z], [(np.asarray(nibabel.load(mask_file).dataobj)[..., z], "solid")])
            axis.set_title(titles[title], fontsize=9)
    figure.suptitle("Phantom scans never trained on (synthetic, no patient)")
    path = output_dir / "phantom_overlays.png"
    with atomic_write(path) as partial:
        figure.savefig(partial, format="png", dpi=110)
    return path


def _shown(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


if __name__ == "__main__":
    typer.run(main)
