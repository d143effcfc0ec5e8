"""Page about a cohort's first labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from torch.nn import functional as F

from medsize import __version__
from medsize.files import atomic_write, bare_name
from medsize.first_labels.features import as_volume
from medsize.page_templates import page_templates
from medsize.pictures import class_colours, data_url, fullest_slice, slice_png

__all__ = ["TOLD_APART", "advice", "write_report"]

TOLD_APART = 2.0
"""Least separability of a structure whose first labels can be expected to lie on it."""
ENOUGH = 3
"""Scans with clicks or masks that make up for sizes that hardly differ."""
SHOWN = 12
"""Scans on the page."""


def advice(summary: Mapping[str, Any]) -> list[str]:
    """
    Return what the sizes do not tell, one sentence each with what helps; empty if nothing is missing.

    Args:
        summary: content of ``first_labels.json``.
    """
    sentences = []
    told_apart: Mapping[str, float | None] = summary["told_apart"]
    pointed_at: Mapping[str, int] = summary["pointed_at"]
    present = 1 + sum(value is not None for value in told_apart.values())
    help_ = "Clicks in three scans help most, then more scans, or a roi around the organs."
    if told_apart and summary["rank"] < present:
        sentences.append(
            f"the sizes of {summary['scans']} scans have rank {summary['rank']}, expected {present} for as many "
            f"classes: they vary too little to tell the classes apart. {help_}"
        )
    for name, value in told_apart.items():
        if value is None and not pointed_at[name]:
            sentences.append(f"{name}: no scan has it with a known size, so first labels cannot find it.")
        elif value is not None and value < TOLD_APART and pointed_at[name] < ENOUGH:
            sentences.append(
                f"{name}: its sizes hardly tell it from the rest (separability {value:.1f}, expected at least "
                f"{TOLD_APART:g}; {summary['scans']} scans). See whether its first labels lie on it. {help_}"
            )
    for pair in summary.get("pairs", []):  # first labels from before have none
        one, other = pair["structures"]
        value = pair["told_apart"]
        each_found = all((told_apart[name] or 0) >= TOLD_APART for name in (one, other))  # else it was said above
        if each_found and value is not None and value < TOLD_APART and min(pointed_at[one], pointed_at[other]) < ENOUGH:
            sentences.append(
                f"{one} and {other}: their sizes do not tell one from the other (separability {value:.1f}, expected at "
                f"least {TOLD_APART:g}; correlation {pair['correlation']:.2f}), so first labels may exchange them. "
                "Click on both in three scans."
            )
    return sentences


def write_report(
    file: Path,
    summary: Mapping[str, Any],
    items: Sequence[Mapping[Any, Any]],
    transform: Callable[[Any], Any],
    labels: Sequence[torch.Tensor],
) -> None:
    """
    Write the page: training slices with their first labels, the likelihood, and how well sizes are told apart.

    Args:
        file: HTML to write, whole or not at all.
        summary: content of ``first_labels.json``.
        items: training items.
        transform: the deterministic transforms.
        labels: soft label of each scan on its grid, ``(K, Z, h, w)``.
    """
    chosen = np.unique(np.linspace(0, len(items) - 1, min(len(items), SHOWN)).round().astype(int))
    environment = page_templates("medsize.first_labels")
    page = environment.get_template("report.html").render(
        version=__version__,
        summary=summary,
        least=TOLD_APART,
        advice=advice(summary),
        pointed_at=[name for name, value in summary["told_apart"].items() if value is None or value < TOLD_APART],
        pictures=[
            {
                "source": _picture(transform(dict(items[n]))["image"], labels[n].float()),
                "name": bare_name(str(items[n]["image"])),
            }
            for n in chosen
        ],
        colours=class_colours(summary["told_apart"]),
    )
    with atomic_write(file) as partial:
        partial.write_text(page, encoding="utf-8")


def _picture(image: torch.Tensor, label: torch.Tensor) -> str:
    """Return a picture of the slice that shows most, as a data URL."""
    volume = as_volume(image)
    classes = F.interpolate(label.movedim(0, 1), size=list(volume.shape[1:3]), mode="bilinear").argmax(dim=1)
    mask = classes.movedim(0, -1).numpy()  # (H, W, Z)
    shown = fullest_slice(mask)
    spacing = [float(s) for s in image.pixdim[:2]] if isinstance(image, MetaTensor) else [1.0, 1.0]
    png = slice_png(volume[0, :, :, shown].numpy(), [(mask[:, :, shown], "solid")], spacing)
    return data_url(png, "image/png")
