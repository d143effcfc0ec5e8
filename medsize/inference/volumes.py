"""Volumes of the structures in scans, beside those that a table states."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from medsize.bundle.run_folder import MASKS, VOLUMES
from medsize.inference.flags import flag_scans, told_flags, write_flags
from medsize.inference.new_scans import NewScans, nothing_left
from medsize.inference.page import MAX_SHOWN, Shown, scan_panels
from medsize.inference.predicted import Predicted
from medsize.inference.segmentation import Segmentation, image_name
from medsize.metrics.reliability import Reliability
from medsize.metrics.size_error import relative_size_error
from medsize.scans.find_scans import read_scan
from medsize.scans.image_file import write_nifti
from medsize.scans.scan import FoundScan
from medsize.scans.scan_header import scan_header
from medsize.scans.scan_names import comparable_path
from medsize.sizes.size_table import SizeTable, SizeTableError
from medsize.units import MM3_PER_ML

__all__ = ["predict_volumes"]

SHOWN = Shown(
    "scan", "volume", "volume_ml", "mL", "low_ml", "high_ml", "the first or last slice or the edge of the view"
)
CUT_OFF = "cut off"
"""Column of the volumes' table; those of bundles that were exported before lack it."""


def predict_volumes(segmentation: Segmentation, new: NewScans, table: SizeTable | None = None) -> Predicted:
    """
    Segment scans, and measure the structures.

    Args:
        segmentation: the network.
        new: the scans.
        table: sizes to compare with, by the scans' paths.

    Raises:
        ValueError: when there is no scan to segment, or none with a region.
    """
    readable, problems = _convert(new.named, segmentation.images)
    if not readable:
        raise nothing_left(new, "there is no scan to segment.", problems)
    segmented, faults = segmentation.segment(readable, new.paths)
    problems += faults
    masks = segmentation.output_dir / MASKS
    volumes = pd.read_csv(masks / VOLUMES, dtype={CUT_OFF: str}, keep_default_na=False)
    sizes, faults = _stated_sizes(segmented, new, segmentation.images, table)
    problems += faults
    flags = flag_scans(segmentation, list(segmented))
    write_flags(segmentation.output_dir, flags)
    panels = list(scan_panels(segmentation.output_dir, list(segmented)[:MAX_SHOWN]))
    rows = pd.DataFrame(_rows(volumes, new.paths, sizes, flags))
    return Predicted(rows, SHOWN, panels, segmented, problems, told_flags(flags))


def _convert(named: Mapping[str, FoundScan], images: Path) -> tuple[dict[str, FoundScan], list[str]]:
    """Write the scans as NIfTI; return those that could be read, and the problems of the others."""
    readable: dict[str, FoundScan] = {}
    problems = []
    for name, scan in named.items():
        try:
            image = read_scan(scan)
        except ValueError as e:
            problems.append(str(e))
            continue
        write_nifti(image, images / f"{name}.nii.gz")
        readable[name] = scan
    return readable, problems


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
        if comparable_path(path) in table.rows_by_image:
            try:
                file = images / f"{name}.nii.gz"
                stated[name] = _volumes(table.sizes_of(path, new.folder, scan_file=file), file)
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
    volumes: pd.DataFrame,
    paths: Mapping[str, str],
    stated: dict[str, dict[str, Any]] | None,
    flags: Mapping[str, Reliability],
) -> Iterator[dict[str, Any]]:
    """Yield a row for each structure of each scan."""
    for _, row in volumes.iterrows():
        name = image_name(Path(row["image"]))
        cut_off = str(row.get(CUT_OFF, "")).split("; ")
        for column in volumes.columns.drop(["image", CUT_OFF], errors="ignore"):
            structure = column.removesuffix(" (mL)")
            entry: dict[str, Any] = {"image": paths[name], "mask": f"{MASKS}/{name}_seg.nii.gz"}
            entry |= {"structure": structure, "volume_ml": row[column], "lower_bound": structure in cut_off}
            if stated is not None:
                low, high = _ends(stated.get(name, {}).get(structure))
                entry |= {"low_ml": low, "high_ml": high}
                entry["relative_size_error"] = float(relative_size_error(row[column], low, high))
            entry |= {"flag": flags[name].flag, "reasons": "; ".join(flags[name].reasons)}
            yield entry


def _ends(size: float | list[float] | None) -> tuple[float, float]:
    """Return both ends of a size in mm³, in mL."""
    low, high = (math.nan, math.nan) if size is None else size if isinstance(size, list) else (size, size)
    return low / MM3_PER_ML, high / MM3_PER_ML
