"""
The picture at the top of README.md, drawn from what ``make demo`` left: phantoms only, no scan of a patient.

    python -m benchmarks.phantom_picture [--demo-dir demo] [--output docs/images/phantom.png]
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import nibabel
import numpy as np
import typer
from matplotlib.figure import Figure

from benchmarks.demo import PROJECT, run_dir
from medsize.data import PHANTOM_CLASSES
from medsize.files import atomic_write
from medsize.pictures import COLOURS, draw_slice
from medsize.units import MM3_PER_ML

PANELS = {"sizes": "volumes alone", "masks": "masks"}
"""Runs of the demonstration to show, and their names in the picture."""


def main(
    demo_dir: Annotated[Path, typer.Option(help="Folder that make demo wrote.")] = PROJECT / "demo",
    output: Annotated[Path, typer.Option(help="The picture.")] = PROJECT / "docs" / "images" / "phantom.png",
    training_scan: Annotated[int, typer.Option(help="Number of the phantom on the left.")] = 4,
    unseen_scan: Annotated[int, typer.Option(help="Number of the phantom on the right, of fold 0.")] = 0,
) -> None:
    """Draw a training phantom with its volumes, and an unseen one with outlines."""
    cohort = demo_dir / "phantom"
    items: list[dict[str, Any]] = json.loads((cohort / "datalist.json").read_text())["training"]
    known, unseen = items[training_scan], items[unseen_scan]
    if known["fold"] == 0 or unseen["fold"] != 0:
        raise typer.BadParameter("the phantom on the left must be trained on, the one on the right of fold 0.")

    figure = Figure(figsize=(10, 3.4), layout="constrained", facecolor="white")
    axes = figure.subplots(1, 4)
    draw_slice(axes[0], middle_slice(cohort / known["image"]))
    axes[0].set_title("known of a training scan:\nthe volumes of its organs", fontsize=10)
    for index, (name, colour) in enumerate(zip(PHANTOM_CLASSES[1:], COLOURS, strict=False), start=1):
        text = f"{name}\n{known['size'][name] / MM3_PER_ML:.0f} mL"
        place = {"x": (index - 0.5) / len(PHANTOM_CLASSES[1:]), "y": -0.03, "transform": axes[0].transAxes}
        axes[0].text(s=text, color=colour, fontsize=10, weight="bold", ha="center", va="top", **place)

    predicted = Path(unseen["image"]).name.replace(".nii.gz", "_seg.nii.gz")
    masks = [run_dir(label, demo_dir) / "segmentations" / predicted for label in PANELS]
    titles = [*(f"unseen scan, trained from\n{title}" for title in PANELS.values()), "the same scan,\nits mask"]
    for axis, title, mask in zip(axes[1:], titles, [*masks, cohort / unseen["label"]], strict=True):
        draw_slice(axis, middle_slice(cohort / unseen["image"]), [(middle_slice(mask), "solid")])
        axis.set_title(title, fontsize=10)
    output.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(output) as file:
        figure.savefig(file, format="png", dpi=100)
    typer.echo(f"{output}: {output.stat().st_size // 1000} kB")


def middle_slice(file: Path) -> np.ndarray:
    """Return the middle slice of a NIfTI file."""
    voxels = np.asarray(nibabel.load(file).dataobj)
    return voxels[..., voxels.shape[2] // 2]


if __name__ == "__main__":
    typer.run(main)
