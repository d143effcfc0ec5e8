"""
Growth of time and memory with the work: sides of a volume, classes, scans of a cohort, processes.

    python -m benchmarks.scale [--only KIND] [--output-dir docs]

Each point is measured in a fresh process of one thread, the long ones last, and appended to scale.csv at once. Points
in that file are not measured again. The figure scale.png and the page scale.md are made from it.
"""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Callable, Iterator
from enum import Enum
from pathlib import Path
from typing import Annotated

import pandas as pd
import torch
import typer
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from benchmarks import cohort_start, distributed_step
from benchmarks.result import machine, run_module
from benchmarks.whole_volume import PATCH
from medsize.files import atomic_write
from medsize.studies.robustness.figures import COLOURS, MARKERS

CLASSES_SIDE = 64
"""Side of the volume for the kind "classes", voxels."""
ONE_PASS_SIDES = (64, 96, 128)
"""Sides for one pass; a larger one could exhaust the machine's memory."""
BANDWIDTH = 1.25e9
"""Bytes a second in the model for more processes: a network of 10 Gbit/s."""
MODELLED = (1, 2, 4, 8, 16, 32)
"""Processes that the model is drawn for."""
COLUMNS = ("kind", "case", "work", "figure", "unit", "value", "machine")


class Kind(str, Enum):
    """Kind of work that grows."""

    CLASSES = "classes"
    SCANS = "scans"
    PROCESSES = "processes"
    SIDE = "volume"


ABOUT = {
    Kind.SIDE: (
        "voxels along each side",
        "A training step of benchmarks/whole_volume.py: a small 3D UNet with size loss and Potts term. It makes two "
        f"passes over patches of at most {PATCH}³ voxels, or one pass, up to {ONE_PASS_SIDES[-1]}³. Memory is the "
        "growth of the process's peak, and includes the volume. The exponent 3 means growth in proportion to the "
        "voxels. The network always sees whole patches. They overlap if the side is not a multiple of "
        f"{PATCH}: 192 takes as long as 256.",
    ),
    Kind.CLASSES: (
        "classes",
        f"A forward and a backward pass of the loss alone on given logits of {CLASSES_SIDE}³ voxels "
        "(benchmarks/many_classes.py). Memory is what is needed besides the logits.",
    ),
    Kind.SCANS: (
        "scans in the cohort",
        "What the 2D bundle does before its first step (benchmarks/cohort_start.py). The cohort is simulated: small "
        "files of 32 × 32 × 6 voxels. No scan is kept in memory (cache_rate 0). The first start reads each scan in "
        "full, and so takes longer for larger scans. Later starts read facts from a cache. They show what a cohort of "
        "large scans costs, too.",
    ),
    Kind.PROCESSES: (
        "processes",
        "A step of the 2D bundle's UNet in DistributedDataParallel (benchmarks/distributed_step.py): the shortest of "
        "ten. Each process has one thread and one batch, and they communicate through gloo. With more processes, the "
        "same step does more work. The time on the wall is longer than the processor time if the machine has other "
        "work.",
    ),
}
"""Label of the axis, and description of the measurement."""


def main(
    output_dir: Annotated[Path, typer.Option(help="Folder of scale.csv, scale.png and scale.md.")] = Path("docs"),
    only: Annotated[Kind | None, typer.Option(help="Take the points of this kind only.")] = None,
    side: Annotated[list[int], typer.Option(help="Sides of a volume, voxels.")] = [64, 96, 128, 192, 256, 384, 512],  # noqa: B006
    classes: Annotated[list[int], typer.Option(help="Numbers of classes.")] = [2, 4, 8, 16, 32, 64, 104],  # noqa: B006
    scans: Annotated[list[int], typer.Option(help="Scans in a cohort.")] = [100, 1000, 10000],  # noqa: B006
    processes: Annotated[list[int], typer.Option(help="Processes that share a step.")] = [1, 2],  # noqa: B006
) -> None:
    """Measure the points that are missing, and draw all."""
    os.environ["OMP_NUM_THREADS"] = "1"  # the waiting of threads would count as processor time
    torch.set_num_threads(1)
    output_dir.mkdir(parents=True, exist_ok=True)
    file = output_dir / "scale.csv"
    work = {Kind.CLASSES: classes, Kind.SCANS: scans, Kind.PROCESSES: processes, Kind.SIDE: side}
    for kind in Kind:
        if only in (None, kind):
            for amount in sorted(work[kind]):
                take(kind, amount, file)
    table = pd.read_csv(file)
    draw(table, output_dir / "scale.png")
    write_page(table, output_dir / "scale.md")


def take(kind: Kind, work: int, file: Path) -> None:
    """Append the values of a point to the CSV file, a line each, unless they are there."""
    known = pd.read_csv(file) if file.is_file() else pd.DataFrame(columns=list(COLUMNS))
    known = known[(known["kind"] == kind.value) & (known["work"] == work)]
    for case, found in POINTS[kind](work, set(known["case"])):
        with file.open("a", newline="") as stream:
            writer = csv.writer(stream)
            if stream.tell() == 0:
                writer.writerow(COLUMNS)
            for (figure, unit), value in found.items():
                writer.writerow([kind.value, case, work, figure, unit, f"{value:.5g}", machine()])
                print(f"{kind.value} {work}, {case}: {figure} {value:.3g} {unit}", flush=True)


Figures = dict[tuple[str, str], float]
"""Values by name and unit."""


def memory_and_time(found: list[float]) -> Figures:
    """Name a pair of bytes and seconds."""
    return {("memory", "MB"): found[0] / 2**20, ("processor time", "s"): found[1]}


def volume_points(side: int, known: set[str]) -> Iterator[tuple[str, Figures]]:
    """Measure two passes, and one pass if it fits safely."""
    patches = {"two passes": min(side, PATCH)} | ({"one pass": 0} if side <= ONE_PASS_SIDES[-1] else {})
    for case, patch in patches.items():
        if case not in known:
            yield case, memory_and_time(run_module("benchmarks.whole_volume", side, patch))


def class_points(classes: int, known: set[str]) -> Iterator[tuple[str, Figures]]:
    """Measure both losses."""
    for case, name in (("size KL", "size"), ("cross-entropy", "cross_entropy")):
        if case not in known:
            yield case, memory_and_time(run_module("benchmarks.many_classes", name, classes, CLASSES_SIDE))


def scan_points(scans: int, known: set[str]) -> Iterator[tuple[str, Figures]]:
    """Measure a first and a later start, which belong together."""
    cases = ("first start", "later start")
    if not known.issuperset(cases):
        for case, found in zip(cases, cohort_start.starts(scans), strict=True):
            if case not in known:
                memory: Figures = {("memory", "MB"): found.pop("memory") / 2**20}
                yield case, memory | {(part, "s"): seconds for part, seconds in found.items()}


def process_points(processes: int, known: set[str]) -> Iterator[tuple[str, Figures]]:
    """Measure a step."""
    if "step" not in known:
        wall, processor, averaged = distributed_step.step_of(processes)
        memory: Figures = {("parameters to average", "MB"): averaged / 2**20}
        yield "step", memory | {("time on the wall", "s"): wall, ("processor time", "s"): processor}


POINTS: dict[Kind, Callable[[int, set[str]], Iterator[tuple[str, Figures]]]] = {
    Kind.SIDE: volume_points,
    Kind.CLASSES: class_points,
    Kind.SCANS: scan_points,
    Kind.PROCESSES: process_points,
}


def modelled_step(processes: int, compute: float, averaged: float) -> float:
    """
    Model the seconds of a step: processes compute on their own, and gradients go around a ring.

        compute + 2·(n − 1)/n · bytes / bandwidth

    Args:
        processes: n.
        compute: seconds of a step with one process.
        averaged: bytes of the parameters.
    """
    return compute + 2 * (processes - 1) / processes * averaged / BANDWIDTH


def draw(table: pd.DataFrame, file: Path) -> None:
    """Draw a column for each kind: time above, memory below, on logarithmic axes."""
    kinds = [kind for kind in Kind if kind.value in set(table["kind"])]
    figure = Figure(figsize=(4.2 * len(kinds), 7), layout="constrained")
    panels = figure.subplots(2, len(kinds), squeeze=False)
    for column, kind in enumerate(kinds):
        for axes, unit in zip(panels[:, column], ("s", "MB"), strict=True):
            part = table[(table["kind"] == kind.value) & (table["unit"] == unit)]
            for number, ((case, name), series) in enumerate(part.groupby(["case", "figure"], sort=False)):
                style = {"color": COLOURS[number % len(COLOURS)], "marker": MARKERS[number % len(MARKERS)]}
                series = series[series["value"] > 0].sort_values("work")
                axes.plot(series["work"], series["value"], label=f"{case}: {name}", markersize=5, **style)
            if kind is Kind.PROCESSES and unit == "s":
                draw_model(axes, table[table["kind"] == kind.value])
            ticks = MODELLED if kind is Kind.PROCESSES else sorted(part["work"].unique())
            axes.set(xscale="log", xlabel=ABOUT[kind][0], ylabel={"s": "seconds"}.get(unit, unit))
            axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks], fontsize=7)
            if (part["value"] > 0).any():  # little work may not raise the peak
                axes.set_yscale("log")
                axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
                axes.yaxis.set_major_formatter("{x:g}")
            axes.minorticks_off()
            axes.grid(color="#dddddd", linewidth=0.5)
            axes.legend(fontsize=7)
        panels[0, column].set_title(kind.value)
    with atomic_write(file) as partial:
        figure.savefig(partial, format="png", dpi=120)


def draw_model(axes: Axes, table: pd.DataFrame) -> None:
    """Draw the model of the time with more processes."""
    one = table[table["work"] == 1].set_index("figure")["value"]
    if one.empty:
        return
    compute, averaged = one["processor time"], one["parameters to average"] * 2**20
    seconds = [modelled_step(n, compute, averaged) for n in MODELLED]
    axes.plot(MODELLED, seconds, "k--", label=f"MODEL, not measured: {BANDWIDTH * 8 / 1e9:g} Gbit/s", linewidth=1)


def growth(values: pd.Series) -> float:
    """Return the exponent of the growth between the last two points; NaN for a single one."""
    values = values.dropna()
    if len(values) < 2 or (values.iloc[-2:] <= 0).any():
        return math.nan
    return math.log(values.iloc[-1] / values.iloc[-2]) / math.log(values.index[-1] / values.index[-2])


def write_page(table: pd.DataFrame, file: Path) -> None:
    """Write a table for each kind, with a description of the measurement and the growth."""
    machines = "; ".join(dict.fromkeys(table["machine"].str.replace(r"load [\d.]+, ", "", regex=True)))
    lines = [
        "# Cost as the work grows",
        "",
        f"Made by `python -m benchmarks.scale`: {machines}. Each point is one run.",
        "",
    ]
    lines += ["![Time and memory against the work](scale.png)", ""]
    lines += [
        "Time is processor time, unless a column says otherwise. The exponent describes the growth between the last "
        "two points: 1 is in proportion to the work, 2 in proportion to its square.",
        "",
    ]
    for kind in (kind for kind in Kind if kind.value in set(table["kind"])):
        part = table[table["kind"] == kind.value].copy()
        part["column"] = part["case"] + ": " + part["figure"] + ", " + part["unit"]
        wide = part.pivot_table(index="work", columns="column", values="value", sort=False, aggfunc="last").sort_index()
        lines += [f"## {kind.value.capitalize()}", "", ABOUT[kind][1], ""]
        lines += [f"| {' | '.join([ABOUT[kind][0], *wide.columns])} |", f"|{' --- |' * (1 + wide.shape[1])}"]
        for work, row in wide.iterrows():
            lines.append(f"| {work} | {' | '.join('–' if math.isnan(v) else f'{v:.3g}' for v in row)} |")
        exponents = (growth(wide[column]) for column in wide)
        lines.append(f"| exponent | {' | '.join('–' if math.isnan(e) else f'{e:.2f}' for e in exponents)} |")
        lines.append("")
        if kind is Kind.PROCESSES:
            lines += [
                "The dashed line of the figure is a model, not a measurement. It adds two times: the processor time of "
                "a single process, and that of sending 2·(n − 1)/n times the bytes of the parameters, "
                f"around a ring of n processes at {BANDWIDTH * 8 / 1e9:g} Gbit/s. No part of this is hidden behind the "
                "backward pass.",
                "",
            ]
    with atomic_write(file) as partial:
        partial.write_text("\n".join(lines))


if __name__ == "__main__":
    typer.run(main)
