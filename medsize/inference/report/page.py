"""The page of predictions: a table, and pictures with outlines."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from medsize import __version__
from medsize.files import atomic_write
from medsize.inference.report.intervals import interval_columns
from medsize.metrics.reliability import FLAGS
from medsize.page_templates import page_templates
from medsize.pictures import class_colours, data_url, draw_legend, draw_slice, slice_png

__all__ = ["MAX_SHOWN", "Panel", "Shown", "draw_montage", "write_page"]

MAX_SHOWN = 24
"""Number of scans in the montage."""
PIXELS = 240
"""Pixels along the longer side of a picture on the page."""


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

    def png(self) -> bytes:
        """Return a picture for the page."""
        return slice_png(self.plane, [(self.labels, "solid")], self.spacing, PIXELS)


def write_page(
    output_dir: Path,
    table: pd.DataFrame,
    shown: Shown,
    intervals: Sequence[str],
    pictures: Mapping[str, bytes],
    left_out: Sequence[str] = (),
    unchecked: str = "",
    doubt: str = "",
) -> None:
    """Write table and pictures as a page of one file, with lines about what is left out, not checked and doubted."""
    rows = table.to_dict("records")
    of_image: dict[str, list[dict[str, Any]]] = {image: [] for image in pictures}
    for row in rows:
        of_image[row["image"]].append(row)
    structures = dict.fromkeys(table["structure"])
    page = page_templates("medsize.inference.report").get_template("predictions.html")
    text = page.render(
        version=__version__,
        rows=rows,
        of_image=of_image,
        anchors={image: f"scan-{number}" for number, image in enumerate(pictures, start=1)},
        pictures={image: data_url(png, "image/png") for image, png in pictures.items()},
        found={
            image: [row["structure"] for row in of if row.get("fraction", row[shown.column]) > 0]
            for image, of in of_image.items()
        },
        flags={image: of[0].get("flag", "") for image, of in of_image.items()},
        colours=class_colours(structures),
        compared=shown.low in table,
        bounds=int(table["lower_bound"].sum()),
        shown=shown,
        fractions="fraction" in table,
        flagged="flag" in table,
        doubts=_doubts(table),
        intervals=intervals,
        left_out=left_out,
        unchecked=unchecked,
        doubt=doubt,
        flag_order=FLAGS,
        ends=interval_columns(shown.column),
    )
    with atomic_write(output_dir / "predictions.html") as file:
        file.write_text(text, encoding="utf-8", errors="backslashreplace")


def _doubts(table: pd.DataFrame) -> dict[str, tuple[str, str]]:
    """Return the flag and the reasons of each scan that has some."""
    if "flag" not in table:
        return {}
    doubted = table[table["reasons"] != ""]
    return dict(zip(doubted["image"], zip(doubted["flag"], doubted["reasons"], strict=True), strict=True))


def draw_montage(output_dir: Path, panels: list[Panel], structures: Sequence[str]) -> None:
    """Draw panels with the outlines of their masks, and a legend of the structures' colours."""
    columns = min(len(panels), 6)
    rows = math.ceil(len(panels) / columns)
    figure = Figure(figsize=(2.2 * columns, 2.4 * rows), layout="constrained")
    for axes in figure.subplots(rows, columns, squeeze=False).flat:
        axes.axis("off")
    for axes, panel in zip(figure.axes, panels, strict=False):
        draw_slice(axes, panel.plane, [(panel.labels, "solid")], panel.spacing)
        axes.set_title(panel.name, fontsize=7)
    draw_legend(figure, structures)
    with atomic_write(output_dir / "montage.png") as file:
        figure.savefig(file, format="png", dpi=120)
