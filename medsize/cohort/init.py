"""The path from a folder of scans, masks and sizes to a training run."""

from __future__ import annotations

import re
import statistics
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from pydantic import BaseModel
from rich.console import Console
from rich.progress import track

from medsize.checks.plausibility import suspicions
from medsize.checks.scans import check_scans
from medsize.cohort.conversion import Converted, Converter, MaskFiles, convert_scans
from medsize.cohort.find import CohortScan, FoundCohort, find_cohort
from medsize.cohort.match_rows import match_rows, rows_of
from medsize.cohort.proposal import Setting, propose_dimensions, propose_settings, write_overlay
from medsize.cohort.pseudonym import pseudonym, subject_key
from medsize.cohort.report import write_report
from medsize.cohort.structures import holds, masks_of, propose_structures
from medsize.data.data_list import Cohort, load_cohort
from medsize.data.describe_scans import describe_mask, write_data_list
from medsize.data.folds import stratified_folds
from medsize.errors import ProblemsError
from medsize.scans.fact_cache import cached_facts
from medsize.scans.image_file import MAX_BYTES
from medsize.scans.scan import FoundScan, ScanKind
from medsize.scans.scan_facts import UNREADABLE, image_facts, mask_facts
from medsize.sizes.size_table import SizeTable, SizeTableError, add_sizes

__all__ = ["InitOptions", "Prepared", "init_cohort"]

MAX_PER_FOLDER = 6
"""Images in a folder that may be those of one subject."""
T = TypeVar("T")


@dataclass(frozen=True)
class InitOptions:
    """What :func:`init_cohort` may be told."""

    structures: tuple[str, ...] = ()
    """Names of the classes. Default: those of the size table, else those that all masks show."""
    modalities: tuple[str, ...] = ()
    """Only DICOM of these. Default: all."""
    subject_pattern: str | None = None
    """Regular expression that finds the subject in a scan's path."""
    dimensions: int | None = None
    """2 or 3: for which bundle. Default: what fits."""
    window: tuple[float, float] | None = None
    """Intensities that become 0 and 1. Default: chosen from the data."""
    roi_margin_mm: float | None = None
    """State a region of interest, so far around the mask's foreground. Default: none."""
    num_folds: int = 5
    suv: bool = False
    """Convert PET to SUV by body weight."""
    later_wins: bool = False
    """Where structures overlap, the later one wins. Default: refused."""
    keep_identifiers: bool = False
    """Write the table of codes and identifiers beside the output."""
    key_file: Path | None = None
    """The secret key of the codes. Default: beside the output."""
    max_bytes: int = MAX_BYTES


@dataclass(frozen=True)
class Prepared:
    """What was prepared, and what is wrong."""

    cohort: Cohort
    dimensions: int
    overlay: Path
    report: Path
    problems: list[str]
    """Scans, masks and rows that were left out, and faults of the others."""
    suspicions: list[str]


class _Measured(BaseModel):
    """What a mask says of sizes."""

    size: dict[str, float]
    slice_size: dict[str, list[float]]


def init_cohort(
    folder: Path,
    output_dir: Path,
    table: SizeTable | None = None,
    options: InitOptions | None = None,
    commands: Callable[[int, Path], Sequence[str]] = lambda dimensions, overlay: (),
    report: Callable[[str], None] = print,
) -> Prepared:
    """
    Prepare a cohort for training.

    ``output_dir`` gets ``images/`` and ``masks/``, all as NIfTI without identifiers; ``index.csv``; ``datalist.json``,
    with folds that keep subjects together and hold sizes alike; ``cohort.yaml``, an overlay for a bundle's train.yaml;
    and ``report.html``. Sizes come from the table or, where it says nothing of a scan, from the scan's masks. One scan
    at a time is in memory. Interrupted or run again, it does only what is new or has changed.

    Args:
        folder: holds the scans, at any depth.
        output_dir: folder to write to, outside of ``folder``.
        table: sizes; its images may be paths from ``folder``, names of files or folders, or PatientIDs.
        options: see :class:`InitOptions`.
        commands: lines for the report that say how to go on, for the dimensions of the bundle and the overlay.
        report: told what was found, in lines.

    Raises:
        ProblemsError: with all problems, when nothing can be prepared.
        ValueError: when an option is of no use.
    """
    options = options or InitOptions()
    folder, output_dir = folder.resolve(), output_dir.resolve()
    if output_dir.is_relative_to(folder):
        raise ValueError(f"{output_dir} is within {folder}, expected outside of it.")
    found = find_cohort(folder, options.modalities)
    problems = list(found.problems)
    kinds = Counter(scan.scan.modality or scan.scan.kind.value for scan in found.scans)
    report(f"found {len(found.scans)} scans: {', '.join(f'{n} {kind}' for kind, n in kinds.items()) or 'none'}")
    for line in found.left_out:
        report(f"left out: {line}")
    rows: dict[str, CohortScan] = {}
    table_problems: list[str] = []
    if table is not None:
        rows, table_problems = match_rows(table, found.scans)
    structures = _structures(found, folder, table, options, problems)
    if table is not None and structures and (unknown := sorted(set(table.structures) - set(structures))):
        table_problems.append(f"it has sizes of {', '.join(unknown)}, which --structure does not name.")
    if table_problems or not structures or not found.scans:
        source = folder if table is None or not table_problems else f"{table.source}, {folder}"
        raise ProblemsError(source, [*table_problems, *problems])

    converter = Converter(
        folder=folder,
        output_dir=output_dir,
        key=subject_key(options.key_file or output_dir.with_name(f"{output_dir.name}_key.txt")),
        subject_pattern=None if options.subject_pattern is None else re.compile(options.subject_pattern),
        structures=tuple(structures),
        later_wins=options.later_wins,
        suv=options.suv,
        max_bytes=options.max_bytes,
    )
    report(f"structures: {', '.join(f'{index} {name}' for index, name in enumerate(structures, start=1))}")
    pairs: list[tuple[FoundScan, MaskFiles]] = []
    for scan in found.scans:
        fitting = table is None or holds(scan, structures)
        pairs.append((scan.scan, masks_of(scan, structures) if fitting else ()))
    if table is not None and (unused := sum(scan.has_masks and not holds(scan, structures) for scan in found.scans)):
        report(f"left out: masks of {unused} scans, which do not show all structures of {table.source}")
    converted = convert_scans(converter, _shown(pairs, "converting"), _identifier(converter, found))
    problems += converted.problems
    if options.keep_identifiers and converted.rows:
        converted.write_identifiers(output_dir)
    subjects = len({row["subject"] for row in converted.rows.values()})
    report(f"converted {len(converted.rows)} scans of {subjects} subjects, {converted.num_kept} of them before")

    names = {id(scan.scan): scan.name for scan in found.scans}
    sources = {image: names[id(scan)] for image, scan in converted.scans.items()}
    items = _items(converted, output_dir, structures, options.roi_margin_mm, problems)
    if table is not None:
        items = _with_table(items, table, rows, sources, folder, output_dir, converter.key)
    with_row = {name.name for name in rows.values()}
    for item in items:
        if "size" not in item and sources[item["image"]] not in with_row:
            problems.append(f"{output_dir / item['image']}: nothing tells its sizes: it has no row and no mask.")
    if unknown_sizes := sum("size" not in item and sources[item["image"]] in with_row for item in items):
        report(f"left out: {unknown_sizes} scans whose sizes are all unknown")
    items = [item for item in items if "size" in item]
    # Codes go into the report; the person at the terminal may know the scans.
    to_source = {str(output_dir / image): f"{source} ({image})" for image, source in sources.items()}
    if not items:
        raise ProblemsError(folder, [_renamed(problem, to_source) for problem in problems])
    folds = _folds(items, structures, output_dir, options.num_folds)
    if len(set(folds.values())) < 2:
        problems.append("all scans are of one subject, so that none is left to train on. Add scans of others.")
    items = [item | {"fold": folds[item["subject"]]} for item in items]
    data_list = output_dir / "datalist.json"
    write_data_list(data_list, ["background", *structures], items, size_unit="mm3")
    cohort = load_cohort(data_list, output_dir)

    problems += check_scans(cohort.items, cohort.num_classes)
    modalities = [converted.rows[item["image"]]["modality"] for item in items]
    doubtful = [*suspicions(cohort.items, cohort.class_names), *_mixtures(modalities)]
    if not any(scan.scan.subject for scan in found.scans) and len(folds) == len(items) and table is None:
        doubtful.append(
            "every file counts as a subject of its own. Are several of one? Then find them in their paths: "
            r"--subject-pattern 'pat\d+'"
        )
    dimensions, reason = propose_dimensions(cohort)
    if options.dimensions is not None:
        dimensions, reason = options.dimensions, "as asked for"
    settings = [
        Setting("dataset_dir", str(output_dir), "where this cohort was prepared"),
        Setting("data_list", str(data_list), f"{len(items)} scans"),
        *propose_settings(cohort, dimensions, modalities, options.window),
    ]
    overlay = output_dir / "cohort.yaml"
    write_overlay(overlay, settings, f"size_seg_{dimensions}d ({reason})")
    within = {str(output_dir / image): image for image in sources}
    page = write_report(
        output_dir / "report.html",
        cohort,
        settings,
        [_renamed(problem, within | _coded(found, converter.key)) for problem in problems],
        [_renamed(suspicion, within) for suspicion in doubtful],
        commands(dimensions, overlay),
        left_out=bool(found.left_out),
    )
    return Prepared(
        cohort,
        dimensions,
        overlay,
        page,
        [_renamed(problem, to_source) for problem in problems],
        [_renamed(suspicion, to_source) for suspicion in doubtful],
    )


def _structures(
    found: FoundCohort, folder: Path, table: SizeTable | None, options: InitOptions, problems: list[str]
) -> list[str]:
    """Names of the classes; none, and a problem, where nothing tells."""
    if not found.scans:
        problems.append("no scan was found: no DICOM, NIfTI, NRRD or MetaImage file that the options choose.")
        return []
    of_table = None if table is None else table.structures
    try:
        structures = list(options.structures) or propose_structures(found.scans, folder, of_table)
    except ValueError as e:
        problems.append(str(e))
        return []
    if not structures:
        problems.append("nothing tells of sizes: there is no mask. Give a size table: --sizes FILE.")
    return structures


def _mixtures(modalities: Sequence[str]) -> Iterator[str]:
    """Whether scans are of several modalities."""
    counts = Counter(modalities)
    if len(counts) > 1:
        counted = ", ".join(f"{n} {modality or 'unknown'}" for modality, n in counts.items())
        yield f"the scans are of several modalities ({counted}): train each by itself, see --modality."


def _identifier(converter: Converter, found: FoundCohort) -> Callable[[FoundScan], str]:
    """Whose a scan is; of files without a pattern, their folder, where folders hold a few files, as of a subject."""
    files = [scan.scan.files[0] for scan in found.scans if scan.scan.kind is ScanKind.FILE]
    counts = Counter(file.parent for file in files)
    by_folder = len(counts) > 2 and statistics.median(counts.values()) <= MAX_PER_FOLDER

    def identifier(scan: FoundScan) -> str:
        if scan.kind is ScanKind.FILE and converter.subject_pattern is None and by_folder:
            return scan.files[0].parent.relative_to(found.folder).as_posix()
        return converter.identifier(scan)

    return identifier


def _items(
    converted: Converted,
    output_dir: Path,
    structures: Sequence[str],
    roi_margin_mm: float | None,
    problems: list[str],
) -> list[dict[str, Any]]:
    """Items of a data list, with sizes measured in the masks."""
    items = []
    for row in _shown(converted.rows.values(), "measuring"):
        item: dict[str, Any] = {"image": row["image"], "subject": row["subject"]}
        if row["label"]:
            mask = output_dir / row["label"]
            try:
                measured = _measured(mask, ["background", *structures])
            except UNREADABLE as e:
                problems.append(f"{mask}: the mask cannot be measured: {e}")
                continue
            item |= {"label": row["label"], **measured.model_dump()}
            if roi_margin_mm is not None and (box := _box_mm(mask, roi_margin_mm)) is not None:
                item["roi"] = {"box_mm": box}
        items.append(item)
    return items


def _measured(mask: Path, class_names: Sequence[str]) -> _Measured:
    def find() -> _Measured:
        return _Measured.model_validate(describe_mask(mask, class_names))

    return cached_facts(mask, f"sizes of {list(class_names)}", _Measured, find)


def _box_mm(mask: Path, margin: float) -> list[list[float]] | None:
    """Opposite corners, scanner mm, of a box around a mask's foreground."""
    facts = mask_facts(mask)
    if facts.box is None:
        return None
    affine = np.asarray(facts.affine)
    ends = np.array([np.array(facts.box[0]) - 0.5, np.array(facts.box[1]) + 0.5])
    corners = np.array(np.meshgrid(*ends.T, indexing="ij")).reshape(3, -1).T @ affine[:3, :3].T + affine[:3, 3]
    return [np.round(corners.min(axis=0) - margin, 2).tolist(), np.round(corners.max(axis=0) + margin, 2).tolist()]


def _with_table(
    items: Sequence[dict[str, Any]],
    table: SizeTable,
    rows: Mapping[str, CohortScan],
    sources: Mapping[str, str],
    folder: Path,
    output_dir: Path,
    key: bytes,
) -> list[dict[str, Any]]:
    """Items with the sizes and subjects of a table in place of those of the masks, where it has a row."""
    images = {source: image for image, source in sources.items()}
    listed = {name: images[scan.name] for name, scan in rows.items() if scan.name in images}
    stated = rows_of(table, listed, folder)
    in_table = set(listed.values())
    bare = [{"image": item["image"]} for item in items if item["image"] in in_table]
    try:
        by_image = {item["image"]: item for item in add_sizes(bare, stated, output_dir)}
    except SizeTableError as e:
        raise SizeTableError(table.source, [_renamed(problem, sources) for problem in e.problems]) from e
    joined = []
    for item in items:
        of_table = by_image.get(item["image"], {})
        kept = {k: v for k, v in item.items() if k not in ("size", "slice_size") or "size" not in of_table}
        subject = {"subject": pseudonym(of_table["subject"], key)} if "subject" in of_table else {}
        joined.append({**kept, **of_table, **subject})
    return joined


def _folds(
    items: Sequence[Mapping[str, Any]], structures: Sequence[str], output_dir: Path, num_folds: int
) -> dict[str, int]:
    """Fold of each subject; subjects that share a scan are kept together."""
    group = {item["subject"]: item["subject"] for item in items}
    first: dict[str, str] = {}
    for item in _shown(items, "reading"):
        try:
            digest = image_facts(output_dir / item["image"]).digest
        except UNREADABLE:  # the check of scans names it
            continue
        one, other = group[first.setdefault(digest, item["subject"])], group[item["subject"]]
        if one != other:
            group = {subject: one if leader == other else leader for subject, leader in group.items()}
    sizes: dict[str, list[list[float]]] = {}
    for item in items:
        middles = [np.nan if item["size"].get(name) is None else np.mean(item["size"][name]) for name in structures]
        sizes.setdefault(group[item["subject"]], []).append(middles)
    means = {subject: [_mean(column) for column in zip(*rows, strict=True)] for subject, rows in sizes.items()}
    folds = stratified_folds(means, min(num_folds, len(means)))
    return {subject: folds[leader] for subject, leader in group.items()}


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if np.isfinite(value)]
    return float(np.mean(known)) if known else float("nan")


def _renamed(message: str, names: Mapping[str, str]) -> str:
    """A message with other names of files."""
    if not names:
        return message
    pattern = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
    return re.sub(pattern, lambda match: names[match[0]], message)


def _coded(found: FoundCohort, key: bytes) -> dict[str, str]:
    """Codes for the paths of a cohort's folder, which may name a patient."""
    codes: dict[str, str] = {str(found.folder): "cohort"}
    for path in (*found.files, *{file.parent for file in found.files} - {found.folder}):
        name = path.relative_to(found.folder).as_posix()
        codes[str(path)] = codes[name] = f"source {pseudonym(name, key, 8)}"
    return codes


def _shown(sequence: Iterable[T], description: str) -> Iterable[T]:
    """With a progress bar at a terminal."""
    console = Console(stderr=True)
    return track(list(sequence), description, transient=True, console=console, disable=not sys.stderr.isatty())
