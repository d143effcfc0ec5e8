"""Prediction by a run's network: MONAI's inference, from scans of any format to masks, volumes and a picture."""

from __future__ import annotations

import hashlib
import json
import math
import re
import subprocess
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure

from medsize.bundle.run_command import as_typed, run_command
from medsize.bundle.run_folder import INFERENCE, MASKS, VOLUMES, WEIGHTS
from medsize.bundle.run_summary import RunSummary, inference_bundle
from medsize.files import atomic_write
from medsize.inference.where_to_look import coarse_run, found_regions, stated_regions, write_regions
from medsize.metrics.size_error import relative_size_error
from medsize.pictures import draw_slice, fullest_slice
from medsize.scans.find_scans import find_scans, read_scan
from medsize.scans.image_file import read_image_file, write_nifti
from medsize.scans.roles import roles_of, without_ending
from medsize.scans.scan import UNUSABLE, FoundScan, ScanKind, left_out_lines, said_once
from medsize.sizes.size_table import SizeTable, SizeTableError, comparable_path
from medsize.suggest import first_few
from medsize.units import MM3_PER_ML

__all__ = ["predict"]

IMAGES = (ScanKind.FILE, ScanKind.SERIES, ScanKind.MULTIFRAME)
MAX_SHOWN = 24
REGIONS = "regions.json"
"""Data list with the region of each scan, for a network that was trained on regions."""
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
    structures = json.loads((run / INFERENCE).read_text())["structures"]
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
    named = _named(found, folder)
    paths_of = _paths_by_name(found, folder)
    if size_table is not None:
        size_table = _with_paths(size_table, [_path(scan, folder) for scan in found], folder, paths_of)
    stated = stated_regions(data_list, size_table, paths_of) if on_regions else {}
    if on_regions and coarse is None and not stated:
        raise ValueError(
            f"{run} was cropped to regions of interest (use_roi), but found none of the new scans. Name a data list "
            "with a roi or clicks for each (--data-list), a size table with clicks (--sizes), or a run on whole scans "
            "that finds them (--locate-by)."
        )
    for doubt in size_table.doubts if size_table is not None else ():
        report(f"{size_table.source}: {doubt}")  # type: ignore[union-attr]
    named, faults = _convert(named, output_dir / "images")
    problems += faults
    if not named:
        raise ValueError("\n".join([f"{scans}: there is no scan to segment.", *problems]))

    regions = None
    if on_regions:
        regions, faults = _regions(named, stated, coarse, folder, output_dir, report)
        problems += faults
    named, faults = _segment(named, run, bundle, output_dir, report, regions)
    problems += faults
    volumes = pd.read_csv(output_dir / MASKS / VOLUMES, dtype={CUT_OFF: str}, keep_default_na=False)
    sizes, faults = _stated_sizes(named, folder, size_table)
    problems += faults
    table = pd.DataFrame(_rows(volumes, named, folder, sizes))
    with atomic_write(output_dir / "predictions.csv") as file:
        table.to_csv(file, index=False, float_format="%.6g")
    with atomic_write(output_dir / "predictions.json") as file:
        table.to_json(file, orient="records", indent=1, double_precision=6)
    if bounds := int(table["lower_bound"].sum()):
        report(f"{bounds} of {len(table)} volumes are lower bounds: the structure reaches the edge of the view")
    _write_page(output_dir, table)
    _draw(output_dir, list(named)[:MAX_SHOWN])
    return problems + (_write_dicom_seg(named, run, output_dir, structures) if dicom_seg else [])


def _check_dicom_seg(found: list[FoundScan], structures: list[str]) -> None:
    """Refuse scans without a possible DICOM SEG, before anything is segmented."""
    try:
        from medsize.scans.dicom.seg_writer import check_segment_labels
    except ImportError as e:
        raise ValueError(f"DICOM SEG needs {e.name}: pip install 'medsize[dicom]'") from e
    check_segment_labels(structures)
    files = [scan.source for scan in found if scan.kind is ScanKind.FILE]
    if files:
        others = f" and {len(files) - 1} more" if len(files) > 1 else ""
        raise ValueError(
            f"{files[0]}{others}: found other files, expected DICOM series alone: a DICOM SEG names the images that it "
            "was made from. Leave --dicom-seg out, or give the DICOM series."
        )


def _path(scan: FoundScan, folder: Path) -> str:
    """Return the path of a scan from the folder of all: for a series, the path of its folder."""
    source = scan.files[0].parent if scan.kind is ScanKind.SERIES else scan.files[0]
    return source.relative_to(folder).as_posix()


def _named(found: list[FoundScan], folder: Path) -> dict[str, FoundScan]:
    """Return the scans by the names of their files in the output."""
    named: dict[str, FoundScan] = {}
    for scan in found:
        base = re.sub(r"\.(nii(\.gz)?|nrrd|nhdr|mha|mhd)$", "", "_".join(Path(_path(scan, folder)).parts)) or "scan"
        name, count = base, 1
        while name in named:
            count += 1
            name = f"{base}_{count}"
        named[name] = scan
    return named


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
    paths = {name: comparable_path(_path(scan, folder)) for name, scan in named.items()}
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


def _segment(
    named: dict[str, FoundScan],
    run: Path,
    bundle: Path,
    output_dir: Path,
    report: Callable[[str], None],
    regions: dict[str, dict[str, Any]] | None = None,
) -> tuple[dict[str, FoundScan], list[str]]:
    """Run the inference, and again without a scan at which it stops; return the scans that have a mask."""
    images, masks = output_dir.resolve() / "images", output_dir.resolve() / MASKS
    options = ["--dataset_dir", str(images), "--output_dir", str(masks)]
    configs: list[str | Path] = ["inference.yaml", run / INFERENCE]
    listed = output_dir.resolve() / REGIONS
    if regions is not None:
        configs.append("inference_roi.yaml")
        options += ["--data_list", str(listed)]
    command = run_command(bundle, configs, options)
    report(as_typed(command))
    structures = json.loads((run / INFERENCE).read_text())["structures"]

    def start() -> subprocess.CompletedProcess[bytes]:
        if regions is not None:
            write_regions(listed, structures, {name: regions[name] for name in named})
        return subprocess.run(command, check=False)

    problems: list[str] = []
    while (result := start()).returncode:
        missing = [file for file in sorted(images.iterdir()) if not _mask(output_dir, _stem(file)).is_file()]
        # A second stop before any mask is not the fault of a scan.
        if not missing or len(named) == 1 or (problems and not any(masks.glob("*.nii.gz"))):
            result.check_returncode()
        scan = named.pop(_stem(missing[0]))
        missing[0].unlink()
        problems.append(f"{scan.source}: the inference stopped at this scan; its message is above. It was left out.")
        report(f"the inference stopped at {scan.source}: it is run again without that scan")
    return named, problems


def _stem(image: Path) -> str:
    return image.name.removesuffix(".nii.gz")


def _mask(output_dir: Path, name: str) -> Path:
    return output_dir / MASKS / f"{name}_seg.nii.gz"


def _paths_by_name(found: list[FoundScan], folder: Path) -> Callable[[str], list[str]]:
    """Return a function from a name of a scan, as ``medsize init`` takes it, to the paths of the scans that it fits."""
    paths = {_path(scan, folder): scan for scan in found}
    ways: tuple[Callable[[str], Iterable[str]], ...] = (
        lambda path: [path],
        lambda path: [without_ending(path)],
        lambda path: [Path(path).name, without_ending(Path(path).name)],
        lambda path: map(str, Path(path).parents),
        lambda path: [paths[path].subject],
    )
    named: list[dict[str, list[str]]] = [{} for _ in ways]
    for way, by_name in zip(ways, named, strict=True):
        for path in paths:
            for name in {comparable_path(name) for name in way(path)}:
                by_name.setdefault(name, []).append(path)

    def paths_of(name: str) -> list[str]:
        key = comparable_path(name)
        return next((by_name[key] for by_name in named if key in by_name), [])

    return paths_of


def _with_paths(table: SizeTable, paths: list[str], folder: Path, paths_of: Callable[[str], list[str]]) -> SizeTable:
    """
    Return the table with the scans' paths in place of the names that it has for them.

    Raises:
        ValueError: when a name fits several scans, or no row is of a scan.
    """
    rows = []
    of_scan = False
    for of_image in table.rows_by_image.values():
        fitting = paths_of(of_image[0].image)
        if len(fitting) > 1:
            raise ValueError(
                f"{table.source}: {table.where(of_image[0], 'image')} is '{of_image[0].image}': {len(fitting)} scans "
                f"fit, {first_few(fitting)}. Write the path of one."
            )
        of_scan |= bool(fitting)
        rows += [replace(row, image=fitting[0]) if fitting else row for row in of_image]
    if paths and not of_scan:
        raise ValueError(
            f"{table.source}: no row is of a scan in {folder}, expected paths such as "
            f"'{paths[0]}', but its first row is of '{table.rows[0].image}'."
        )
    return replace(table, rows=tuple(rows))


def _stated_sizes(
    named: dict[str, FoundScan], folder: Path, table: SizeTable | None
) -> tuple[dict[str, dict[str, Any]] | None, list[str]]:
    """Return the sizes of a table in mm³, by the scan's name, and the problems of sizes that cannot be determined."""
    if table is None:
        return None, []
    stated: dict[str, dict[str, Any]] = {}
    problems: list[str] = []
    for name, scan in named.items():
        path = _path(scan, folder)
        if comparable_path(path) in table.rows_by_image:
            try:
                stated[name] = table.sizes_of(path, folder).get("size") or {}
            except SizeTableError as e:
                problems += e.problems
    return stated, problems


def _rows(
    volumes: pd.DataFrame, named: dict[str, FoundScan], folder: Path, stated: dict[str, dict[str, Any]] | None
) -> Iterator[dict[str, Any]]:
    for _, row in volumes.iterrows():
        name = _stem(Path(row["image"]))
        cut_off = str(row.get(CUT_OFF, "")).split("; ")
        for column in volumes.columns.drop(["image", CUT_OFF], errors="ignore"):
            structure = column.removesuffix(" (mL)")
            entry: dict[str, Any] = {"image": _path(named[name], folder), "mask": f"{MASKS}/{name}_seg.nii.gz"}
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


def _write_page(output_dir: Path, table: pd.DataFrame) -> None:
    """Write the table and the montage as a page."""
    environment = Environment(
        loader=PackageLoader("medsize.inference", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    page = environment.get_template("predictions.html").render(
        rows=table.to_dict("records"), compared="low_ml" in table, bounds=int(table["lower_bound"].sum())
    )
    with atomic_write(output_dir / "predictions.html") as file:
        file.write_text(page, encoding="utf-8", errors="backslashreplace")


def _draw(output_dir: Path, names: list[str]) -> None:
    """Draw every scan: the slice along the last axis that shows most of the prediction, with its outline."""
    columns = min(len(names), 6)
    rows = math.ceil(len(names) / columns)
    figure = Figure(figsize=(2.2 * columns, 2.4 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).flat
    for axes in panels:
        axes.axis("off")
    for axes, name in zip(figure.axes, names, strict=False):
        image = nibabel.load(output_dir / "images" / f"{name}.nii.gz")
        mask = np.asarray(nibabel.load(_mask(output_dir, name)).dataobj)
        z = fullest_slice(mask)
        plane = np.asarray(image.dataobj[..., z], dtype=np.float32)
        draw_slice(axes, plane, [(mask[..., z], "solid")], image.header.get_zooms()[:2])
        axes.set_title(name, fontsize=7)
    with atomic_write(output_dir / "montage.png") as file:
        figure.savefig(file, format="png", dpi=120)


def _write_dicom_seg(named: dict[str, FoundScan], run: Path, output_dir: Path, structures: list[str]) -> list[str]:
    """Write the masks as DICOM SEG; return the problems of those that could not be written."""
    from medsize.scans.dicom.seg_writer import write_dicom_seg

    digest = hashlib.sha256((run / WEIGHTS).read_bytes()).hexdigest()[:16]
    problems = []
    for name, scan in named.items():
        try:
            labels = read_image_file(_mask(output_dir, name))
            file = output_dir / "dicom_seg" / f"{name}.dcm"
            write_dicom_seg(labels, scan, structures, file, run.resolve().name, digest)
        except ValueError as e:
            problems.append(str(e))
    return problems
