"""Pictures of slices with the outlines of masks, and their embedding in a page, so that it opens offline."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["COLOURS", "class_colours", "data_url", "draw_legend", "draw_slice", "fullest_slice", "slice_png"]

COLOURS = ("#E69F00", "#56B4E9", "#CC79A7", "#F0E442", "#009E73", "#D55E00", "#0072B2")
"""Colours of the classes: Okabe and Ito's, distinct for any colour vision; those that differ most from grey first."""
DPI = 100


def class_colours(structures: Iterable[str]) -> dict[str, str]:
    """Return the colour of each structure; these are the classes 1, 2, … in their order."""
    return {name: COLOURS[k % len(COLOURS)] for k, name in enumerate(structures)}


def fullest_slice(mask: np.ndarray) -> int:
    """Return the slice along the last axis that shows most of a mask, or the middle one if the mask is empty."""
    shown = (mask > 0).sum(axis=tuple(range(mask.ndim - 1)))
    return int(shown.argmax()) if shown.any() else mask.shape[-1] // 2


def draw_slice(
    axes: Axes,
    plane: np.ndarray,
    outlines: Sequence[tuple[np.ndarray, str]] = (),
    spacing: Sequence[float] = (1.0, 1.0),
    crosses: Sequence[tuple[int, float, float]] = (),
) -> None:
    """
    Draw a slice, from its percentile 0.5 to 99.5, and outline each class of label maps in its colour.

    Args:
        axes: axes to draw on.
        plane: intensities, ``(X, Y)``, or red, green and blue, ``(X, Y, 3)``: x runs to the right, y upwards.
        outlines: label maps, ``(X, Y)``, and the style of their lines, such as ``"solid"``.
        spacing: mm of a pixel along x and y.
        crosses: class and place of marks, in pixels along x and y.
    """
    from matplotlib.patheffects import withStroke

    finite = plane[np.isfinite(plane)]
    low, high = np.percentile(finite, [0.5, 99.5]) if finite.size else (0.0, 1.0)
    axes.axis("off")
    aspect = float(spacing[1] / spacing[0])
    high = max(high, low + 1e-6)
    shown = np.swapaxes(plane, 0, 1)
    if shown.ndim == 3:
        shown = np.clip((shown - low) / (high - low), 0, 1)
    axes.imshow(shown, cmap="gray", vmin=low, vmax=high, origin="lower", aspect=aspect)
    for labels, style in outlines:
        padded = np.pad(labels, 1)  # closes the outlines of structures at the border
        places = [np.arange(-1, n + 1).clip(-0.5, n - 0.5) for n in labels.shape]
        for index in np.unique(labels[labels > 0]).astype(int):
            colour = COLOURS[(index - 1) % len(COLOURS)]
            outline = axes.contour(*places, (padded == index).T, [0.5], colors=colour, linestyles=style, linewidths=2.0)
            outline.set_path_effects([withStroke(linewidth=3.0, foreground="black", alpha=0.4)])
    for index, x, y in crosses:
        colour = COLOURS[(index - 1) % len(COLOURS)] if index else "white"
        (cross,) = axes.plot(x, y, "+", color=colour, markersize=14, markeredgewidth=2, scalex=False, scaley=False)
        cross.set_path_effects([withStroke(linewidth=4.0, foreground="black", alpha=0.6)])


def draw_legend(figure: Figure, structures: Iterable[str]) -> None:
    """Draw a legend of the structures' colours below a figure with constrained layout."""
    from matplotlib.lines import Line2D

    lines = [
        Line2D([], [], color=colour, linewidth=2.0, label=name) for name, colour in class_colours(structures).items()
    ]
    columns = max(1, int(figure.get_figwidth() / 1.6))
    figure.legend(handles=lines, loc="outside lower center", ncols=min(columns, len(lines)), fontsize=8, frameon=False)


def slice_png(
    plane: np.ndarray,
    outlines: Sequence[tuple[np.ndarray, str]] = (),
    spacing: Sequence[float] = (1.0, 1.0),
    pixels: int = 320,
    crosses: Sequence[tuple[int, float, float]] = (),
) -> bytes:
    """
    Make a PNG of a slice, without a margin.

    Args:
        plane: see :func:`draw_slice`.
        outlines: see :func:`draw_slice`.
        spacing: see :func:`draw_slice`.
        pixels: number of pixels along the longer side.
        crosses: see :func:`draw_slice`.
    """
    from matplotlib.figure import Figure

    extent = np.multiply(plane.shape[:2], spacing)
    size = np.maximum(np.round(pixels * extent / extent.max()), 1)
    figure = Figure(figsize=tuple(size / DPI), dpi=DPI)
    draw_slice(figure.add_axes((0, 0, 1, 1)), plane, outlines, spacing, crosses)
    content = io.BytesIO()
    figure.savefig(content, format="png")
    return content.getvalue()


def data_url(content: bytes, kind: str) -> str:
    """
    Return the content of a file as a data URL, such as the source of an ``img``.

    Args:
        content: content of the file.
        kind: its media type, such as ``image/png``.
    """
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
