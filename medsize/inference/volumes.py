"""Volumes of the structures in scans, beside those that a table states."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from medsize.bundle.run.folder import MASKS, VOLUMES
from medsize.files import atomic_write
from medsize.inference.measured_scan import MeasuredScan, measure_scan
from medsize.inference.new_scans import NewScans, nothing_left
from medsize.inference.output_folder import OutputFolder
from medsize.inference.report.flags import told_flags, told_unchecked
from medsize.inference.report.intervals import calibration_of
from medsize.inference.report.page import MAX_SHOWN, Panel, Shown
from medsize.inference.report.predicted import Predicted
from medsize.inference.segmentation import Segmentation
from medsize.metrics.conformal import SizeCalibration
from medsize.metrics.reliability import CohortFacts
from medsize.metrics.size_error import relative_size_error
from medsize.scans.file_facts import scan_values
from medsize.scans.find_scans import read_scan
from medsize.scans.image_file import write_nifti
from medsize.scans.scan import FoundScan
from medsize.scans.space.scan_header import scan_header
from medsize.sizes.table.scan_sizes import scan_sizes
from medsize.sizes.table.size_table import SizeTable, SizeTableError
from medsize.units import MM3_PER_ML

__all__ = ["predict_volumes"]

SHOWN = Shown(
    "scan", "volume", "volume_ml", "mL", "low_ml", "high_ml", "the first or last slice or the edge of the view"
)


def predict_volumes(segmentation: Segmentation, new: NewScans, table: SizeTable | None = None) -> Predicted:
    """
    Segment the scans that are not finished, and measure the structures in all.

    Args:
        segmentation: the network.
        new: the scans.
        table: sizes to compare with, by the scans' paths.

    Raises:
        ValueError: when there is no scan to segment, or none with a region.
    """
    output, settings = segmentation.output, segmentation.settings
    left = {name: scan for name, scan in new.named.items() if not output.is_finished(name)}
    readable, problems = _convert(left, output, settings)
    if not readable and len(left) == len(new.named):
        raise nothing_left(new, "there is no scan to segment.", problems)
    output.write_record()
    problems += segmentation.segment(readable, new.paths)
    segmented = {name: scan for name, scan in new.named.items() if output.is_finished(name)}
    if not segmented:
        raise nothing_left(new, "no scan could be segmented.", problems)
    sizes, faults = _stated_sizes(segmented, new, output.images, table)
    problems += faults
    cohort = CohortFacts.read(settings.get("cohort_facts", {}))
    measured: dict[str, MeasuredScan] = {}
    panels: list[Panel] = []
    pictures: dict[str, bytes] = {}
    for name in segmented:
        measured[name], panel = measure_scan(output, name, segmentation.structures, cohort)
        pictures[new.paths[name]] = panel.png()
        panels += [panel] if len(panels) < MAX_SHOWN else []  # those of many scans would fill the memory
    _write_volumes(output, measured, calibration_of(segmentation.run))
    rows = pd.DataFrame(_rows(measured, new.paths, sizes))
    of_scans = {new.paths[name]: scan.scan_ml for name, scan in measured.items()}
    flags = {name: scan.reliability for name, scan in measured.items()}
    unchecked = told_unchecked(flags.values(), cohort.scans)
    return Predicted(rows, SHOWN, of_scans, panels, pictures, segmented, problems, told_flags(flags), unchecked)


def _convert(
    named: Mapping[str, FoundScan], output: OutputFolder, settings: Mapping[str, Any]
) -> tuple[dict[str, FoundScan], list[str]]:
    """Write scans as NIfTI, and record their values; return those that could be read, and the others' problems."""
    window, orientation = settings.get("intensity_window"), settings.get("orientation", "")
    readable: dict[str, FoundScan] = {}
    problems = []
    for name, scan in named.items():
        try:
            image = read_scan(scan)
        except ValueError as e:
            problems.append(str(e))
            continue
        write_nifti(image, output.unfinished / "images" / f"{name}.nii.gz")
        output.scans[name]["facts"] = scan_values(image, window, orientation)
        readable[name] = scan
    return readable, problems


def _write_volumes(
    output: OutputFolder, measured: Mapping[str, MeasuredScan], calibration: Mapping[str, SizeCalibration]
) -> None:
    """Write ``masks/volumes.csv`` and ``.json``, as a bundle's inference does, of all scans, with their flags."""
    table, scans = [], []
    for name, scan in measured.items():
        image = str((output.images / f"{name}.nii.gz").resolve())
        volumes = {f"{structure} (mL)": f"{facts.volume_ml:.6g}" for structure, facts in scan.structures.items()}
        cut_off = "; ".join(structure for structure, facts in scan.structures.items() if facts.at_edge)
        table.append({"image": image, **volumes, "cut off": cut_off, **scan.reliability.as_row()})
        structures = {}
        for structure, facts in scan.structures.items():
            low, high = calibration[structure].interval(facts.volume_ml, scan.scan_ml) or (None, None)
            ends = {"low_ml": low, "high_ml": high, "level": calibration[structure].level}
            told = {"cut_off": facts.at_edge, "confidence": facts.confidence}
            structures[structure] = {"volume_ml": facts.volume_ml, **ends, **told}
        scans.append({"image": image, "structures": structures, **asdict(scan.reliability)})
    notes = {name: of_structure.note for name, of_structure in calibration.items() if of_structure.note}
    file = output.masks / VOLUMES
    with atomic_write(file) as partial:
        pd.DataFrame(table).to_csv(partial, index=False)
    with atomic_write(file.with_suffix(".json")) as partial:
        partial.write_text(json.dumps({"scans": scans, "notes": notes}, indent=1))


def _stated_sizes(
    named: Mapping[str, FoundScan], new: NewScans, images: Path, table: SizeTable | None
) -> tuple[dict[str, dict[str, Any]] | None, list[str]]:
    """Return the sizes of a table in mm³, by the scan's name, and the problems of sizes that cannot be determined."""
    if table is None:
        return None, []
    stated: dict[str, dict[str, Any]] = {}
    problems: list[str] = []
    for name in named:
        path = new.paths[name]
        if table.rows_of(path):
            try:
                file = images / f"{name}.nii.gz"
                stated[name] = _volumes(scan_sizes(table, path, new.folder, scan_file=file), file)
            except SizeTableError as e:
                problems += e.problems
    return stated, problems


def _volumes(entries: dict[str, Any], scan_file: Path) -> dict[str, Any]:
    """Return the mm³ that a table states of a scan; those of a single slice are its areas times its thickness."""
    zooms, shape = scan_header(scan_file)
    if shape[2] > 1:
        return entries.get("size") or {}
    areas = {name: of_slices[0] for name, of_slices in entries.get("slice_size", {}).items()}
    return {
        name: [end * zooms[2] for end in area] if isinstance(area, list) else area * zooms[2]
        for name, area in areas.items()
    }


def _rows(
    measured: Mapping[str, MeasuredScan],
    paths: Mapping[str, str],
    stated: dict[str, dict[str, Any]] | None,
) -> Iterator[dict[str, Any]]:
    """Yield a row for each structure of each scan."""
    for name, scan in measured.items():
        for structure, facts in scan.structures.items():
            entry: dict[str, Any] = {"image": paths[name], "mask": f"{MASKS}/{name}_seg.nii.gz"}
            entry |= {"structure": structure, "volume_ml": facts.volume_ml, "lower_bound": facts.at_edge}
            if stated is not None:
                low, high = _ends(stated.get(name, {}).get(structure))
                entry |= {"low_ml": low, "high_ml": high}
                entry["relative_size_error"] = float(relative_size_error(facts.volume_ml, low, high))
            sure = math.nan if facts.confidence is None else facts.confidence
            yield entry | {"confidence": sure} | scan.reliability.as_row()


def _ends(size: float | list[float] | None) -> tuple[float, float]:
    """Return both ends of a size in mm³, in mL."""
    low, high = (math.nan, math.nan) if size is None else size if isinstance(size, list) else (size, size)
    return low / MM3_PER_ML, high / MM3_PER_ML
