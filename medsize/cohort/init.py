"""From a folder of scans, masks and sizes to a training run: find, match, convert, measure, propose."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from medsize.bundle.bundle_choice import bundle_dimensions, go_on_commands
from medsize.checks.plausibility import nothing_to_learn, size_volumes, suspicions
from medsize.checks.scans import check_scans
from medsize.cohort.code_names import code_names_file, write_code_names
from medsize.cohort.conversion import Converted, Converter, ConvertOptions, MaskFiles, convert_scans, identify_by_folder
from medsize.cohort.find import CohortScan, FoundCohort, find_cohort
from medsize.cohort.measurements import Imported, import_measurements, measurement_files
from medsize.cohort.organs import write_organs
from medsize.cohort.pictures import IGNORED, MaskOptions, colour_faults, plan_pictures
from medsize.cohort.proposal import propose_run
from medsize.cohort.pseudonym import path_codes, pseudonym, renamed
from medsize.cohort.report import write_report
from medsize.cohort.size_source import size_source
from medsize.cohort.sized_items import SIZES, measured_items, stated_items
from medsize.cohort.structures import (
    choose_structures,
    doubtful_values,
    holds,
    label_map_values,
    masks_of,
    names_held,
    names_unused,
    names_used,
    with_label_maps,
)
from medsize.cohort.unpaired import unpaired
from medsize.data.cohort import Cohort, load_cohort, organs_of
from medsize.data.data_list import write_data_list
from medsize.data.folds import folds_of_subjects
from medsize.errors import ProblemsError
from medsize.progress_bar import with_progress
from medsize.scans.scan_facts import mask_facts
from medsize.scans.subjects import comparable_subject
from medsize.sizes.match_rows import MatchedRows, match_rows, rows_of
from medsize.sizes.read_size_table import read_size_table
from medsize.sizes.size_table import SizeTable, SizeTableError
from medsize.suggest import first_few

__all__ = ["InitOptions", "Prepared", "init_cohort"]


@dataclass(frozen=True)
class InitOptions(ConvertOptions):
    """Options of :func:`init_cohort`. Default of the structures: those of the size table, else of all masks."""

    bundle: Path | None = None
    """Folder of the bundle to train. Default: medsize's own whose dimensions fit the scans."""
    window: tuple[float, float] | None = None
    """Intensities that become 0 and 1. Default: chosen from the data."""
    roi_margin_mm: float | None = None
    """Margin of a region of interest around the mask's foreground. Default: no region."""
    num_folds: int = 5
    pixel_mm: float | None = None
    """Side of the pixels of pictures, mm. Default: that of the size table or the files."""
    inside: Mapping[str, str] = field(default_factory=dict)
    """Organ that each structure lies in. Default: sizes are of whole scans."""
    measurements: bool | None = None
    """Use measurements in the folder, if there is no size table. Default: if there is no mask either."""


@dataclass(frozen=True)
class Prepared:
    """Prepared cohort and its problems."""

    cohort: Cohort
    report: Path
    problems: list[str]
    """Scans, masks and rows that were left out, and faults of the others."""
    suspicions: list[str]
    commands: list[str]
    """Next commands, which the report shows, too; none if nothing is left to train on."""


@dataclass(frozen=True)
class Matched:
    """Rows of the table and masks, matched to their scans."""

    found: FoundCohort
    structures: tuple[str, ...]
    """Names of the classes but the background."""
    table: SizeTable | None
    rows: MatchedRows
    organs: Mapping[str, str] = field(default_factory=dict)
    """Organ of each structure."""

    def masks(self, scan: CohortScan) -> MaskFiles:
        """Return the masks of a scan; none if a table has the sizes, and the masks do not show all structures."""
        return masks_of(scan, self.structures) if self.table is None or holds(scan, self.structures) else ()

    def summary(self) -> list[str]:
        """Return lines with the structures, and with the masks that were left out."""
        lines = [f"structures: {', '.join(f'{i} {name}' for i, name in enumerate(self.structures, start=1))}"]
        twice = sum(bool(scan.drawn and scan.named) for scan in self.found.scans)
        if twice:
            lines.append(f"left out: image files of masks of {twice} scans that have SEG or RTSTRUCT, too")
        unused = sum(scan.has_masks and not self.masks(scan) for scan in self.found.scans)
        if self.table is not None and unused:
            lines.append(f"left out: masks of {unused} scans, which do not show all structures of {self.table.source}")
        return lines


@dataclass(frozen=True)
class Measured:
    """Scans with sizes."""

    items: list[dict[str, Any]]
    """Items of a data list, yet without folds."""
    problems: list[str]
    """Problems of masks, and scans without any size."""
    num_unknown: int
    """Number of scans in the table whose sizes are all unknown."""


def init_cohort(
    folder: Path,
    output_dir: Path,
    table: SizeTable | None = None,
    options: InitOptions | None = None,
    report: Callable[[str], None] = print,
) -> Prepared:
    """
    Prepare a cohort for training.

    ``output_dir`` gets ``images/`` and ``masks/``, all as NIfTI without identifiers; ``index.csv``; ``datalist.json``,
    with folds that keep subjects together and have similar sizes; ``cohort.yaml``, an overlay for a bundle's
    train.yaml; and ``report.html``. Beside it, a table tells the names that the report's codes stand for.

    Sizes come from the table or, for a scan without a row, from the scan's masks. One scan at a time
    is in memory. A repeated call does only what is new or has changed.

    Args:
        folder: folder with the scans, at any depth.
        output_dir: folder to write to, outside of ``folder``.
        table: sizes; its images may be paths from ``folder``, names of files or folders, or PatientIDs.
        options: see :class:`InitOptions`.
        report: function that gets the lines of a summary.

    Raises:
        ProblemsError: with all problems, when nothing can be prepared.
        ValueError: when an option is invalid.
    """
    options = options or InitOptions()
    if options.pixel_mm is not None and not (0 < options.pixel_mm < math.inf):
        raise ValueError(f"--pixel-mm is {options.pixel_mm:g}, expected mm above 0. Correct it.")
    folder, output_dir = folder.resolve(), output_dir.resolve()
    if output_dir.is_relative_to(folder):
        raise ValueError(f"{output_dir} is within {folder}, expected outside of it. Name another output folder.")
    if options.window is not None and options.window[0] >= options.window[1]:
        low, high = options.window
        raise ValueError(f"the window is {low:g} to {high:g}, expected the lower end first. Exchange them.")
    dimensions = None if options.bundle is None else bundle_dimensions(options.bundle)
    found = with_label_maps(find_cohort(folder, options.modalities, options.rtstruct))
    imported = None
    if table is None and options.measurements is not False:
        found, imported = measured_by_people(found, options, report)
    for line in found.summary():
        report(line)
    if imported is not None:
        table = measurement_table(imported, output_dir.with_name(f"{output_dir.name}_measurements.csv"), report)

    matched = match(found, table, options.structures, options.inside, options.masks)
    pictures = plan_pictures(found.scans, table, matched.rows, options.pixel_mm, options.max_bytes)
    for line in (*matched.summary(), *(pictures.summary if pictures else ())):
        report(line)

    values = () if options.masks.colours else label_map_values(found, matched.structures)
    converter = Converter.of(
        folder, output_dir, replace(options, structures=matched.structures, label_values=options.label_values or values)
    )
    converter = replace(converter, pictures=pictures)
    length_unit = pictures.length_unit if pictures else "mm"
    converted = convert(matched, converter)
    if options.keep_identifiers and converted.rows:
        converted.write_identifiers(output_dir)
    report(converted.summary())

    sources = source_names(found, converted)
    measured = measure(matched, converted, converter, sources, options.roi_margin_mm, length_unit)
    measured = with_organs(measured, matched, converted, converter)
    if measured.num_unknown:
        report(f"left out: {measured.num_unknown} scans whose sizes are all unknown")

    # Codes go into the report; the person at the terminal may know the scans.
    at_terminal = {str(output_dir / image): f"{source} ({image})" for image, source in sources.items()}
    in_report = {str(output_dir / image): image for image in sources}
    in_report |= named_codes(converted, table, converter.key)
    problems = [*found.problems, *matched.rows.without_scan, *converted.problems, *measured.problems]
    if not measured.items:
        if table is not None and measured.num_unknown:
            problems.append(
                f"{table.source}: found no size of any scan here, expected some. Fill in sizes, and 0 where a "
                "structure is absent."
            )
        raise ProblemsError(folder, [renamed(problem, at_terminal) for problem in problems])
    modalities = [converted.rows[item["image"]]["modality"] for item in measured.items]
    cohort = write_cohort(
        output_dir,
        matched.structures,
        measured.items,
        options.num_folds,
        options.inside,
        length_unit,
        modalities,
        size_source(table, matched.rows.scans.values(), (sources[item["image"]] for item in measured.items)),
    )
    proposal = propose_run(cohort, modalities, output_dir / "cohort.yaml", dimensions, options.window)

    problems += faults(cohort)
    in_page = list(problems)
    if imported is not None and imported.problems:  # these name people's files and words
        problems += imported.problems
        in_page.append(
            f"{len(imported.problems)} measurements were not used. The command that made this page names them."
        )
    of_masks = [*converted.resampled(output_dir), *converted.notes(output_dir)]
    doubtful = [
        *found.notes,
        *(pictures.notes if pictures else ()),
        *of_masks,
        *doubts(cohort, matched, modalities, options),
    ]
    doubtful += joined(converted, matched)
    commands = go_on_commands(proposal.dimensions, proposal.overlay, options.bundle) if can_train(cohort) else []
    codes = in_report | path_codes(folder, found.files, converter.key)
    told, doubted, left = ([renamed(line, codes) for line in lines] for lines in (in_page, doubtful, found.left_out))
    write_code_names(output_dir, sources, codes, [*told, *doubted, *left])
    names = code_names_file(output_dir).name
    page = write_report(
        output_dir / "report.html", cohort, proposal.settings, told, doubted, commands, names, left_out=left
    )
    return Prepared(
        cohort,
        page,
        [renamed(problem, at_terminal) for problem in problems],
        [renamed(doubt, at_terminal) for doubt in doubtful],
        commands,
    )


def measured_by_people(
    found: FoundCohort, options: InitOptions, report: Callable[[str], None]
) -> tuple[FoundCohort, Imported | None]:
    """
    Read the measurements in a cohort's folder, if they are wanted, or nothing else has sizes.

    Returns:
        the cohort, without the reports among what was left out if they are used; and the measurements, if they are.

    Raises:
        ValueError: when they are wanted, but there are none.
    """
    files = measurement_files([found.folder], found)
    if not files:
        if options.measurements:
            raise ValueError(f"--measurements: {found.folder} has no file of measurements. Leave the option out.")
        return found, None
    if options.measurements is None and any(scan.has_masks for scan in found.scans):
        named = f"{files[0]}{f' and {len(files) - 1} more' if len(files) > 1 else ''}"
        report(f"found measurements: {named}. The masks give the sizes; to use these instead: --measurements")
        return found, None
    imported = import_measurements(files, found, {name: name for name in options.structures})
    return replace(found, left_out=tuple(line for line in found.left_out if line not in found.report_lines)), imported


def measurement_table(imported: Imported, file: Path, report: Callable[[str], None]) -> SizeTable | None:
    """Write the size table of measurements, and read it; ``None`` if none of them is of a scan here."""
    for line in imported.left_out:
        report(f"left out: {line}")
    if not imported.table.rows:
        for problem in imported.problems:
            report(f"left out: {problem}")
        return None
    imported.table.write(file)
    report(f"sizes from measurements: {imported.summary()}. They are in {file}")
    return read_size_table(file)


def match(
    found: FoundCohort,
    table: SizeTable | None,
    wanted: Sequence[str],
    inside: Mapping[str, str] | None = None,
    masks: MaskOptions | None = None,
) -> Matched:
    """
    Find the structures, and the scan of each row of a size table.

    Args:
        found: the cohort.
        table: the size table.
        wanted: names of the structures. Default if empty: those of the table or the masks, other than organs.
        inside: organ, or structure, that each structure lies in. Default: none.
        masks: options for masks that are pictures.

    Raises:
        ProblemsError: with all problems, when nothing can be prepared.
    """
    rows = MatchedRows() if table is None else match_rows(table, {scan.name: scan.scan for scan in found.scans})
    of_table = [] if rows.scans and not rows.problems else list(unpaired(found, rows))
    structures: list[str] = []
    others = list(found.problems)
    try:
        structures = choose_structures(found, wanted, table, masks)
        if not wanted and inside and all(names_held(scan, structures) for scan in found.scans if scan.has_masks):
            structures = [name for name in structures if name in inside or name not in inside.values()]
    except ValueError as e:
        others.append(str(e))
    if table is not None and structures and (unknown := sorted(set(table.structures) - set(structures))):
        of_table.append(f"it has sizes of {', '.join(unknown)}, which --structure does not name. Name them, too.")
    if of_table or not structures:
        source = f"{table.source}, {found.folder}" if table is not None and of_table else found.folder
        raise ProblemsError(source, [*of_table, *others])
    if masks is not None and (unknown_names := list(colour_faults(masks.colours, structures))):
        raise ProblemsError("--mask-colour", unknown_names)
    faults: list[str] = []
    organs = organs_of(inside, structures, faults)
    if faults:
        raise ProblemsError("--inside", faults)
    return Matched(found, tuple(structures), table, rows, dict(zip(structures, organs, strict=False)))


def convert(matched: Matched, converter: Converter) -> Converted:
    """Write all scans and the usable masks as NIfTI without identifiers."""
    pairs = [(scan.scan, matched.masks(scan)) for scan in matched.found.scans]
    identify = identify_by_folder(converter, [scan for scan, _ in pairs])
    return convert_scans(converter, with_progress(pairs, "converting"), identify)


def measure(
    matched: Matched,
    converted: Converted,
    converter: Converter,
    sources: Mapping[str, str],
    roi_margin_mm: float | None,
    length_unit: Literal["mm", "px"] = "mm",
) -> Measured:
    """
    Collect the scans' sizes: from the table, else from the masks.

    Args:
        matched: the cohort.
        converted: its scans.
        converter: their converter.
        sources: from :func:`source_names`.
        roi_margin_mm: see :class:`InitOptions`.
        length_unit: ``px`` if the size of the pictures' pixels is unknown.
    """
    output_dir = converter.output_dir
    items, problems = measured_items(converted.rows.values(), output_dir, matched.structures, roi_margin_mm)
    if matched.table is not None:
        images = {sources[item["image"]]: item["image"] for item in items}
        listed = {name: images[path] for name, path in matched.rows.scans.items() if path in images}
        of_images = rows_of(matched.table, listed, converter.folder)
        try:
            items = stated_items(items, of_images, output_dir, converter.key, sources, length_unit)
        except SizeTableError as e:
            others = [*matched.found.problems, *unpaired(matched.found, matched.rows), *converted.problems]
            raise SizeTableError(e.source, [*e.problems, *others]) from e
    with_row = set(matched.rows.scans.values())
    unsized = [item["image"] for item in items if not {*SIZES, "clicks"} & item.keys()]
    untold = [image for image in unsized if sources[image] not in with_row]
    problems += [f"{output_dir / image}: found no size: it has no row and no mask. Add one." for image in untold]
    kept = [item for item in items if item["image"] not in set(unsized)]
    if kept and not any(SIZES & item.keys() for item in kept):
        raise ProblemsError(
            matched.table.source if matched.table is not None else converter.folder,
            ["found clicks, but no size of any scan, expected some. Fill in sizes."],
        )
    unknown = {"size": dict.fromkeys(matched.structures)}
    kept = [item if SIZES & item.keys() else {**item, **unknown} for item in kept]  # clicked alone
    return Measured(kept, problems, len(unsized) - len(untold))


def with_organs(measured: Measured, matched: Matched, converted: Converted, converter: Converter) -> Measured:
    """Add the masks of organs that structures lie in to the items, if these are drawn."""
    if not matched.organs:
        return measured
    by_source = {scan.scan.source: scan for scan in matched.found.scans}
    scans = {item["image"]: by_source[converted.scans[item["image"]].source] for item in measured.items}
    found, problems = write_organs(scans, matched.organs, converter)
    items = [{**item, "organs": found[item["image"]]} if item["image"] in found else item for item in measured.items]
    return replace(measured, items=items, problems=[*measured.problems, *problems])


def source_names(found: FoundCohort, converted: Converted) -> dict[str, str]:
    """Return the names of the scans that converted images come from, by image."""
    names = {scan.scan.source: scan.name for scan in found.scans}
    return {image: names[scan.source] for image, scan in converted.scans.items()}


def write_cohort(
    output_dir: Path,
    structures: Sequence[str],
    items: Sequence[Mapping[str, Any]],
    num_folds: int,
    inside: Mapping[str, str] | None = None,
    length_unit: Literal["mm", "px"] = "mm",
    modalities: Iterable[str] = (),
    size_source: str = "",
) -> Cohort:
    """Divide the scans into folds, write the data list, and read it like a training run."""
    folds = folds_of_subjects(items, structures, output_dir, num_folds)
    data_list = output_dir / "datalist.json"
    folded = [{**item, "fold": folds[item["subject"]]} for item in items]
    top_level: dict[str, Any] = {"inside": dict(inside)} if inside else {}
    top_level |= {"length_unit": length_unit} if length_unit != "mm" else {}
    top_level |= {"size_source": size_source} if size_source else {}
    if len(kinds := set(modalities)) == 1 and kinds != {""}:
        top_level["modality"] = {"0": kinds.pop()}  # as in the Decathlon
    labels = [output_dir / item["label"] for item in items if "label" in item]
    if len(structures) < IGNORED and any(IGNORED in mask_facts(label).values for label in labels):
        top_level["mask_ignored"] = IGNORED
    write_data_list(data_list, ["background", *structures], folded, size_unit="mm3", **top_level)
    return load_cohort(data_list, output_dir)


def has_folds(cohort: Cohort) -> bool:
    """Return whether there are scans to train on beside those to validate on."""
    return len({item["fold"] for item in cohort.items}) > 1


def can_train(cohort: Cohort) -> bool:
    """Return whether there are scans and sizes to train on."""
    return has_folds(cohort) and not nothing_to_learn(cohort.items, cohort.class_names)


def faults(cohort: Cohort) -> list[str]:
    """Return the problems of the folds and of the scans themselves."""
    found = check_scans(
        cohort.items,
        cohort.num_classes,
        mask_ignored=cohort.mask_ignored,
        length_unit=cohort.length_unit,
        class_names=cohort.class_names,
    )
    found += nothing_to_learn(cohort.items, cohort.class_names)
    if not has_folds(cohort):
        return ["all scans are from one subject, so that none is left to train on. Add scans of others.", *found]
    return found


def cut_off(cohort: Cohort) -> Iterator[str]:
    """Yield a doubt for each structure that reaches an edge of the view in some masks; of pictures only with mm."""
    if cohort.length_unit == "px":  # sizes are of what the picture shows
        return
    drawn = {item["image"]: mask_facts(item["label"]).cut_off for item in cohort.items if "label" in item}
    for value, structure in enumerate(cohort.class_names[1:], start=1):
        if cut := [image for image, values in drawn.items() if value in values]:
            yield (
                f"'{structure}' reaches the first or last slice or the edge of the view in {len(cut)} of {len(drawn)} "
                f"masks: {first_few(cut)}. It may be cut off: its stated size may be larger than what is in view, its "
                "size in the mask is a lower bound."
            )


def joined(converted: Converted, matched: Matched) -> Iterator[str]:
    """Yield a doubt for each subject that is written in several ways, and for each row that fits its scan nearly."""
    yield from matched.rows.joined
    names: dict[str, set[str]] = {}
    for row in matched.table.rows if matched.table is not None else ():
        if row.subject:
            names.setdefault(comparable_subject(row.subject), set()).add(row.subject)
    for alike in (*converted.written_alike(), *(sorted(of_one) for of_one in names.values() if len(of_one) > 1)):
        listed = " and ".join(f"'{name}'" for name in alike)
        yield f"{listed} count as one subject. If they are several, let more than zeros, case or spaces differ."


def named_codes(converted: Converted, table: SizeTable | None, key: bytes) -> dict[str, str]:
    """Return codes for the names of subjects and scans in quotation marks, since a table may name patients."""
    names = set(converted.identifiers.values())
    for row in table.rows if table is not None else ():
        names |= {row.image, row.subject or row.image}
    return {f"'{name}'": f"'{pseudonym(name, key, 8)}'" for name in names}


def doubts(cohort: Cohort, matched: Matched, modalities: Sequence[str], options: InitOptions) -> Iterator[str]:
    """Yield doubts about the sizes, the scans and their subjects, and options that had no effect."""
    if matched.table is not None:
        yield from (f"{matched.table.source.name}: {doubt}" for doubt in matched.table.doubts)
    columns = () if matched.table is None else matched.table.columns
    fractions = {column.structure for column in columns if column.kind == "fraction"}
    yield from suspicions(cohort.items, cohort.class_names, cohort.length_unit, fractions)
    volumes = np.array([size_volumes(item) for item in cohort.items])
    for structure in (name for k, name in enumerate(matched.structures) if np.isnan(volumes[:, k]).all()):
        yield f"the size of '{structure}' is not known in any scan. State it in some, or leave the structure out."
    for structure in matched.structures:
        used = names_used(matched.found, structure)
        if len(used) > 1:
            counted = first_few([f"'{name}' ({n} scans)" for name, n in used.most_common()])
            yield f"'{structure}' stands for masks of several names: {counted}. Do they show the same?"
    yield from doubtful_values(matched.found)
    if not options.structures and matched.table is None and (unused := names_unused(matched.found, matched.structures)):
        counted = first_few([f"'{name}' ({n} scans)" for name, n in unused.most_common()])
        yield f"structures that not all masks have were left out: {counted}. Are they written in several ways?"
    empty = [item["image"] for item in cohort.items if "label" in item and mask_facts(item["label"]).box is None]
    if empty:
        yield f"the masks of {len(empty)} scans are empty, so that all sizes are 0: {first_few(empty)}. Is that right?"
    yield from cut_off(cohort)
    if matched.organs and (lacking := [item["image"] for item in cohort.items if "region" not in item]):
        organs = ", ".join(dict.fromkeys(matched.organs.values()))
        yield (
            f"{len(lacking)} of {len(cohort.items)} scans have no mask of {organs}: {first_few(lacking)}. Add masks "
            "with this name, or name a run that finds it: organ_run in cohort.yaml."
        )
    counts = Counter(modalities)
    if len(counts) > 1:
        counted = ", ".join(f"{n} {modality or 'unknown'}" for modality, n in counts.items())
        yield f"found several modalities ({counted}), expected one. Train each by itself, see --modality."
    if options.suv and "PT" not in modalities:
        yield "no scan is PET by its header, so that --suv changed none. Convert to SUV first, or leave --suv out."
    without = sum("roi" not in item for item in cohort.items)
    if options.roi_margin_mm is not None and without:
        yield (
            f"{without} of {len(cohort.items)} scans have no mask to crop around, so that use_roi is false in spite of "
            "--roi-margin-mm. State their roi in the size table (roi_mm), or leave them out."
        )
    subjects = {item["subject"] for item in cohort.items}
    if (
        matched.table is None
        and not any(scan.scan.subject for scan in matched.found.scans)
        and len(subjects) == len(cohort.items)
    ):
        yield (
            "every file counts as a subject of its own. Do some belong together? Then find the subjects in the paths: "
            r"--subject-pattern 'pat\d+'"
        )
