"""Commands that measure sizes, or collect those that were measured."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from medsize.cli.messages import echo, refusals
from medsize.cli.options import MaxGib, Modality, Rtstruct, TableStructures
from medsize.errors import ProblemsError

__all__ = ["diameters", "measure", "measurements", "readers"]


def measure(
    cohort: Annotated[Path, typer.Argument(help="Folder with the scans or pictures.", exists=True, file_okay=False)],
    structure: Annotated[
        list[str] | None, typer.Option(help="Structure to measure. May be repeated. Default: those of the masks.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Folder of the readings and sizes.csv. Default: COHORT_measurements.")
    ] = None,
    modality: Modality = None,
    port: Annotated[
        int | None, typer.Option(help="Port of the page. Default: a free one.", min=1024, max=65535)
    ] = None,
    browser: Annotated[bool, typer.Option(help="Open the page in the browser.")] = True,
    max_gib: MaxGib = 4.0,
) -> None:
    """
    Open a page on which people measure the structures of each scan in seconds.

    The page is served to this computer only. A reading is on the disk once it is saved; OUTPUT/sizes.csv is a
    size table for medsize init. End it with Ctrl+C, and call it again to go on.
    """
    import webbrowser

    from medsize.measure.run import measure_cohort
    from medsize.scans.scan import counted

    with refusals():
        server = measure_cohort(cohort, structure or (), output, modality or (), port, max_bytes=int(max_gib * 2**30))
    session = server.session
    for reason in (*session.cohort.left_out, *session.cohort.problems):
        echo(f"left out: {reason}")
    found = counted([scan.scan for scan in session.scans])
    echo(f"{found}, {', '.join(session.structures)}. Readings: {session.output_dir}")
    echo(f"The page, until Ctrl+C: {server.address}")
    if browser:
        webbrowser.open(server.address)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        echo(f"To go on: medsize init {cohort} --sizes {session.output_dir / 'sizes.csv'} --output FOLDER")
    finally:
        server.server_close()
        session.close()


def readers(
    cohort: Annotated[Path, typer.Argument(help="Folder that was measured.", exists=True, file_okay=False)],
    measurements: Annotated[
        Path | None, typer.Option(help="Folder of the readings. Default: COHORT_measurements.")
    ] = None,
    structure: Annotated[
        list[str] | None,
        typer.Option(help="Structure of the next class in label maps without names. May be repeated."),
    ] = None,
) -> None:
    """
    Report how wrong and how fast readers are, from what they read with medsize measure.

    Readings are compared with the cohort's masks, if it has any, with those of other readers, and with a second time.
    The folder of the readings gets readers.html and readers.csv, and for each method size_noise_METHOD.json: the model
    of its errors, for studies of robustness.
    """
    from medsize.measure.readers import report_readers
    from medsize.measure.run import measurements_dir

    with refusals("No report was written."):
        table, page, problems = report_readers(cohort, measurements or measurements_dir(cohort), structure or ())
    for problem in problems:
        echo(f"not compared: {problem}")
    echo(f"{page}: the report; {table}: its values")


def diameters(
    folder: Annotated[
        Path, typer.Argument(help="Folder with DICOM series and RTSTRUCT.", exists=True, file_okay=False)
    ],
    output: Annotated[Path, typer.Option(help="Size table to write, CSV.")],
    modality: Modality = None,
    structure: TableStructures = None,
    rtstruct: Rtstruct = None,
) -> None:
    """
    Measure three diameters of each structure in its contours (RTSTRUCT), like a reader, and write a size table.

    These are the longest diameter within a slice, the width at right angles to it, and the height over all slices.
    The volumes of their ellipsoids are compared with the volumes within the contours.
    """
    from medsize.cohort.sizes.diameters import measure_diameters, summary, write_diameters
    from medsize.cohort.structures import structure_option
    from medsize.scans.scan import said_once

    with refusals(f"No table was written. Correct these scans, or move them out of {folder}."):
        scans = measure_diameters(folder, structure_option(structure or ()) or None, modality or (), rtstruct)
        write_diameters(output, scans)
    for line in said_once(note for scan in scans for note in scan.notes):
        typer.echo(f"note: {line}")
    echo(f"{output}: {summary(scans)}")


def measurements(
    files: Annotated[list[Path], typer.Argument(help="Files of measurements, or folders with some.", exists=True)],
    output: Annotated[Path, typer.Option(help="Size table to write, CSV.")],
    scans: Annotated[
        Path | None,
        typer.Option(
            help="Folder with the scans. Default: the nearest that holds all FILES.", exists=True, file_okay=False
        ),
    ] = None,
    modality: Modality = None,
    structure: TableStructures = None,
    unit: Annotated[str, typer.Option(help="Unit of numbers that have none, such as cm. Default: refuse them.")] = "",
    text: Annotated[
        str, typer.Option(metavar="COLUMN", help="Column of a table that holds sentences of reports.")
    ] = "",
    between: Annotated[
        bool,
        typer.Option("--between", help="State sizes of one structure that differ as bounds. Default: refuse."),
    ] = False,
) -> None:
    """
    Make a size table of measurements that exist: DICOM SR, viewers' files, tables, sentences of reports.

    Each finds its scan by UIDs, then by names. A size with a place also gives a click. What only a person can
    decide is listed at the end, with the exit code 1; all others are written.
    """
    from medsize.cohort.find import find_cohort
    from medsize.cohort.sizes.measurements import common_folder, import_measurements, measurement_files
    from medsize.cohort.structures import structure_option
    from medsize.files import keep_inputs
    from medsize.measurements.measurement import ReadOptions

    with refusals("No table was written."):
        named = structure_option(structure or ())
        found = find_cohort(scans or common_folder(files), tuple(modality or ()))
        options = ReadOptions(unit, text, tuple(named.values()))
        read = measurement_files(files, found)
        keep_inputs(output, read)
        imported = import_measurements(read, found, named, options, between)
        if not imported.table.rows:
            nothing = "found no measurement of a scan, expected at least one. Check FILES and --scans."
            raise ProblemsError(found.folder, imported.problems or [nothing, *imported.left_out])
        imported.table.write(output)
    for line in imported.left_out:
        echo(f"left out: {line}")
    echo(f"{output}: {imported.summary()}")
    if imported.problems:
        raise SystemExit(
            f"{ProblemsError(found.folder, imported.problems)}\nThese are not in the table; all others are."
        )
