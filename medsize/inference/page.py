"""The page of predictions: a table, and pictures with outlines."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import nibabel
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from medsize.files import atomic_write
from medsize.inference.intervals import interval_columns
from medsize.inference.segmentation import mask_file
from medsize.page_templates import page_templates
from medsize.pictures import draw_slice, fullest_slice

__all__ = ["MAX_SHOWN", "Panel", "Shown", "draw_montage", "scan_panels", "write_page"]

MAX_SHOWN = 24


class Shown(NamedTuple):
    """Words and columns of a page."""

    noun: str
    """Thing that was segmented, such as ``scan``."""
    size: str
    """Word for its sizes, such as ``volume``."""
    column: str
    """Column of the table with these sizes."""
    unit: str
    low: str
    """Column with the low end of the stated sizes."""
    high: str
    edge: str
    """Place at which a structure may be cut off."""


class Panel(NamedTuple):
    """A slice or picture with its mask."""

    name: str
    plane: np.ndarray
    """See :func:`medsize.pictures.draw_slice`."""
    labels: np.ndarray
    spacing: tuple[float, float]


def write_page(output_dir: Path, table: pd.DataFrame, shown: Shown, intervals: Sequence[str]) -> None:
    """Write the table and the montage as a page, with a line about each structure's intervals."""
    environment = page_templates("medsize.inference")
    page = environment.get_template("predictions.html").render(
        rows=table.to_dict("records"),
        compared=shown.low in table,
        bounds=int(table["lower_bound"].sum()),
        shown=shown,
        fractions="fraction" in table,
        flagged="flag" in table,
        doubts=_doubts(table),
        intervals=intervals,
        ends=interval_columns(shown.column),
    )
    with atomic_write(output_dir / "predictions.html") as file:
        file.write_text(page, encoding="utf-8", errors="backslashreplace")


def _doubts(table: pd.DataFrame) -> dict[str, tuple[str, str]]:
    """Return the flag and the reasons of each scan that has some."""
    if "flag" not in table:
        return {}
    doubted = table[table["reasons"] != ""]
    return dict(zip(doubted["image"], zip(doubted["flag"], doubted["reasons"], strict=True), strict=True))


def scan_panels(output_dir: Path, names: list[str]) -> Iterator[Panel]:
    """Yield the slice of every scan, along the last axis, that shows most of the prediction."""
    for name in names:
        image = nibabel.load(output_dir / "images" / f"{name}.nii.gz")
        mask = np.asarray(nibabel.load(mask_file(output_dir, name)).dataobj).reshape(
            image.shape
        )  # MONAI drops axes of 1
        z = fullest_slice(mask)
        plane = np.asarray(image.dataobj[..., z], dtype=np.float32)
        yield Panel(name, plane, mask[..., z], image.header.get_zooms()[:2])


def draw_montage(output_dir: Path, panels: list[Panel]) -> None:
    """Draw panels with the outlines of their masks."""
    columns = min(len(panels), 6)
    rows = math.ceil(len(panels) / columns)
    figure = Figure(figsize=(2.2 * columns, 2.4 * rows), layout="constrained")
    for axes in figure.subplots(rows, columns, squeeze=False).flat:
        axes.axis("off")
    for axes, panel in zip(figure.axes, panels, strict=False):
        draw_slice(axes, panel.plane, [(panel.labels, "solid")], panel.spacing)
        axes.set_title(panel.name, fontsize=7)
    with atomic_write(output_dir / "montage.png") as file:
        figure.savefig(file, format="png", dpi=120)
