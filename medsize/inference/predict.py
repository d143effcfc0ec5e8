"""Prediction by a run's network: MONAI's inference, from scans of any format to masks, volumes and a picture."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from medsize.bundle.run_folder import INFERENCE, MASKS, VOLUMES, WEIGHTS
from medsize.bundle.run_summary import RunSummary, inference_bundle
from medsize.files import atomic_write
from medsize.inference.areas import area_rows, shown_areas, stated_areas
from medsize.inference.intervals import calibration_of, told_intervals, with_intervals
from medsize.inference.new_scans import named_scans, path_of, paths_by_name, with_paths
from medsize.inference.page import MAX_SHOWN, Shown, draw_montage, scan_panels, write_page
from medsize.inference.pictures import LARGE, PictureMask, convert_pictures, large_mask, small_mask
from medsize.inference.run_network import RunNetwork
from medsize.inference.segmentation import image_name, mask_file, segment_scans
from medsize.inference.where_to_look import coarse_run, found_regions, stated_regions
from medsize.metrics.size_error import relative_size_error
from medsize.scans.find_scans import find_scans, read_scan
from medsize.scans.image_file import read_image_file, write_nifti
from medsize.scans.roles import roles_of
from medsize.scans.scan import UNUSABLE, FoundScan, ScanKind, left_out_lines, said_once
from medsize.scans.scan import VOLUMES as KINDS_OF_VOLUMES
from medsize.scans.scan_header import scan_header
from medsize.sizes.size_table import SizeTable, SizeTableError, comparable_path
from medsize.suggest import first_few
from medsize.units import MM3_PER_ML

__all__ = ["predict"]

IMAGES = (*KINDS_OF_VOLUMES, ScanKind.PICTURE)
NO_REGIONS = "it is too large for a network of regions. Crop it first."
VOLUME_WORDS = Shown(
    "scan", "volume", "volume_ml", "mL", "low_ml", "high_ml", "the first or last slice or the edge of the view"
)
CUT_OFF = "cut off"
"""Column of the volumes' table; those of bundles that were exported before lack it."""


def predict(
    run: Path,
    scans: Path,
    output_dir: Path,
    size_table: SizeTable | None = None,
    bundle: Path | None = None,
    dicom_seg: bool = False,
    report: Callable[[str], None] = print,
    data_list: Path | None = None,
    locate_by: Path | None = None,
    pixel_mm: float | None = None,
    large: int = LARGE,
) -> list[str]:
    """
    Segment scans with the network that a run has trained.

    A network that was trained on regions of interest (``use_roi``) is applied to the regions that a data list or clicks
    state; to other scans around what a network on whole scans finds. Masks are in the space of the whole scans.

    ``output_dir`` gets ``images/``, the scans as NIfTI; ``masks/``, in the space of the scans, with their volumes;
    ``predictions.csv`` and ``predictions.json``, the volume of each structure in each scan, whether it is a lower bound
    since the structure reaches the edge of the view, and, with a size table, its error
    (:class:`medsize.metrics.RelativeSizeError`); ``montage.png``; and ``predictions.html``, a page of these.

    Args:
        run: output folder of a run.
        scans: an image file, or a folder with image files or DICOM series, at any depth.
        output_dir: folder to write to; new or empty.
        size_table: sizes to compare with; its images are paths from the folder ``scans``, for a series of its
            folder, or names as :func:`medsize.cohort.init_cohort` takes them.
        bundle: bundle of the run. Default: the path that the run recorded.
        dicom_seg: also write ``dicom_seg/``, see :func:`medsize.scans.dicom.seg_writer.write_dicom_seg`; all scans must
            be DICOM. These files name the patient, as the headers of the scans do.
        report: function that gets the command of MONAI that is run.
        data_list: data list with a ``roi`` or ``clicks`` for scans; its images are named like those of the table.
        locate_by: run on whole scans whose network finds the regions of the other scans. Default: the one that located
            the scans that the run was trained on, if any.
        pixel_mm: side of a pixel of the pictures, mm, whatever they state. Default: what they state.
        large: number of pixels above which a picture is segmented row by row.

    Returns:
        the problems of single scans: those that could not be read or segmented, and parts of the output that are
        missing for others.

    Raises:
        ValueError: when nothing can be segmented, with the reason.
        subprocess.CalledProcessError: when the inference fails for another reason than a single scan.
    """
    bundle = inference_bundle(run, bundle)
    on_regions = RunSummary.read(run).roi
    coarse = coarse_run(run, locate_by) if on_regions else None
    if not on_regions and (unused := data_list or locate_by):
        raise ValueError(f"{run} sees whole scans, so that {unused} has no effect. Leave it out.")
    if output_dir.exists() and any(output_dir.iterdir()):
        raise ValueError(f"{output_dir} is not empty. Name a new folder.")
    settings = json.loads((run / INFERENCE).read_text())
    structures = settings["structures"]
    folder = scans.parent if scans.is_file() else scans
    found = find_scans(scans)
    for line in left_out_lines(found):
        report(f"left out: {line}")
    for line in said_once((scan.source, scan.note) for scan in found if scan.note):
        report(f"note: {line}")
    problems = [scan.fault for scan in found if scan.kind in UNUSABLE]
    if scans.is_dir():
        roles = roles_of(found, folder)
        if drawn := {*roles.masks, *roles.clicks}:
            named_files = first_few(sorted(map(str, drawn)))
            report(f"left out: {len(drawn)} image files of masks or clicks, by their names: {named_files}")
        found = roles.images
    found = [scan for scan in found if scan.kind in IMAGES]
    if dicom_seg:
        _check_dicom_seg(found, structures)
    named = named_scans(found, folder)
    paths_of = paths_by_name(found, folder)
    if size_table is not None:
        size_table = with_paths(size_table, [path_of(scan, folder) for scan in found], folder, paths_of)
    stated = stated_regions(data_list, size_table, paths_of) if on_regions else {}
    if on_regions and coarse is None and not stated:
        raise ValueError(
            f"{run} was cropped to regions of interest (use_roi), but found none of the new scans. Name a data list "
            "with a roi or clicks for each (--data-list), a size table with clicks (--sizes), or a run on whole scans "
            "that finds them (--locate-by)."
        )
    for doubt in size_table.doubts if size_table is not None else ():
        report(f"{size_table.source}: {doubt}")  # type: ignore[union-attr]
    of_pictures = any(scan.kind is ScanKind.PICTURE for scan in found)
    images = output_dir / "images"
    if of_pictures:
        converted = convert_pictures(named, images, settings, pixel_mm, large)
        large_pictures, faults = converted.large, converted.problems
        to_segment = {name: named[name] for name in converted.small}
    else:
        to_segment, faults = _convert(named, images)
        large_pictures = {}
    problems += faults
    if not to_segment and not large_pictures:
        raise ValueError("\n".join([f"{scans}: there is no scan to segment.", *problems]))

    regions = None
    if on_regions:
        problems += [f"{scan.source}: {NO_REGIONS}" for scan in large_pictures.values()]
        large_pictures = {}
        regions, faults = _regions(to_segment, stated, coarse, folder, output_dir, report)
        problems += faults
    if to_segment:
        to_segment, faults = segment_scans(to_segment, run, bundle, output_dir, report, regions)
        problems += faults
    if of_pictures:
        masks = {n: small_mask(output_dir, n, *converted.small[n], len(structures) + 1) for n in to_segment}
        for ending in (".csv", ".json"):  # pictures have no volumes
            (output_dir / MASKS / VOLUMES).with_suffix(ending).unlink(missing_ok=True)
        of_large, faults = _large_masks(large_pictures, run, bundle, output_dir, pixel_mm, report)
        masks |= of_large
        problems += faults
        if not masks:
            raise ValueError("\n".join([f"{scans}: no picture could be segmented.", *problems]))
        known = None
        if size_table is not None:
            known, faults = stated_areas(masks, named, folder, size_table)
            problems += faults
        table, shown = pd.DataFrame(area_rows(masks, named, folder, structures, known)), shown_areas(masks)
        panels = [mask.panel for mask in masks.values()]
    else:
        volumes = pd.read_csv(output_dir / MASKS / VOLUMES, dtype={CUT_OFF: str}, keep_default_na=False)
        sizes, faults = _stated_sizes(to_segment, folder, images, size_table)
        problems += faults
        table, shown = pd.DataFrame(_rows(volumes, to_segment, folder, sizes)), VOLUME_WORDS
        panels = list(scan_panels(output_dir, list(to_segment)[:MAX_SHOWN]))
    calibration = calibration_of(run)
    table = with_intervals(table, calibration, shown.column)
    with atomic_write(output_dir / "predictions.csv") as file:
        table.to_csv(file, index=False, float_format="%.6g")
    with atomic_write(output_dir / "predictions.json") as file:
        table.to_json(file, orient="records", indent=1, double_precision=6)
    if bounds := int(table["lower_bound"].sum()):
        report(f"{bounds} of {len(table)} {shown.size}s are lower bounds: the structure reaches {shown.edge}")
    write_page(output_dir, table, shown, list(told_intervals(calibration)))
    draw_montage(output_dir, panels[:MAX_SHOWN])
    return problems + (_write_dicom_seg(to_segment, run, output_dir, structures) if dicom_seg else [])


def _large_masks(
    pictures: dict[str, FoundScan],
    run: Path,
    bundle: Path,
    output_dir: Path,
    pixel_mm: float | None,
    report: Callable[[str], None],
) -> tuple[dict[str, PictureMask], list[str]]:
    """Segment large pictures row by row; return their masks, and the problems of those that cannot be read."""
    masks: dict[str, PictureMask] = {}
    problems: list[str] = []
    if pictures:
        network = RunNetwork.read(run, bundle)
    for name, scan in pictures.items():
        report(f"{scan.source}: it is large, and segmented row by row")
        try:
            masks[name] = large_mask(output_dir, name, scan, network, pixel_mm)
        except ValueError as e:
            problems.append(str(e))
    return masks, problems


def _check_dicom_seg(found: list[FoundScan], structures: list[str]) -> None:
    """Refuse scans without a possible DICOM SEG, before anything is segmented."""
    try:
        from medsize.scans.dicom.seg_writer import check_segment_labels
    except ImportError as e:
        raise ValueError(f"DICOM SEG needs {e.name}: pip install 'medsize[dicom]'") from e
    check_segment_labels(structures)
    files = [scan.source for scan in found if scan.kind in (ScanKind.FILE, ScanKind.PICTURE)]
    if files:
        others = f" and {len(files) - 1} more" if len(files) > 1 else ""
        raise ValueError(
            f"{files[0]}{others}: found other files, expected DICOM series alone: a DICOM SEG names the images that it "
            "was made from. Leave --dicom-seg out, or give the DICOM series."
        )


def _convert(named: dict[str, FoundScan], images: Path) -> tuple[dict[str, FoundScan], list[str]]:
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


def _regions(
    named: dict[str, FoundScan],
    stated: dict[str, dict[str, Any]],
    coarse: Path | None,
    folder: Path,
    output_dir: Path,
    report: Callable[[str], None],
) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Return the region of each scan, stated or found by the coarse run; scans without one are taken out, and named."""
    paths = {name: comparable_path(path_of(scan, folder)) for name, scan in named.items()}
    regions = {name: stated[path] for name, path in paths.items() if path in stated}
    others = {name: output_dir / "images" / f"{name}.nii.gz" for name in named if name not in regions}
    if coarse is not None:
        return regions | (found_regions(coarse, others, report) if others else {}), []
    for file in others.values():
        file.unlink()
    problems = [f"{named.pop(name).source}: found neither a roi nor clicks for it. Add them." for name in others]
    if not named:
        raise ValueError("\n".join(["there is no scan with a region to look at.", *problems]))
    return regions, problems


def _stated_sizes(
    named: dict[str, FoundScan], folder: Path, images: Path, table: SizeTable | None
) -> tuple[dict[str, dict[str, Any]] | None, list[str]]:
    """Return the sizes of a table in mm³, by the scan's name, and the problems of sizes that cannot be determined."""
    if table is None:
        return None, []
    stated: dict[str, dict[str, Any]] = {}
    problems: list[str] = []
    for name, scan in named.items():
        path = path_of(scan, folder)
        if comparable_path(path) in table.rows_by_image:
            try:
                file = images / f"{name}.nii.gz"
                stated[name] = _volumes(table.sizes_of(path, folder, scan_file=file), file)
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
    volumes: pd.DataFrame, named: dict[str, FoundScan], folder: Path, stated: dict[str, dict[str, Any]] | None
) -> Iterator[dict[str, Any]]:
    for _, row in volumes.iterrows():
        name = image_name(Path(row["image"]))
        cut_off = str(row.get(CUT_OFF, "")).split("; ")
        for column in volumes.columns.drop(["image", CUT_OFF], errors="ignore"):
            structure = column.removesuffix(" (mL)")
            entry: dict[str, Any] = {"image": path_of(named[name], folder), "mask": f"{MASKS}/{name}_seg.nii.gz"}
            entry |= {"structure": structure, "volume_ml": row[column], "lower_bound": structure in cut_off}
            if stated is not None:
                low, high = _ends(stated.get(name, {}).get(structure))
                entry |= {"low_ml": low, "high_ml": high}
                entry["relative_size_error"] = float(relative_size_error(row[column], low, high))
            yield entry


def _ends(size: float | list[float] | None) -> tuple[float, float]:
    """Return both ends of a size in mm³, in mL."""
    low, high = (math.nan, math.nan) if size is None else size if isinstance(size, list) else (size, size)
    return low / MM3_PER_ML, high / MM3_PER_ML


def _write_dicom_seg(named: dict[str, FoundScan], run: Path, output_dir: Path, structures: list[str]) -> list[str]:
    """Write the masks as DICOM SEG; return the problems of those that could not be written."""
    from medsize.scans.dicom.seg_writer import write_dicom_seg

    digest = hashlib.sha256((run / WEIGHTS).read_bytes()).hexdigest()[:16]
    problems = []
    for name, scan in named.items():
        try:
            labels = read_image_file(mask_file(output_dir, name))
            file = output_dir / "dicom_seg" / f"{name}.dcm"
            write_dicom_seg(labels, scan, structures, file, run.resolve().name, digest)
        except ValueError as e:
            problems.append(str(e))
    return problems
