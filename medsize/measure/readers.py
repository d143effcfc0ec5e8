"""``medsize readers``: how wrong and how fast readers are, as a page and a CSV file."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK

import medsize
from medsize.cohort.find import CohortScan, find_cohort
from medsize.cohort.structures import choose_structures, label_map_values, masks_of, names_held, with_label_maps
from medsize.errors import ProblemsError
from medsize.files import atomic_write
from medsize.measure.agreement import agreement_rows, models_by_method
from medsize.measure.readings import Reading, latest_readings
from medsize.page_templates import page_templates
from medsize.scans.find_scans import read_scan
from medsize.scans.masks import place_masks
from medsize.scans.scan import ScanKind
from medsize.suggest import first_few

__all__ = ["report_readers"]

TABLES = (
    (
        "Against masks",
        "mRE: mean of |reading − mask| / mask, of all, and of the small, middle and large thirds; in interval: part of "
        "the masks' volumes within the reading's interval",
        (
            ("readings", "readings", "%d"),
            ("seconds, median", "seconds", "%.0f"),
            ("with mask", "with_mask", "%d"),
            ("mRE", "mre", "%.2f"),
            ("small", "mre_small", "%.2f"),
            ("middle", "mre_middle", "%.2f"),
            ("large", "mre_large", "%.2f"),
            ("in interval", "in_interval", "%.2f"),
        ),
    ),
    (
        "Model of the errors",
        "ln(reading / mask) as Student's t: factor of its middle, width, degrees of freedom (few: heavy tails)",
        (("bias", "bias", "%.2f"), ("spread", "spread", "%.2f"), ("degrees", "degrees", "%.1f")),
    ),
    *(
        (
            title,
            "ICC(2,1); CV: within-scan coefficient of variation; difference and its 95 % limits, in parts of the mean",
            tuple(
                (label, f"{name}_{key}", form)
                for label, key, form in (
                    ("scans", "scans", "%d"),
                    ("ICC", "icc", "%.2f"),
                    ("CV", "cv", "%.2f"),
                    ("difference", "difference", "%.2f"),
                    ("from", "low", "%.2f"),
                    ("to", "high", "%.2f"),
                )
            ),
        )
        for name, title in (("intra", "One reader twice"), ("inter", "Several readers"))
    ),
)
"""Title, caption and columns of each table of the page."""


def report_readers(folder: Path, measurements: Path, structures: Sequence[str] = ()) -> tuple[Path, Path, list[str]]:
    """
    Compare the readings of a cohort with its masks, with each other, and by reader.

    Args:
        folder: the cohort's folder, as for :func:`medsize.measure.run.measure_cohort`. Its masks are the truth for
            scans; those of pictures are not compared.
        measurements: folder of the readings, which gets ``readers.csv`` and ``readers.html``.
        structures: names of the masks' structures, in the order of the values in label maps. Default: those they have.

    Returns:
        the table, the page, and the problems of scans and masks that cannot be read. ``size_noise_METHOD.json`` beside
        them has the :class:`medsize.sizes.error_model.ErrorModel` of each method.

    Raises:
        ProblemsError: when there are no readings, or a file of readings is broken.
        OutputError: when the table or the page cannot be written.
    """
    readings = latest_readings(measurements)
    if not readings:
        raise ProblemsError(measurements, ["found no readings, expected those of medsize measure. Measure first."])
    truths, problems = _volumes_of_masks(folder.resolve(), readings, structures)
    rows = agreement_rows(readings, truths)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({k: f"{v:.4g}" if isinstance(v, float) else v for k, v in row.items()} for row in rows)
    for method, model in models_by_method(readings, truths).items():
        model.write(measurements / f"size_noise_{method}.json")
    table, page = measurements / "readers.csv", measurements / "readers.html"
    with atomic_write(table) as partial:
        partial.write_text(text.getvalue())
    template = page_templates("medsize.measure").get_template("readers.html.j2")
    with atomic_write(page) as partial:
        partial.write_text(
            template.render(
                cohort=folder.resolve().name,
                readings=len(readings),
                readers=len({reading.reader for reading in readings}),
                version=medsize.__version__,
                tables=TABLES,
                rows=rows,
            ),
            encoding="utf-8",
        )
    return table, page, problems


def _volumes_of_masks(
    folder: Path, readings: Sequence[Reading], structures: Sequence[str]
) -> tuple[dict[tuple[str, str], float], list[str]]:
    """Return the volumes in masks, mm³, by scan and structure, and the problems of those that cannot be read."""
    measured = {reading.scan for reading in readings}
    found = with_label_maps(find_cohort(folder))
    if not any(scan.has_masks for scan in found.scans):
        return {}, []
    structures = choose_structures(found, structures, None)
    values = label_map_values(found, structures)
    volumes: dict[tuple[str, str], float] = {}
    problems = []
    if unnamed := sorted({reading.structure for reading in readings} - set(structures)):
        problems.append(
            f"{', '.join(unnamed)}: the masks show {first_few(structures)}. Where label maps do not name their "
            "classes, name each in the order of their values: --structure NAME."
        )
    for scan in found.scans:
        if scan.name in measured and scan.has_masks and scan.scan.kind is not ScanKind.PICTURE:
            try:
                volumes |= _volumes_of_scan(scan, structures, values)
            except ValueError as e:
                problems.append(str(e))
    return volumes, problems


def _volumes_of_scan(scan: CohortScan, structures: Sequence[str], values: Any) -> dict[tuple[str, str], float]:
    held = names_held(scan, structures) or list(structures)
    frame = scan.scan.frame_of_reference
    labels, own, _ = place_masks(
        masks_of(scan, held), read_scan(scan.scan), held, frame, later_wins=True, values=values
    )
    voxel = float(np.prod(labels.GetSpacing()))
    counts = np.bincount(SimpleITK.GetArrayViewFromImage(labels).ravel(), minlength=len(held) + 1)
    return {
        (scan.name, name): own.get(name, float(count) * voxel)
        for name, count in zip(held, counts[1:].tolist(), strict=False)
    }
