"""Figures of a report, as SVG for a page."""

from __future__ import annotations

import re
from collections.abc import Iterator
from io import StringIO
from itertools import cycle
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from medsize.studies.robustness.analysis import METRICS
from medsize.studies.robustness.results import AS_GIVEN
from medsize.studies.robustness.study import NO_LEVEL, RobustnessStudy

__all__ = ["agreement_figure", "difference_figure", "error_figure", "minutes_figure"]

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Colours of Okabe and Ito, distinct for any colour vision. In grey, markers and dashes distinguish the curves."""
MARKERS = ("o", "s", "^", "v", "D", "P", "X")
WIDTH = 10.0
"""Width in inches."""


def error_figure(accuracies: pd.DataFrame, metric: str, study: RobustnessStudy) -> str:
    """
    Draw accuracy against realised mRE with 95 % intervals: a panel for each structure, a curve for each kind of noise.

    Args:
        accuracies: of one cohort and network; see :func:`medsize.studies.robustness.analysis.accuracy`.
        metric: one of :data:`medsize.studies.robustness.analysis.METRICS`.
        study: study that states which labels are sizes (filled, solid) or masks (open, dashed).
    """
    table = accuracies[accuracies["figure"] == metric]
    drawing, panels = _panels(table["structure"].unique(), METRICS[metric], "realised mRE of the labels")
    for structure, axes in panels.items():
        part = table[table["structure"] == structure]
        for name, kind, style in _styles(part, study):
            points = _curve(part, name, kind)
            _plot(axes, points, f"{metric}/{structure}/{name}/{kind}", style)
        if metric != "dice":
            axes.set_ylim(bottom=0)
    return _finished(drawing, panels, f"error_{metric}")


def difference_figure(differences: pd.DataFrame, study: RobustnessStudy) -> str:
    """
    Draw the Dice of sizes minus that of equally wrong masks: a panel per structure, a curve for each pair of kinds.

    Args:
        differences: of one cohort and network; see :func:`medsize.studies.robustness.analysis.equally_wrong`.
        study: study that states the kinds of noise.
    """
    drawing, panels = _panels(differences["structure"].unique(), "Dice more than masks", "realised mRE of both")
    for structure, axes in panels.items():
        axes.axhline(0, color="#666666", linewidth=0.8)
        part = differences[differences["structure"] == structure]
        for number, masks in enumerate(part["masks"].unique()):
            against = part[part["masks"] == masks]
            for name, kind, style in _styles(against, study):
                style = style | {"linestyle": ("-", "--", ":")[number % 3], "label": f"{style['label']}; {masks}"}
                _plot(axes, _curve(against, name, kind), f"difference/{structure}/{name}/{kind}/{masks}", style)
    return _finished(drawing, panels, "difference")


def minutes_figure(accuracies: pd.DataFrame, study: RobustnessStudy) -> str:
    """
    Draw Dice against minutes of annotation: a panel for each structure, a point for each condition.

    Args:
        accuracies: rows of one cohort and network with known minutes.
        study: study that states which labels are sizes or masks.
    """
    table = accuracies[(accuracies["figure"] == "dice") & accuracies["minutes"].notna()]
    drawing, panels = _panels(table["structure"].unique(), "Dice", "minutes of annotation of the training scans")
    for structure, axes in panels.items():
        part = table[table["structure"] == structure]
        for name, kind, style in _styles(part, study):
            points = part[(part["supervision"] == name) & (part["noise"] == kind)]
            style = style | {"linestyle": "none"}
            _plot(axes, points, f"minutes/{structure}/{name}/{kind}", style, across="minutes")
        for labels, points in part[part["noise"] == AS_GIVEN].groupby("labels", sort=False):
            are_sizes = study.supervision[points["supervision"].iloc[0]].noise_on == "sizes"
            style = {"color": "black", "marker": "*", "markersize": 9, "label": labels, "linestyle": "none"}
            style |= {"markerfacecolor": "black" if are_sizes else "white"}
            _plot(axes, points, f"minutes/{structure}/{labels}", style, across="minutes")
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter("{x:g}")
    return _finished(drawing, panels, "minutes")


def agreement_figure(cases: pd.DataFrame, agreements: pd.DataFrame) -> str:
    """
    Draw Bland–Altman plots of predicted and true volumes: a panel for each condition, a colour for each structure.

    Args:
        cases: of one cohort and network, of the conditions to show, see
            :func:`medsize.studies.robustness.results.read_cases`.
        agreements: of the same; see :func:`medsize.studies.robustness.analysis.volume_agreement`.
    """
    drawing, panels = _panels(cases["labels"].unique(), "predicted − true, mL", "mean of both, mL")
    for labels, axes in panels.items():
        axes.axhline(0, color="#666666", linewidth=0.8)
        part = cases[cases["labels"] == labels]
        for (structure, group), colour, marker in zip(
            part.groupby("structure", sort=False), cycle(COLOURS), cycle(MARKERS), strict=False
        ):
            volumes = group[["volume_ml", "true_volume_ml"]]
            across, up = volumes.mean(axis="columns"), volumes["volume_ml"] - volumes["true_volume_ml"]
            axes.plot(across, up, marker, color=colour, markersize=3, alpha=0.7, label=structure)
            limits = agreements[(agreements["labels"] == labels) & (agreements["structure"] == structure)].iloc[0]
            axes.axhline(limits["bias_ml"], color=colour, linewidth=1.2)
            for limit in ("low_limit_ml", "high_limit_ml"):
                axes.axhline(limits[limit], color=colour, linewidth=0.8, linestyle="--")
    return _finished(drawing, panels, "agreement")


def _curve(table: pd.DataFrame, supervision: str, kind: str) -> pd.DataFrame:
    """Return the points of a kind, starting with the labels as given, in the order of their mRE."""
    of_kind = table[(table["supervision"] == supervision) & table["noise"].isin([AS_GIVEN, kind])]
    if kind in NO_LEVEL:
        of_kind = of_kind[of_kind["noise"] == kind]
    return of_kind.sort_values("realised_mre")


def _styles(table: pd.DataFrame, study: RobustnessStudy) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield supervision, kind and style in the study's order, so that each kind looks alike in all figures."""
    present = set(zip(table["supervision"], table["noise"], strict=True))
    number = 0
    for name, supervision in study.supervision.items():
        are_sizes = supervision.noise_on == "sizes"
        for kind in [*supervision.noise] or [AS_GIVEN]:
            colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
            number += 1
            if (name, kind) in present:
                yield (
                    name,
                    kind,
                    {
                        "label": name if kind == AS_GIVEN else f"{name}, {kind}",
                        "color": colour,
                        "marker": marker,
                        "markersize": 5,
                        "markerfacecolor": colour if are_sizes else "white",
                        "linestyle": "-" if are_sizes else "--",
                    },
                )


def _plot(axes: Axes, points: pd.DataFrame, gid: str, style: dict[str, Any], across: str = "realised_mre") -> None:
    low, high = points["mean"] - points["low"], points["high"] - points["mean"]
    bars = np.nan_to_num(np.array([low, high]).clip(min=0))
    drawn = axes.errorbar(points[across], points["mean"], bars, capsize=2, linewidth=1.4, elinewidth=0.8, **style)
    drawn.lines[0].set_gid(gid)
    drawn.lines[2][0].set_gid(f"{gid}/intervals")


def _panels(names: Any, up: str, across: str) -> tuple[Figure, dict[str, Axes]]:
    columns = min(len(names), 2)
    rows = -(-len(names) // columns)
    drawing = Figure(figsize=(WIDTH, 3.4 * rows + 0.9), layout="constrained")
    found = drawing.subplots(rows, columns, squeeze=False).flat
    panels = {}
    for name, axes in zip(names, found, strict=False):
        axes.set(xlabel=across, ylabel=up)
        axes.set_title(name, parse_math=False)
        axes.grid(color="#dddddd", linewidth=0.5)
        axes.spines[["top", "right"]].set_visible(False)
        panels[name] = axes
    for axes in drawing.axes[len(panels) :]:
        axes.remove()
    return drawing, panels


def _finished(drawing: Figure, panels: dict[str, Axes], name: str) -> str:
    """Return SVG without the head of a file, with ids that differ from those of other figures."""
    entries: dict[str, Any] = {}
    for axes in panels.values():
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    if entries:
        legend = drawing.legend(
            entries.values(), entries.keys(), loc="outside lower center", ncols=3, frameon=False, fontsize=9
        )
        for entry in legend.get_texts():
            entry.set_parse_math(False)
    text = StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name, "font.family": "sans-serif"}):
        drawing.savefig(text, format="svg", metadata={"Date": None})
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :]
    # matplotlib counts figure_1, axes_1 … anew in every figure.
    svg = re.sub(r'\b(id="|href="#|url\(#)(?=[^"]*)', rf"\g<1>{name}-", svg)
    return svg.replace("<svg ", '<svg role="img" ', 1)
