"""Three diameters of each structure, measured in its contours like a reader: ``medsize diameters``."""

from __future__ import annotations

import csv
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medsize.cohort.find import chosen_masks
from medsize.errors import ProblemsError
from medsize.files import atomic_write
from medsize.measurements.outline import long_and_short
from medsize.progress_bar import with_progress
from medsize.scans.dicom.polygons import contour_area
from medsize.scans.dicom.referenced_series import pair_masks
from medsize.scans.dicom.rtstruct import (
    contours_by_slice,
    held_regions,
    interpolated_slices,
    read_contours,
    region_names,
)
from medsize.scans.find_scans import find_scans, read_scan
from medsize.scans.scan import UNUSABLE, FoundScan, ScanKind
from medsize.scans.scan_names import scan_paths
from medsize.scans.structure_name import matching_structures
from medsize.sizes.ellipsoid import ellipsoid_volume
from medsize.suggest import first_few

__all__ = ["Diameters", "MeasuredScan", "measure_diameters", "reader_diameters", "summary", "write_diameters"]


@dataclass(frozen=True)
class Diameters:
    """Measurements in the contours of a structure."""

    long_mm: float
    """Longest diameter within a slice, between two points of one outline, by RECIST."""
    wide_mm: float
    """Width of that outline at right angles to it, within the same slice."""
    high_mm: float
    """Height: from the first to the last slice of the structure, both included."""
    volume_mm3: float
    """Volume within the contours, for comparison only."""

    @property
    def ellipsoid_mm3(self) -> float:
        """Volume of the ellipsoid of the three diameters."""
        return ellipsoid_volume([self.long_mm, self.wide_mm, self.high_mm])


@dataclass(frozen=True)
class MeasuredScan:
    """A scan with contours."""

    name: str
    """Path from the cohort's folder: for a series, the path of its folder."""
    subject: str
    """PatientID."""
    structures: dict[str, Diameters]
    notes: tuple[tuple[str, str], ...] = ()
    """Files of contours, and remarks on what was left out of them."""


def measure_diameters(
    folder: Path,
    structures: Mapping[str, str] | None = None,
    modalities: Sequence[str] = (),
    rtstruct: str | None = None,
) -> list[MeasuredScan]:
    """
    Measure the structures that an RTSTRUCT outlines on the DICOM series of a folder.

    Source: Eisenhauer et al. "New response evaluation criteria in solid tumours". European Journal of Cancer 2009.

    Args:
        folder: folder with the series and the RTSTRUCT, at any depth.
        structures: new names, each with the name in the RTSTRUCT, or its beginning. Default: all regions under their
            own names.
        modalities: modalities of the series to measure, such as ``CT``. Default: all.
        rtstruct: name of the files of RTSTRUCT to use, with wildcards. Default: all.

    Returns:
        the scans that have contours.

    Raises:
        ProblemsError: with all problems, when any scan cannot be measured.
    """
    found = chosen_masks(find_scans(folder), rtstruct, folder)
    contours, faults = pair_masks([scan for scan in found if scan.kind is not ScanKind.SEGMENTS])
    problems = [*(scan.fault for scan in found if scan.kind in UNUSABLE), *faults]
    scans = [
        scan
        for scan in found
        if scan.kind in (ScanKind.SERIES, ScanKind.MULTIFRAME)
        and scan.files[0] in contours
        and (not modalities or scan.modality in modalities)
    ]
    if not scans and not problems:
        problems.append("found no scan with an RTSTRUCT, expected at least one. Check folder and options.")
    measured = []
    named = zip(scans, scan_paths(scans, folder), strict=True)
    for scan, name in with_progress(named, "measuring", total=len(scans)):
        try:
            files = contours[scan.files[0]]
            notes = tuple((str(file), note) for file in files for note in held_regions(file, scan.grid)[1])
            measured.append(MeasuredScan(name, scan.subject, _measure(scan, files, structures), notes))
        except ValueError as e:
            problems.append(str(e))
    if problems:
        raise ProblemsError(folder, problems)
    return measured


def write_diameters(file: Path, scans: Sequence[MeasuredScan]) -> None:
    """Write a size table, CSV, whole or not at all. The cell of a structure that a scan lacks stays empty: unknown."""
    structures = list(dict.fromkeys(name for scan in scans for name in scan.structures))
    with atomic_write(file) as partial, partial.open("w", newline="", encoding="utf-8") as opened:
        writer = csv.writer(opened)
        writer.writerow(["image", "subject", *(f"{name} diameters_mm" for name in structures)])
        for scan in scans:
            cells = [_cell(scan.structures.get(name)) for name in structures]
            writer.writerow([scan.name, scan.subject, *cells])


def summary(scans: Sequence[MeasuredScan]) -> str:
    """Return a line with the number of measurements, and the volume errors of the ellipsoids."""
    measured = [found for scan in scans for found in scan.structures.values()]
    change = np.array([found.ellipsoid_mm3 / found.volume_mm3 for found in measured]) - 1
    errors = abs(change)
    return (
        f"{len(scans)} scans, {len(measured)} structures. The ellipsoids' volumes are wrong by "
        f"{np.median(errors):.0%} (median), {errors.mean():.0%} (mean), {errors.max():.0%} (at most); "
        f"{np.mean(change > 0):.0%} are too large"
    )


def reader_diameters(by_slice: Sequence[Sequence[np.ndarray]], spacing: Sequence[float]) -> tuple[float, float, float]:
    """
    Measure the three diameters of a structure, in mm.

    Args:
        by_slice: its outlines on each slice, at least one, from
            :func:`medsize.scans.dicom.rtstruct.contours_by_slice`.
        spacing: mm of a voxel along both axes of a slice, and between slices.

    Returns:
        the longest diameter of an outline, its width at right angles, and the height over all slices.
    """
    outlines = [polygon * np.asarray(spacing[:2]) for polygons in by_slice for polygon in polygons]
    long, wide = max(long_and_short(outline) for outline in outlines)
    drawn = [number for number, polygons in enumerate(by_slice) if polygons]
    return long, wide, (drawn[-1] - drawn[0] + 1) * spacing[2]


def _measure(scan: FoundScan, files: Sequence[Path], structures: Mapping[str, str] | None) -> dict[str, Diameters]:
    held = [(file, name) for file in files for name in region_names(file)]
    if structures is None:
        counts = Counter(name for _, name in held)
        chosen = {name: _holding(scan, name, held) if counts[name] > 1 else (file, name) for file, name in held}
    else:
        chosen = {wanted: _holding(scan, beginning, held) for wanted, beginning in structures.items()}
    image = read_scan(scan)
    spacing = image.GetSpacing()
    measured = {}
    for wanted, (file, name) in chosen.items():
        contours = read_contours(file, name, scan.frame_of_reference)
        try:
            by_slice = contours_by_slice(contours, image)
        except ValueError as e:
            raise ValueError(f"{file} on {scan.source}: {e}") from e
        volume = _area(by_slice) * math.prod(spacing)
        measured[wanted] = Diameters(*reader_diameters(by_slice, spacing), volume_mm3=volume)
    return measured


def _area(by_slice: Sequence[Sequence[np.ndarray]]) -> float:
    """Return the sum of the areas of all slices, also of those between others that were not drawn."""
    drawn = [index for index, polygons in enumerate(by_slice) if polygons]
    areas = [contour_area(by_slice[index]) for index in drawn]
    return sum(areas) + float(np.interp(interpolated_slices(drawn), drawn, areas).sum())


def _holding(scan: FoundScan, wanted: str, held: Sequence[tuple[Path, str]]) -> tuple[Path, str]:
    """Return the one region with the name, or a name that begins with it, and its file."""
    matching = matching_structures(wanted, [name for _, name in held])
    if len(matching) != 1:
        shown = [held[i] for i in matching] or held
        listed = first_few([f"'{name}' in {file.name}" for file, name in shown]) or "none"
        raise ValueError(
            f"{scan.source}: found {len(matching)} regions named '{wanted}…' in its contours, expected one. "
            f"There are: {listed}. Give the name of one of these, or "
            "choose a file: --rtstruct NAME."
        )
    return held[matching[0]]


def _cell(found: Diameters | None) -> str:
    return "" if found is None else " x ".join(f"{d:.1f}" for d in (found.long_mm, found.wide_mm, found.high_mm))
