"""Report of a cohort: one HTML file that needs nothing else."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter
from nibabel.affines import apply_affine

from medsize import __version__
from medsize.bundle.overlay import Setting
from medsize.checks.plausibility.cohort import size_volumes
from medsize.cohort.conversion.pictures import IGNORED
from medsize.data.cohort import Cohort
from medsize.data.size_unit import size_unit
from medsize.files import atomic_write, bare_name
from medsize.items import Click
from medsize.page_templates import page_templates
from medsize.pictures import class_colours, data_url, fullest_slice, slice_png
from medsize.scans.scan_facts import UNREADABLE, image_facts, image_place
from medsize.scans.space.geometry import num_channels
from medsize.units import size_text

__all__ = ["write_report"]

MAX_SHOWN = 24
"""Scans in the montage, evenly taken."""


def write_report(
    file: Path,
    cohort: Cohort,
    settings: Sequence[Setting],
    problems: Sequence[str],
    suspicions: Sequence[str],
    commands: Sequence[str],
    names: str,
    left_out: Sequence[str] = (),
) -> Path:
    """
    Write a cohort's report: problems, pictures, spacing, shapes, sizes, folds and the proposed settings.

    Args:
        file: HTML to write, whole or not at all.
        cohort: cohort whose scans can be read.
        settings: settings of the overlay.
        problems: problems found.
        suspicions: possible problems.
        commands: next commands, one a line.
        names: name of the file that tells the codes' names.
        left_out: files that are not scans, with the reasons.
    """
    items: list[dict[str, Any]] = [{**item, "name": bare_name(item["image"])} for item in cohort.items]
    facts = [image_facts(item["image"]) for item in items]
    unit = size_unit(facts, cohort.length_unit)
    volumes = np.stack([size_volumes(item) for item in cohort.items]) / unit.of_one
    zooms, shapes = np.array([f.zooms for f in facts]), np.array([f.shape for f in facts])
    views = np.prod(shapes[:, :2] * zooms[:, :2], axis=1, keepdims=True)
    axis_names = "xy" if unit.is_flat else "xyz"
    axes, elements = list(range(len(axis_names))), "pixels" if unit.is_flat else "voxels"
    structures = cohort.class_names[1:]
    environment = page_templates("medsize.cohort")
    environment.filters["number"] = number
    page = environment.get_template("report.html").render(
        version=__version__,
        scans=len(items),
        subjects=len({item["subject"] for item in items}),
        masks=sum("label" in item for item in items),
        structures=structures,
        names=names,
        left_out=left_out,
        problems=problems,
        suspicions=suspicions,
        pictures=list(_pictures(items)),
        clicks=list(_clicks(items, cohort.class_names)),
        clicked=sum(bool(item.get("clicks")) for item in items),
        colours=class_colours(structures),
        are_pictures=unit.is_flat,
        unit=unit.name,
        length_unit=cohort.length_unit,
        spacing={"rows": _spread(zooms[:, axes]), "chart": _histograms(zooms[:, axes], axis_names, cohort.length_unit)},
        shape={"rows": _spread(shapes[:, axes]), "chart": _histograms(shapes[:, axes], axis_names, elements)},
        elements=elements,
        axes=len(axes),
        sizes={
            "rows": _size_rows(volumes, structures),
            "chart": _histograms(volumes, structures, unit.name, log=True),
        },
        shares=_size_rows(100 * volumes / views, structures) if unit.is_flat else [],
        folds=_fold_rows(items, volumes),
        settings=[(s.key, json.dumps(s.value), s.reason) for s in settings],
        commands=commands,
        items=[
            {"item": item, "facts": f, "volumes": v.tolist()} for item, f, v in zip(items, facts, volumes, strict=True)
        ],
    )
    with atomic_write(file) as partial:
        partial.write_text(page, encoding="utf-8", errors="backslashreplace")  # names of files may be no text
    return file


def number(value: float) -> str:
    """Return a number as text for a table."""
    return "–" if value is None or math.isnan(value) else size_text(value)


def _spread(columns: np.ndarray) -> list[dict[str, Any]]:
    """Return the smallest, middle and largest value along each axis."""
    ends = (columns.min(axis=0), np.median(columns, axis=0), columns.max(axis=0))
    return [
        {"axis": axis, "low": low, "median": median, "high": high}
        for axis, low, median, high in zip("xyz", *(end.tolist() for end in ends), strict=False)
    ]


def _size_rows(volumes: np.ndarray, structures: Sequence[str]) -> list[dict[str, Any]]:
    rows = []
    for column, structure in zip(volumes.T, structures, strict=True):
        known = column[np.isfinite(column)]
        present = known[known > 0]
        low, median, high = np.quantile(present, [0, 0.5, 1]).tolist() if len(present) else [math.nan] * 3
        rows.append(
            {
                "structure": structure,
                "known": len(known),
                "unknown": len(column) - len(known),
                "absent": len(known) - len(present),
                "low": low,
                "median": median,
                "high": high,
            }
        )
    return rows


def _fold_rows(items: Sequence[Mapping[str, Any]], volumes: np.ndarray) -> list[dict[str, Any]]:
    rows = []
    for fold in sorted({item["fold"] for item in items}):
        chosen = [i for i, item in enumerate(items) if item["fold"] == fold]
        medians = [float(np.median(k)) if len(k := c[np.isfinite(c)]) else math.nan for c in volumes[chosen].T]
        subjects = len({items[i]["subject"] for i in chosen})
        rows.append({"fold": fold, "scans": len(chosen), "subjects": subjects, "medians": medians})
    return rows


def _histograms(columns: np.ndarray, names: Sequence[str], unit: str, log: bool = False) -> str:
    """Draw histograms side by side, and return the source of the picture."""
    across = min(len(names), 4)
    rows = math.ceil(len(names) / across)
    figure = Figure(figsize=(2.6 * across, 2.0 * rows), layout="constrained")
    panels = figure.subplots(rows, across, squeeze=False).flat
    for axes in panels:
        axes.set_visible(False)
    for axes, column, name in zip(figure.axes, columns.T, names, strict=False):
        axes.set_visible(True)
        values = column[np.isfinite(column) & ((column > 0) | (not log))]
        if len(values):
            low, high = float(values.min()), float(values.max())
            low, high = (low * 0.9, high * 1.1) if high <= low * 1.01 else (low, high)
            bins = np.geomspace(low, high, 21) if log else np.linspace(low, high, 21)
            axes.hist(values, bins=bins.tolist(), color="#2f6f9f")
            if log:
                axes.set_xscale("log")
                axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_title(name, fontsize=9)
        axes.set_xlabel(unit, fontsize=8)
        axes.tick_params(labelsize=7)
    return _source(figure)


def _source(figure: Figure) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    return data_url(buffer.getvalue(), "image/svg+xml")


def _pictures(items: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, str]]:
    """Yield a picture for some of the scans: the slice that shows most of the mask, or the middle one."""
    step = max(1, math.ceil(len(items) / MAX_SHOWN))
    for item in items[::step]:
        with suppress(*UNREADABLE):  # it is among the problems
            yield _picture(item)


def _clicks(items: Sequence[Mapping[str, Any]], class_names: Sequence[str]) -> Iterator[dict[str, str]]:
    """Yield a picture of each slice with clicks, for some of the scans that have clicks."""
    clicked = [item for item in items if item.get("clicks")]
    step = max(1, math.ceil(len(clicked) / MAX_SHOWN))
    for item in clicked[::step]:
        with suppress(*UNREADABLE):
            of_slices = _crosses(item["clicks"], np.asarray(image_place(item["image"]).affine))
            for at, crosses in sorted(of_slices.items()):
                names = dict.fromkeys(class_names[index] for index, _, _ in crosses)
                with suppress(IndexError):  # a click outside of the scan is among the problems
                    yield {**_picture(item, at, crosses), "structures": ", ".join(names)}


def _crosses(clicks: Sequence[Click], affine: np.ndarray) -> dict[int, list[tuple[int, float, float]]]:
    """Return the class and the place of clicks and of the ends of lines, by the slice of their middle."""
    found: dict[int, list[tuple[int, float, float]]] = {}
    for click in clicks:
        ends = apply_affine(np.linalg.inv(affine), [click.start_mm, click.end_mm])
        at = math.floor(ends[:, 2].mean() + 0.5)
        for x, y, _ in np.unique(ends, axis=0).tolist():
            found.setdefault(at, []).append((click.class_index, x, y))
    return found


def _picture(
    item: Mapping[str, Any], at: int | None = None, crosses: Sequence[tuple[int, float, float]] = ()
) -> dict[str, str]:
    """Return a picture of a slice, with the outlines of the mask, and crosses at clicks."""
    image = nibabel.load(item["image"])
    is_picture = num_channels(image.shape) > 1 or image.shape[2:] == (1,)
    mask = np.asarray(nibabel.load(item["label"]).dataobj) if "label" in item else None
    if at is None:
        at = image.shape[2] // 2 if mask is None else fullest_slice(mask)
    if not 0 <= at < image.shape[2]:
        raise IndexError(at)
    plane = np.asarray(image.dataobj[:, :, at], dtype=np.float32)
    x, y = image.header.get_zooms()[:2]
    outlined = [] if mask is None else [np.where(mask[..., at] == IGNORED, 0, mask[..., at])]
    if is_picture:  # y runs down
        plane, outlined = plane[:, ::-1], [labels[:, ::-1] for labels in outlined]
        crosses = [(index, across, plane.shape[1] - 1 - down) for index, across, down in crosses]
    png = slice_png(plane, [(labels, "solid") for labels in outlined], (x, y), crosses=crosses)
    return {
        "name": item["name"],
        "slice": str(at),
        "source": data_url(png, "image/png"),
        "width": str(round(160 * min(1, plane.shape[0] * x / (plane.shape[1] * y)))),
        "height": str(round(160 * min(1, plane.shape[1] * y / (plane.shape[0] * x)))),
    }
