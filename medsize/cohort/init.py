"""From a folder of scans, masks and sizes to a training run: find, match, convert, measure, propose."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from medsize.bundle.bundle_choice import bundle_dimensions, go_on_commands
from medsize.cohort.conversion.code_names import code_names_file, named_codes, table_hash, write_code_names
from medsize.cohort.conversion.pictures import plan_pictures
from medsize.cohort.conversion.pseudonym import path_codes, renamed
from medsize.cohort.conversion.scans import Converter, check_outside
from medsize.cohort.doubts import can_train, doubts, faults
from medsize.cohort.find import find_cohort
from medsize.cohort.init_options import InitOptions
from medsize.cohort.proposal import propose_run
from medsize.cohort.report import write_report
from medsize.cohort.sizes.matched import match_cohort
from medsize.cohort.sizes.measurements import measured_by_people, measurement_table
from medsize.cohort.sizes.scans import size_scans
from medsize.cohort.sizes.source import size_source
from medsize.cohort.sizes.table_in_folder import table_in_folder
from medsize.cohort.structures import label_map_values, with_label_maps
from medsize.cohort.write_cohort import write_cohort
from medsize.data.cohort import Cohort
from medsize.errors import ProblemsError
from medsize.files import alone_in
from medsize.scans.scan import counted, noun_of
from medsize.sizes.table.size_table import SizeTable

__all__ = ["Prepared", "init_cohort"]


@dataclass(frozen=True)
class Prepared:
    """Prepared cohort and its problems."""

    cohort: Cohort
    counted: str
    """Number of its scans and subjects, as words."""
    report: Path
    problems: list[str]
    """Scans, masks and rows that were left out, and faults of the others."""
    suspicions: list[str]
    commands: list[str]
    """Next commands, which the report shows, too; none if nothing is left to train on."""


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
        table: sizes; its images may be paths from ``folder``, names of files or folders, or PatientIDs. Default: the
            only table in ``folder``, if there are no masks and no measurements.
        options: see :class:`medsize.cohort.InitOptions`.
        report: function that gets the lines of a summary.

    Raises:
        ProblemsError: with all problems, when nothing can be prepared.
        ValueError: when an option is invalid, or another process writes to ``output_dir``.
    """
    options = options or InitOptions()
    folder, output_dir = folder.resolve(), output_dir.resolve()
    check_outside(folder, output_dir)
    with alone_in(output_dir):
        return _prepare(folder, output_dir, table, options, report)


def _prepare(
    folder: Path, output_dir: Path, table: SizeTable | None, options: InitOptions, report: Callable[[str], None]
) -> Prepared:
    """Prepare a cohort in a folder that no other process writes to."""
    dimensions = None if options.bundle is None else bundle_dimensions(options.bundle)
    found = with_label_maps(find_cohort(folder, options.modalities, options.rtstruct))
    imported = None
    if table is None and options.measurements is not False:
        found, imported = measured_by_people(found, options.measurements, options.structures, report)
    for line in found.summary():
        report(line)
    if imported is not None:
        table = measurement_table(imported, output_dir.with_name(f"{output_dir.name}_measurements.csv"), report)
    elif table is None:
        table = table_in_folder(found, options, report)
    hashed = {} if table is None else {table_hash(table.source): table.source}

    matched = match_cohort(found, table, options.structures, options.inside, options.masks)
    pictures = plan_pictures(found.scans, table, matched.rows, options.pixel_mm, options.max_bytes)
    length_unit = pictures.length_unit if pictures else "mm"
    for line in (*matched.summary(), *(pictures.summary if pictures else ())):
        report(line)

    values = options.label_values or (() if options.masks.colours else label_map_values(found, matched.structures))
    of_structures = replace(options, structures=matched.structures, label_values=values)
    converter = replace(Converter.of(folder, output_dir, of_structures), pictures=pictures)
    converted = matched.convert(converter)
    if options.keep_identifiers and converted.rows:
        converted.write_identifiers(output_dir)
    report(converted.summary(with_subjects=False))  # a table may state others

    sized = size_scans(matched, converted, converter, options.roi_margin_mm, length_unit)
    if sized.num_unknown:
        report(f"left out: {sized.num_unknown} {noun_of(converted.scans.values())}s whose sizes are all unknown")
    # Codes go into the report; the person at the terminal may know the scans.
    sources = matched.sources(converted)
    at_terminal = {str(output_dir / image): f"{source} ({image})" for image, source in sources.items()}
    problems = [*found.problems, *matched.rows.without_scan, *converted.problems, *sized.problems]
    if not sized.items:
        if table is not None and sized.num_unknown:
            problems.append(
                f"{table.source}: found no size of any scan here, expected some. Fill in sizes, and 0 where a "
                "structure is absent."
            )
        raise ProblemsError(folder, [renamed(problem, at_terminal) for problem in problems])

    modalities = [converted.rows[image]["modality"] for image in sized.images]
    origin = size_source(table, matched.rows.scans.values(), (sources[image] for image in sized.images))
    cohort = write_cohort(
        output_dir,
        matched.structures,
        sized.items,
        options.num_folds,
        options.inside,
        length_unit,
        modalities,
        origin,
    )
    proposal = propose_run(cohort, modalities, output_dir / "cohort.yaml", dimensions, options.window)
    commands = go_on_commands(proposal.dimensions, proposal.overlay, options.bundle) if can_train(cohort) else []
    problems += faults(cohort)
    doubtful = [
        *found.notes,
        *(pictures.notes if pictures else ()),
        *converted.resampled(output_dir),
        *converted.notes(output_dir),
        *doubts(cohort, matched, converted, modalities, options),
    ]
    in_page = list(problems)
    if imported is not None and imported.problems:  # these name people's files and words
        problems += imported.problems
        in_page.append(
            f"{len(imported.problems)} measurements were not used. The command that made this page names them."
        )
    codes = {str(output_dir / image): image for image in sources}
    codes |= named_codes(converted, table, converter.key) | path_codes(folder, found.files, converter.key)
    told, doubted, left = ([renamed(line, codes) for line in lines] for lines in (in_page, doubtful, found.left_out))
    write_code_names(output_dir, sources, codes, [*told, *doubted, *left], hashed)
    names = code_names_file(output_dir).name
    page = write_report(
        output_dir / "report.html", cohort, proposal.settings, told, doubted, commands, names, left_out=left
    )
    scans = counted([converted.scans[image] for image in sized.images])
    subjects = len({item["subject"] for item in cohort.items})
    return Prepared(
        cohort,
        f"{scans} of {subjects} subject{'' if subjects == 1 else 's'}",
        page,
        [renamed(problem, at_terminal) for problem in problems],
        [renamed(doubt, at_terminal) for doubt in doubtful],
        commands,
    )
