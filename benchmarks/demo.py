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
from rich import box
from rich.console import Console
from rich.table import Table

from medsize.bundle.run.folder import LOG, MASKS
from medsize.bundle.run.summary import RunSummary
from medsize.data import PHANTOM_CLASSES, write_phantom_cohort
from medsize.files import atomic_write
from medsize.pictures import draw_legend, draw_slice

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
        "Dice: overlap with the masks, from 0 to 1; 'of masks': as a part of that after training from masks. HD95: how "
        "far outlines are from those of the masks, but for the farthest 5 %. Size error: mean relative error of the "
        "volumes. Time: of the training.\n"
        "Sizes: one volume for each organ and scan. Clicks: one for each organ and slice, from the masks. Organs of a "
        "phantom have a brightness of their own, so that volumes alone tell where they are: clicks add little. "
        "The scans above were never trained on. "
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
    table = Table(
        title="phantom cohort, validation scans", box=box.SIMPLE_HEAD, padding=(0, 0, 0, 1)
    )  # 80 columns hold it
    structures = [f"Dice\n{name}" for name in PHANTOM_CLASSES[1:]]
    for column in ("\ntrained from", "\nDice", "of\nmasks", *structures, "HD95\nmm", "size\nerror", "time\ns"):
        first = "trained" in column
        table.add_column(column, justify="left" if first else "right", no_wrap=True)
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
    figure = Figure(figsize=(3 * (1 + len(SUPERVISIONS)), 3.3 * len(shown)), layout="constrained")
    for row, item in zip(figure.subplots(len(shown), 1 + len(SUPERVISIONS), squeeze=False), shown, strict=True):
        image = np.asarray(nibabel.load(cohort / item["image"]).dataobj)
        true = np.asarray(nibabel.load(cohort / item["label"]).dataobj)
        z = image.shape[2] // 2
        draw_slice(row[0], image[..., z], [(true[..., z], "solid")])
        row[0].set_title(f"{Path(item['image']).name.split('.')[0]}, middle slice\ntrue mask", fontsize=9)
        for axis, label in zip(row[1:], SUPERVISIONS, strict=True):
            found = np.asarray(nibabel.load(run_dir(label, output_dir) / MASKS / item["image"]).dataobj)
            draw_slice(axis, image[..., z], [(found[..., z], "solid")])
            axis.set_title(f"trained from {label}\nDice of this scan {_shown(mean_dice(found, true))}", fontsize=9)
    draw_legend(figure, PHANTOM_CLASSES[1:])
    figure.suptitle("Phantom scans never trained on (synthetic, no patient)")
    path = output_dir / "phantom_overlays.png"
    with atomic_write(path) as partial:
        figure.savefig(partial, format="png", dpi=110)
    return path


def mean_dice(found: np.ndarray, true: np.ndarray) -> float:
    """Return the mean Dice of the structures that a scan has."""
    classes = [k for k in range(1, len(PHANTOM_CLASSES)) if (true == k).any()]
    both = [((found == k) & (true == k)).sum() / ((found == k).sum() + (true == k).sum()) for k in classes]
    return float(2 * np.mean(both))


def _shown(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


if __name__ == "__main__":
    typer.run(main)
