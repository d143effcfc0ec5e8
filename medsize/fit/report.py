"""Report of a fit: one HTML page that needs nothing else."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from medsize import __version__
from medsize.bundle.run.folder import LOG, MASKS
from medsize.bundle.run.summary import RunSummary
from medsize.bundle.segment_images import read_segmentation
from medsize.data.cohort import Cohort
from medsize.data.size_unit import SizeUnit, size_unit
from medsize.files import atomic_write
from medsize.fit.cohort_facts import CohortSource
from medsize.fit.duration import as_text
from medsize.fit.final_error import better_teacher, by_fold_or_case, final_error, validation_cases, what_helps
from medsize.fit.first_and_final import SUMMARY as FIRST_SUMMARY
from medsize.fit.first_and_final import FirstAndFinal, first_labels_of
from medsize.fit.plan import Plan, Stage
from medsize.fit.stages import missed_in, shortened_to, stage_seconds, warnings_in
from medsize.metrics.conformal import SizeCalibration, whole_percent
from medsize.page_templates import page_templates
from medsize.pictures import COLOURS, data_url, fullest_slice, slice_png
from medsize.scans.scan_facts import UNREADABLE, first_line, image_place
from medsize.scans.scan_names import short_path
from medsize.units import MM3_PER_ML

__all__ = ["agreements", "comparison", "intervals", "scan_pictures", "write_report"]

MAX_SHOWN = 12
"""Scans in the montage: from the smallest size error to the largest, evenly taken."""
LEAST_AGREEMENT = 5
"""Least number of scans whose differences tell limits of agreement."""
LITTLE_AGREEMENT = 0.5
"""Dice of first labels and final network below which these hardly show the same."""
FIRST_PAGE = "first_labels.html"
DICE_TITLES = {
    "first_and_final": "first labels and final network",
    "first": "first labels and mask",
    "final": "final network and mask",
}


def write_report(file: Path, plan: Plan, output_dir: Path, source: CohortSource, shared: Path, command: str) -> None:
    """
    Write the report of a fit whose trainings have finished.

    Args:
        file: HTML to write, whole or not at all.
        plan: plan of the fit.
        output_dir: folder of the fit.
        source: files of the cohort.
        shared: run folder of the network that is shared.
        command: next command.
    """
    cohort = source.load()
    unit = size_unit([image_place(item["image"]) for item in cohort.items], cohort.length_unit)
    cases = _in_unit(validation_cases(plan, output_dir), unit)
    structures = cohort.class_names[1:]
    environment = page_templates("medsize.fit")
    has_masks = bool(cases["dice"].notna().any())
    measure = "area" if unit.is_flat else "volume"
    shown = {"relative_size_error": "relative size error", "error": f"{measure} error, {unit.name}"}
    shown |= {"dice": "Dice", "hd95_mm": f"HD95, {cohort.length_unit}"} if has_masks else {}
    first_and_final = _first_and_final(plan, output_dir)
    summaries = [RunSummary.read(output_dir / stage.folder) for stage in plan.results]
    page = environment.get_template("report.html.j2").render(
        version=__version__,
        plan=plan,
        scans=len(cohort.items),
        structures=structures,
        supervision=summaries[0].supervision,
        training_scans=[summary.training_scans for summary in summaries],
        unseen=int(cases["image"].nunique()),
        has_masks=has_masks,
        folds=len(plan.results),
        headline={key: mean_and_spread(values) for key, values in by_fold_or_case(cases, shown).items()},
        error=final_error(cases, cohort, plan),
        better=better_teacher(plan, output_dir),
        measure=measure,
        unit=unit.name,
        titles=shown,
        rows=[
            {
                "structure": name,
                **{key: mean_and_spread(values) for key, values in by_fold_or_case(part, shown).items()},
            }
            for name, part in cases.groupby("structure", sort=False)
        ],
        agreement=agreement_figure(cases, unit),
        least_agreement=LEAST_AGREEMENT,
        agreements=list(agreements(cases)),
        intervals=list(intervals(RunSummary.read(shared).calibration)),
        pictures=list(scan_pictures(cases, source)),
        stages=[_stage_row(stage, output_dir) for stage in plan.stages],
        first_and_final=None if first_and_final is None else comparison(first_and_final, cohort),
        clicks=[] if first_and_final is None else _clicks(first_and_final),
        first_pages=[
            (stage.title, (made / FIRST_PAGE).relative_to(output_dir).as_posix())
            for stage in plan.stages
            if stage.kind == "first labels" and (made := first_labels_of(output_dir / stage.folder))
        ],
        little=LITTLE_AGREEMENT,
        what_helps=what_helps(plan, output_dir),
        doubts=_doubts(plan, output_dir),
        command=command,
    )
    with atomic_write(file) as partial:
        partial.write_text(page, encoding="utf-8")


def _doubts(plan: Plan, output_dir: Path) -> list[str]:
    """Return the warnings about the cohort and its first labels."""
    found = warnings_in(output_dir / "check" / LOG)
    for stage in plan.stages:
        if stage.kind == "first labels":
            found += [f"{stage.title}: {text}" for text in warnings_in(output_dir / stage.folder / LOG, "first labels")]
        if stage.kind == "locate":
            found += [f"{stage.title}: {text}" for text in missed_in(output_dir / stage.folder / LOG)]
    return found


def _first_and_final(plan: Plan, output_dir: Path) -> FirstAndFinal | None:
    """Return the first fold's last first labels and its final network; ``None`` without first labels."""
    of_fold = [stage for stage in plan.stages if stage.fold == plan.results[0].fold]
    last = max((n for n, stage in enumerate(of_fold) if stage.kind == "first labels"), default=None)
    folder = None if last is None else first_labels_of(output_dir / of_fold[last].folder)
    if folder is None:
        return None
    first = next(stage for stage in of_fold[last:] if stage.kind == "training")
    return FirstAndFinal(folder, output_dir / first.folder, output_dir / plan.results[0].folder)


def comparison(first_and_final: FirstAndFinal, cohort: Cohort) -> dict[str, Any] | None:
    """
    Return rows and pictures of first labels against the final network, for the page.

    Args:
        first_and_final: both of them.
        cohort: the cohort.

    Returns:
        what the page shows; ``None`` if all training scans have masks, so that there is nothing to compare.
    """
    masks = {item["image"]: item.get("label") for item in cohort.items}
    compared = list(first_and_final.compare(masks))
    if not compared:
        return None
    columns = {key: np.array([getattr(scan, key) for scan in compared]) for key in DICE_TITLES}
    shown = {key: title for key, title in DICE_TITLES.items() if np.isfinite(columns[key]).any()}
    both = pd.DataFrame(columns["first_and_final"], columns=cohort.class_names[1:]).mean()
    return {
        "titles": shown,
        "apart": list(both.index[both < LITTLE_AGREEMENT]),
        "rows": [
            {"structure": name, **{key: mean_and_spread(pd.Series(columns[key][:, index])) for key in shown}}
            for index, name in enumerate(cohort.class_names[1:])
        ],
        "pictures": [{"name": scan.name, "source": data_url(scan.picture, "image/png")} for scan in compared],
    }


def _clicks(first_and_final: FirstAndFinal) -> list[dict[str, str]]:
    """Return the scans in which a click may help most."""
    return [
        {"scan": scan.name, "entropy": f"{scan.entropy:.3f}", "size_error": _number(scan.size_error)}
        for scan in first_and_final.click_candidates()
    ]


def agreements(cases: pd.DataFrame) -> Iterator[dict[str, str]]:
    """
    Yield bias and limits of agreement (Bland, Altman) of the sizes of each structure.

    Args:
        cases: rows with ``structure``, ``size`` and ``true_size``.
    """
    for name, part in _compared(cases).groupby("structure", sort=False):
        bias, *ends = _bias_and_limits(part["difference"])
        limits = "–" if math.isnan(ends[0]) else " to ".join(_plain(end) for end in ends)
        yield {"structure": str(name), "scans": str(len(part)), "bias": _plain(bias), "limits": limits}


def intervals(calibration: Mapping[str, SizeCalibration]) -> Iterator[dict[str, str]]:
    """
    Yield the interval of the predicted sizes of each structure, as factors of the predicted one.

    Args:
        calibration: of the shared network, by structure.
    """
    for name, of_structure in calibration.items():
        ends, level = (of_structure.low, of_structure.high), of_structure.level
        yield {
            "structure": name,
            "level": "–" if level is None else f"{whole_percent(level)} %",
            "factors": "–" if None in ends else " to ".join(f"{end:.2f}" for end in ends),
            "subjects": str(of_structure.subjects),
            "note": "; ".join(filter(None, (of_structure.note, "hardly tells a size" * of_structure.tells_little))),
        }


def agreement_figure(cases: pd.DataFrame, unit: SizeUnit) -> str:
    """
    Draw a Bland–Altman plot of each structure, and return the source of the picture; empty if no size is known.

    Args:
        cases: rows with ``structure``, ``size`` and ``true_size``.
        unit: their unit.
    """
    compared = _compared(cases)
    names = list(compared["structure"].unique())
    if not names:
        return ""
    across = min(len(names), 3)
    figure = Figure(figsize=(3.4 * across, 2.8 * math.ceil(len(names) / across)), layout="constrained")
    panels = figure.subplots(math.ceil(len(names) / across), across, squeeze=False).flat
    for axes in panels:
        axes.set_visible(False)
    for number, (axes, name) in enumerate(zip(figure.axes, names, strict=False)):
        part, colour = compared[compared["structure"] == name], COLOURS[number % len(COLOURS)]
        bias, *limits = _bias_and_limits(part["difference"])
        axes.set_visible(True)
        axes.axhline(0, color="#666666", linewidth=0.8)
        axes.plot(part["middle"], part["difference"], "o", color=colour, markersize=4, markeredgecolor="#333333")
        axes.axhline(bias, color=colour, linewidth=1.4)
        for limit in limits:
            if math.isfinite(limit):
                axes.axhline(limit, color=colour, linewidth=1.0, linestyle="--")
        axes.set_title(name, fontsize=9, parse_math=False)
        axes.set_xlabel(f"mean of both, {unit.name}", fontsize=8)
        axes.set_ylabel(f"predicted − known, {unit.name}", fontsize=8)
        axes.tick_params(labelsize=7)
        axes.spines[["top", "right"]].set_visible(False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    return data_url(buffer.getvalue(), "image/svg+xml")


def mean_and_spread(values: pd.Series) -> str:
    """Return mean ± standard deviation of the known values."""
    known = values.dropna()
    if known.empty:
        return "–"
    mean = _plain(float(known.mean()))
    return mean if len(known) < 2 else f"{mean} ± {_plain(float(known.std(ddof=0)), digits=2)}"


def _plain(value: float, digits: int = 3) -> str:
    """Return a number of a few significant digits, without an exponent."""
    return np.format_float_positional(float(f"{value:.{digits}g}"), trim="-")


def _in_unit(cases: pd.DataFrame, unit: SizeUnit) -> pd.DataFrame:
    """Return rows of metrics.csv with size, known size and error in a unit; for pictures, mL are of 1 mm thickness."""
    factor = MM3_PER_ML / unit.of_one
    columns = {"size": "volume_ml", "true_size": "true_volume_ml", "error": "volume_error_ml"}
    return cases.assign(**{name: factor * cases[column] for name, column in columns.items()})


def _bias_and_limits(differences: pd.Series) -> tuple[float, float, float]:
    """Return the bias and both limits of agreement; NaN for limits of too few scans."""
    bias, spread = float(differences.mean()), float(differences.std(ddof=1))
    spread = math.nan if len(differences) < LEAST_AGREEMENT else spread
    return bias, bias - 1.96 * spread, bias + 1.96 * spread


def _compared(cases: pd.DataFrame) -> pd.DataFrame:
    """Return the cases with a known size, with difference and middle of both sizes."""
    known = cases[cases["true_size"].notna()]
    return known.assign(difference=known["size"] - known["true_size"], middle=(known["size"] + known["true_size"]) / 2)


def _stage_row(stage: Stage, output_dir: Path) -> dict[str, Any]:
    """Return what the page says of a stage."""
    folder = output_dir / stage.folder
    row = {"title": stage.title, "reason": stage.reason, "folder": stage.folder, "command": stage.shown}
    row |= {"epochs": "", "time": "", "size_error": "", "dice": ""}
    if stage.kind == "training":
        seconds, results = stage_seconds(folder), RunSummary.read(folder).results
        row |= {"epochs": shortened_to(stage, folder) or str(len(seconds)), "time": as_text(sum(seconds))}
        row |= {"size_error": _number(results.relative_size_error.mean), "dice": _number(results.dice.mean)}
    if stage.kind == "first labels" and (made := first_labels_of(folder)) is not None:
        row["time"] = as_text(json.loads((made / FIRST_SUMMARY).read_text())["seconds"])
    return row


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def scan_pictures(cases: pd.DataFrame, source: CohortSource) -> Iterator[dict[str, str]]:
    """
    Yield pictures of validation scans with the predicted outline and, where there is a mask, the drawn one.

    A scan that cannot be drawn has a name that says why, and no picture.

    Args:
        cases: rows of metrics.csv, each with the folder of its run.
        source: files of the cohort.
    """
    labels = {item["image"]: item.get("label") for item in source.load().items}
    errors = cases.groupby(["run", "image"], sort=False)["relative_size_error"].mean().sort_values().reset_index()
    chosen = np.unique(np.linspace(0, len(errors) - 1, min(MAX_SHOWN, len(errors))).round().astype(int))
    for row in errors.iloc[chosen].itertuples():
        scan = short_path(row.image, source.dataset_dir)
        try:
            mask_file = Path(row.run) / MASKS / Path(row.image).relative_to(source.dataset_dir)
            image = nibabel.load(row.image)
            mask, _ = read_segmentation(mask_file)
            at = fullest_slice(mask)
            plane = np.asarray(image.dataobj[:, :, at], dtype=np.float32)
            outlines = [(mask[..., at], "solid")]
            if drawn_file := labels.get(row.image):
                drawn, _ = read_segmentation(drawn_file)
                outlines.append((drawn[..., at], "dotted"))
        except UNREADABLE as e:  # the scan has moved
            yield {"name": f"{scan}: it cannot be drawn: {first_line(e)}", "source": ""}
            continue
        x, y = image.header.get_zooms()[:2]
        is_picture = mask.shape[2] == 1
        if is_picture:  # y runs down
            plane, outlines = plane[:, ::-1], [(labelled[:, ::-1], style) for labelled, style in outlines]
        place = scan if is_picture else f"{scan}, slice {at}"
        error = "unknown" if math.isnan(row.relative_size_error) else f"{row.relative_size_error:.2f}"
        yield {
            "name": f"{place}, size error {error}",
            "source": data_url(slice_png(plane, outlines, (x, y)), "image/png"),
        }
