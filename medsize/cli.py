"""Command line: ``medsize``."""

from __future__ import annotations

import logging
import math
import subprocess
from pathlib import Path
from typing import Annotated, Any

import typer

from medsize import __version__
from medsize.command_options import (
    Bundle,
    Data,
    DatasetDir,
    FittingBundle,
    KeepIdentifiers,
    KeyFile,
    LaterWins,
    MaxGib,
    Modality,
    Only,
    Rtstruct,
    RunBundle,
    Sheet,
    StudyFile,
    SubjectPattern,
    Suv,
    TableStructures,
    WorkDir,
    echo,
    refusals,
)
from medsize.errors import ProblemsError

app = typer.Typer(help="Train medical image segmenters from approximate sizes.", no_args_is_help=True)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Train medical image segmenters from approximate sizes."""


@app.command()
def phantom(
    output_dir: Annotated[Path, typer.Argument(help="Folder to write the cohort to.")],
    scans: Annotated[int, typer.Option(help="Number of scans.", min=1)] = 24,
    shape: Annotated[tuple[int, int, int], typer.Option(help="Voxels along each axis.")] = (64, 64, 12),
    spacing: Annotated[tuple[float, float, float], typer.Option(help="mm along each axis.")] = (
        3.0,
        3.0,
        8.0,
    ),
    folds: Annotated[int, typer.Option(help="Number of folds.", min=1)] = 3,
    seed: Annotated[int, typer.Option(help="Seed of the cohort: the same seed gives the same cohort.")] = 0,
    lesions: Annotated[
        bool, typer.Option("--lesions", help="Lesions in a liver, as dark as spots around it, with masks of the liver.")
    ] = False,
) -> None:
    """Write a phantom cohort: synthetic scans, masks, clicks, and a data list with sizes."""
    from medsize.data import write_phantom_cohort

    with refusals():
        data_list = write_phantom_cohort(output_dir, scans, shape, spacing, folds, seed, lesions)
    typer.echo(f"{data_list}: {scans} phantom scans")


@app.command()
def init(
    cohort: Annotated[Path, typer.Argument(help="Folder with the scans.", exists=True, file_okay=False)],
    output: Annotated[
        Path | None, typer.Option(help="Folder to write to, outside of COHORT. Default: COHORT_prepared.")
    ] = None,
    sizes: Annotated[
        Path | None, typer.Option(help="Size table, CSV or XLSX. Default: measure masks.", dir_okay=False)
    ] = None,
    measurements: Annotated[
        bool | None,
        typer.Option(
            help="Use measurements in COHORT: DICOM SR, viewers' files. Default: without a size table and masks."
        ),
    ] = None,
    sheet: Sheet = None,
    structure: Annotated[
        list[str] | None, typer.Option(help="Structure of the next class. May be repeated. Default: those found.")
    ] = None,
    modality: Modality = None,
    subject_pattern: SubjectPattern = None,
    bundle: FittingBundle = None,
    folds: Annotated[int, typer.Option(help="Number of folds.", min=2)] = 5,
    window: Annotated[
        tuple[float, float] | None, typer.Option(help="Intensities that become 0 and 1. Default: from the scans.")
    ] = None,
    roi_margin_mm: Annotated[
        float | None, typer.Option(help="Crop to the masks with this margin in mm. All scans need masks.", min=0)
    ] = None,
    inside: Annotated[
        list[str] | None,
        typer.Option(
            metavar="STRUCTURE=ORGAN",
            help="Compare the structure's size within the organ, whose masks are used: lesion=liver. May be repeated.",
        ),
    ] = None,
    pixel_mm: Annotated[
        float | None,
        typer.Option(
            help="Side of the pixels of all pictures, mm. Default: the table's column pixel_mm, or the files'."
        ),
    ] = None,
    mask_colour: Annotated[
        list[str] | None,
        typer.Option(
            metavar="STRUCTURE=COLOUR",
            help="Colour of a structure in masks that are pictures in colour: lesion=#ff0000. May be repeated.",
        ),
    ] = None,
    mask_threshold: Annotated[
        int | None,
        typer.Option(help="Grey value from which a pixel of a mask is inside, for JPEG or soft edges.", min=1, max=255),
    ] = None,
    rtstruct: Rtstruct = None,
    suv: Suv = False,
    later_wins: LaterWins = False,
    keep_identifiers: KeepIdentifiers = False,
    key_file: KeyFile = None,
    max_gib: MaxGib = 4.0,
) -> None:
    """
    Prepare a folder of scans or pictures, masks and sizes for training, and show the next commands.

    OUTPUT gets NIfTI without identifiers, datalist.json, cohort.yaml and report.html. All problems are listed at the
    end, with the exit code 1. Usable scans are prepared nevertheless.
    """
    from medsize.cohort import InitOptions, init_cohort
    from medsize.cohort.organs import inside_option
    from medsize.cohort.pictures import MaskOptions, mask_colours
    from medsize.cohort.unpaired import read_cohort_table

    folder = cohort.resolve()
    output = output or folder.with_name(f"{folder.name}_prepared")
    with refusals("No data list was written."):
        options = InitOptions(
            structures=tuple(structure or ()),
            modalities=tuple(modality or ()),
            subject_pattern=subject_pattern,
            bundle=bundle,
            window=window,
            roi_margin_mm=roi_margin_mm,
            measurements=measurements,
            num_folds=folds,
            pixel_mm=pixel_mm,
            masks=MaskOptions(mask_colours(mask_colour or ()), mask_threshold),
            inside=inside_option(inside or ()),
            rtstruct=rtstruct,
            suv=suv,
            later_wins=later_wins,
            keep_identifiers=keep_identifiers,
            key_file=key_file,
            max_bytes=int(max_gib * 2**30),
        )
        table = None if sizes is None else read_cohort_table(sizes, sheet, cohort, options)
        prepared = init_cohort(cohort, output, table, options, report=echo)
    if prepared.suspicions:
        echo("\n".join(["what may be wrong:", *(f"  - {text}" for text in prepared.suspicions)]))
    scans = len(prepared.cohort.items)
    go_on = " To go on:" if prepared.commands else ""
    echo(f"{output}: datalist.json with {scans} scan{'' if scans == 1 else 's'}, cohort.yaml, report.html.{go_on}")
    for command in prepared.commands:
        typer.echo(f"  {command}")
    if prepared.problems:
        raise SystemExit(f"{ProblemsError(cohort, prepared.problems)}\nAll usable scans were prepared nevertheless.")


@app.command()
def convert(
    folder: Annotated[Path, typer.Argument(help="Folder with the scans.", exists=True)],
    output: Annotated[Path, typer.Option(help="Folder to write to, outside of FOLDER.")],
    modality: Modality = None,
    structure: Annotated[
        list[str] | None,
        typer.Option(help="Structure of the next class in masks from SEG and RTSTRUCT. May be repeated."),
    ] = None,
    subject_pattern: SubjectPattern = None,
    rtstruct: Rtstruct = None,
    suv: Suv = False,
    later_wins: LaterWins = False,
    keep_identifiers: KeepIdentifiers = False,
    key_file: KeyFile = None,
    max_gib: MaxGib = 4.0,
) -> None:
    """
    Convert a folder of DICOM series, NRRD, MetaImage or NIfTI into NIfTI without identifiers.

    OUTPUT gets images/, index.csv and, with --structure, masks/. Existing files are kept. A subject becomes a code,
    made with the secret key in OUTPUT_key.txt: keep the key, and do not share it. Voxels are not changed: a head scan
    shows a face. All problems are listed at the end, with the exit code 1.
    """
    from medsize.cohort.conversion import ConvertOptions
    from medsize.cohort.convert_folder import convert_folder

    with refusals():
        options = ConvertOptions(
            structures=tuple(structure or ()),
            modalities=tuple(modality or ()),
            subject_pattern=subject_pattern,
            rtstruct=rtstruct,
            suv=suv,
            later_wins=later_wins,
            keep_identifiers=keep_identifiers,
            key_file=key_file,
            max_bytes=int(max_gib * 2**30),
        )
        converted = convert_folder(folder, output, options, report=echo)
    echo(f"{output / 'index.csv'}: {converted.summary()}")
    if converted.problems:
        raise SystemExit(
            f"{ProblemsError(folder, converted.problems)}\nThese were not converted; all others were. "
            "--modality selects one kind of images, --structure makes masks from SEG and RTSTRUCT."
        )


@app.command()
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

    The page is served to this computer only. Each reading is saved at once; OUTPUT/sizes.csv is a size table for
    medsize init. End it with Ctrl+C, and call it again to go on.
    """
    import webbrowser

    from medsize.measure.run import measure_cohort

    with refusals():
        server = measure_cohort(cohort, structure or (), output, modality or (), port, max_bytes=int(max_gib * 2**30))
    session = server.session
    for problem in session.cohort.problems:
        echo(f"left out: {problem}")
    echo(f"{len(session.scans)} scans, {', '.join(session.structures)}. Readings: {session.output_dir}")
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


@app.command()
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


@app.command()
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
    from medsize.cohort.diameters import measure_diameters, summary, write_diameters
    from medsize.cohort.structures import structure_option
    from medsize.scans.scan import said_once

    with refusals(f"No table was written. Correct these scans, or move them out of {folder}."):
        scans = measure_diameters(folder, structure_option(structure or ()) or None, modality or (), rtstruct)
    write_diameters(output, scans)
    for line in said_once(note for scan in scans for note in scan.notes):
        typer.echo(f"note: {line}")
    echo(f"{output}: {summary(scans)}")


@app.command()
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
    from medsize.cohort.measurements import common_folder, import_measurements, measurement_files
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


@app.command()
def ladder(
    study: StudyFile,
    data: Data,
    work_dir: WorkDir,
    workers: Annotated[int, typer.Option(help="Number of runs at a time, each with one thread.", min=1)] = 2,
    only: Only = None,
    anew: Annotated[bool, typer.Option("--anew", help="Also run the cells that the table holds already.")] = False,
) -> None:
    """Train and evaluate a bundle under every kind of supervision in a study, and write its tables."""
    from medsize.studies.ladder import run_ladder

    with refusals():
        succeeded = run_ladder(study, data.resolve(), work_dir.resolve(), workers, only, anew, report=echo)
    raise typer.Exit(0 if succeeded else 1)


@app.command()
def robustness(
    study: StudyFile,
    data: Data,
    work_dir: WorkDir,
    workers: Annotated[
        int | None,
        typer.Option(help="Number of cells at a time. Default: one for each GPU, else for each core.", min=1),
    ] = None,
    scheduler: Annotated[str | None, typer.Option(help="Address of a Dask scheduler to run on.")] = None,
    only: Only = None,
    report_only: Annotated[bool, typer.Option("--report-only", help="Run nothing; report the finished cells.")] = False,
) -> None:
    """
    Train a bundle under labels with many kinds of noise, and write a report.

    After a stop, call it again: it goes on where it stopped.
    """
    from medsize.studies.robustness import run_robustness

    with refusals():
        result = run_robustness(
            study, data.resolve(), work_dir.resolve(), workers, scheduler, only, report_only=report_only
        )
    typer.echo(f"{result.report}: the report" if result.report else "No cell is finished: there is no report yet.")
    raise typer.Exit(1 if result.failed else 0)


@app.command()
def fit(
    cohort: Annotated[
        Path, typer.Argument(help="Folder that medsize init wrote, its cohort.yaml, or a data list.", exists=True)
    ],
    dataset_dir: DatasetDir = None,
    bundle: FittingBundle = None,
    network: Annotated[
        str | None, typer.Option(help="Network to share: unet, segresnet or, in 2D, lean_unet. Default: unet.")
    ] = None,
    output_dir: Annotated[Path, typer.Option(help="Folder of the fit. Finished stages in it are kept.")] = Path(
        "runs/fit"
    ),
    time_limit: Annotated[
        str | None, typer.Option(help="Time for all trainings, such as 2h or 90m: teachers and epochs are cut to fit.")
    ] = None,
    supervision: Annotated[
        str | None,
        typer.Option(help="Labels to train from: size, mask, scribble, or several joined by +. Default: see the plan."),
    ] = None,
    fold: Annotated[str, typer.Option(help="Fold to validate on, or all for cross-validation.")] = "0",
    ensemble: Annotated[
        bool, typer.Option("--ensemble", help="With --fold all: share all networks as one, which averages them.")
    ] = False,
    look_closer: Annotated[
        bool | None,
        typer.Option(
            "--look-closer/--whole-scans",
            help="First locate the structures, then train around them; or train on whole scans. Default: see the plan.",
        ),
    ] = None,
    override: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="Value of a key of train.yaml, in all trainings. May be repeated."),
    ] = None,
    plan_only: Annotated[bool, typer.Option("--plan-only", help="Show the plan, and run nothing.")] = False,
) -> None:
    """
    Train on a prepared cohort as its labels allow: plan, train, evaluate, export and report.

    The plan is shown first, with its reasons and MONAI's commands. After a stop, call it again: it goes on where it
    stopped. All logs are in the folder of the fit.
    """
    from medsize.fit import StageFailed, Wishes, fit_cohort
    from medsize.fit.duration import parse_time
    from medsize.fit.plan import override_option

    with refusals():
        wishes = Wishes(
            bundle=bundle,
            network=network,
            supervision=supervision,
            fold=fold,
            ensemble=ensemble,
            time_limit=None if time_limit is None else parse_time(time_limit),
            look_closer=look_closer,
            overrides=override_option(override or ()),
        )
        try:
            fit_cohort(cohort, output_dir, wishes, plan_only, report=echo, dataset_dir=dataset_dir)
        except StageFailed as e:
            raise SystemExit(str(e)) from e
        except KeyboardInterrupt as e:
            typer.echo("Stopped. The same command goes on from here.", err=True)
            raise typer.Exit(130) from e


@app.command()
def predict(
    run: Annotated[Path, typer.Argument(help="Output folder of a run.", exists=True, file_okay=False)],
    scans: Annotated[
        Path, typer.Argument(help="An image file or picture, or a folder of them or of DICOM.", exists=True)
    ],
    output: Annotated[
        Path, typer.Option(help="Folder to write masks, volumes and a page to: new, empty, or begun by this command.")
    ],
    sizes: Annotated[
        Path | None, typer.Option(help="Size table, CSV or XLSX, to compare with.", exists=True, dir_okay=False)
    ] = None,
    sheet: Sheet = None,
    data_list: Annotated[
        Path | None,
        typer.Option(
            help="Data list with a roi or clicks for each scan, for a network that was trained on regions (use_roi).",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    locate_by: Annotated[
        Path | None,
        typer.Option(
            help="Run on whole scans that finds such regions. Default: the one that found those of the training.",
            exists=True,
            file_okay=False,
        ),
    ] = None,
    bundle: RunBundle = None,
    dicom_seg: Annotated[
        bool,
        typer.Option(
            "--dicom-seg",
            help="Also write a DICOM SEG for each DICOM scan, for the PACS. It names the patient, like the scan.",
        ),
    ] = False,
    dicom_sr: Annotated[
        bool,
        typer.Option(
            "--dicom-sr",
            help="Also write a DICOM SR (TID 1500) of the volumes in each DICOM scan. It names the patient, too.",
        ),
    ] = False,
    pixel_mm: Annotated[
        float | None, typer.Option(help="Side of a pixel of the pictures, mm, whatever they state.", min=1e-6)
    ] = None,
    modality: Modality = None,
    all_series: Annotated[
        bool,
        typer.Option(
            "--all-series",
            help="Also segment DICOM series that the network was not trained for. Default: leave them out.",
        ),
    ] = False,
) -> None:
    """
    Segment scans with the network of a run: show MONAI's command for it, and run that.

    If it is stopped, the same command goes on: what is segmented is kept, and new or changed scans are segmented.
    """
    from medsize.inference.predict import predict as segment
    from medsize.sizes.size_table import read_size_table

    with refusals():
        table = None if sizes is None else read_size_table(sizes, sheet)
        try:
            problems = segment(
                run,
                scans,
                output,
                table,
                bundle,
                dicom_seg,
                echo,
                data_list,
                locate_by,
                pixel_mm,
                dicom_sr=dicom_sr,
                modalities=modality or (),
                all_series=all_series,
            )
        except KeyboardInterrupt as e:
            typer.echo("Stopped. The same command goes on from here.", err=True)
            raise typer.Exit(130) from e
    written = ["masks", "predictions.csv, .json and .html", "montage.png"]
    echo(f"{output}: {', '.join(written + ['dicom_seg'] * dicom_seg + ['dicom_sr'] * dicom_sr)}")
    if problems:
        raise SystemExit(f"{ProblemsError(scans, problems)}\nEverything else is in {output}.")


@app.command()
def compare(
    earlier: Annotated[
        Path, typer.Argument(help="Folder of predictions, by medsize predict.", exists=True, file_okay=False)
    ],
    later: Annotated[Path, typer.Argument(help="Folder of predictions of later scans.", exists=True, file_okay=False)],
    output: Annotated[Path | None, typer.Option(help="CSV to write. Default: only show the changes.")] = None,
    pairs: Annotated[
        Path | None,
        typer.Option(
            help="Table, CSV or XLSX, with the scans of each pair in the columns earlier and later. Default: those of "
            "one patient, by PatientID or the same path.",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
) -> None:
    """
    Compare the volumes of patients in two folders of predictions: changes with intervals, and whether beyond noise.

    The interval follows from those of both scans, however their errors go together. Research use only.
    """
    from rich.console import Console

    from medsize.inference.follow_up import compare as changes
    from medsize.inference.follow_up import read_pairs

    with refusals("Nothing was compared."):
        found = changes(earlier, later, None if pairs is None else read_pairs(pairs))
        if output is not None:
            found.write(output)
    for line in found.notes:
        echo(f"note: {line}")
    for table in found.tables():
        Console().print(table)
    levels = [row["level"] for row in found.rows if row["level"] > 0]
    if levels:
        least = math.floor(100 * min(levels) + 1e-6)
        echo(f"An interval holds the true change with a probability of {least} % at least. For research use only.")
    if output is not None:
        echo(f"{output}: the changes")
    if found.problems:
        raise SystemExit(f"{ProblemsError(later, found.problems)}\nAll others were compared.")


@app.command()
def locate(
    run: Annotated[Path, typer.Argument(help="Output folder of a run on whole scans.", exists=True, file_okay=False)],
    data_list: Annotated[Path, typer.Argument(help="Data list of the cohort.", exists=True, dir_okay=False)],
    output: Annotated[Path, typer.Option(help="Data list to write: a copy with a roi for every scan.")],
    dataset_dir: DatasetDir = None,
    overlay: Annotated[
        Path | None,
        typer.Option(help="Overlay to write, for a training on the regions: the new data list, spacing and window."),
    ] = None,
    middle_if_missed: Annotated[
        bool, typer.Option("--middle-if-missed", help="Take the middle of a scan in which nothing is found.")
    ] = False,
    bundle: RunBundle = None,
) -> None:
    """Find the region of interest of every scan by the network of a run, for a second network at a finer spacing."""
    from medsize.inference.locate import locate as find_regions

    with refusals():
        folder = dataset_dir or data_list.parent
        missed = find_regions(run, data_list, folder, output, bundle, echo, overlay, middle_if_missed)
    echo(f"{output}: the same scans, each with a roi")
    if overlay is not None:
        echo(f"{overlay}: overlay of train.yaml for a training on them")
    for image in missed:
        remedy = "Its middle was taken" if middle_if_missed else "State its roi by hand, or leave it out"
        echo(f"{image}: found no structure in it, expected one. {remedy}.", err=True)
    raise typer.Exit(1 if missed and not middle_if_missed else 0)


@app.command()
def export(
    bundle: Bundle,
    output: Annotated[Path, typer.Option(help="Folder to write the exported bundle to; new or empty.")],
    run: Annotated[
        Path | None, typer.Option(help="Output folder of the run with the weights, classes and metrics to export.")
    ] = None,
    network: Annotated[
        str, typer.Option(help="Network: unet, or an overlay with another one, such as segresnet.")
    ] = "unet",
    vendor: Annotated[bool, typer.Option(help="Add medsize's code, so that training does not need medsize.")] = False,
    image_type: Annotated[
        str | None, typer.Option(help="Type of the images for the metadata, such as natural, ultrasound or CT.")
    ] = None,
    zoo: Annotated[
        str | None,
        typer.Option(
            metavar="OWNER/NAME",
            help="Write a contribution to the model zoo; OWNER/NAME: repository of the weights on Hugging Face.",
        ),
    ] = None,
    authors: Annotated[str, typer.Option(help="With --zoo: authors of the model.")] = "",
    licence: Annotated[
        str | None,
        typer.Option("--license", help="With --zoo: licence of the weights. Default: that of the data list."),
    ] = None,
    weights_url: Annotated[
        str | None, typer.Option(help="With --zoo: address of model.pt. Default: in the repository.")
    ] = None,
) -> None:
    """Write a self-contained bundle in the layout of the MONAI model zoo, or with --zoo a contribution to it."""
    from medsize.bundle.export import export_bundle
    from medsize.bundle.zoo import Contribution, export_for_zoo

    with refusals():
        if zoo is None:
            export_bundle(bundle, output, run, network, vendor, image_type)
            echo(f"{output}: a bundle with {network}")
        else:
            contribution = Contribution(zoo, authors, licence, weights_url)
            echo(export_for_zoo(bundle, output, run, contribution, network, vendor, image_type).describe(output))


@app.command()
def adapt(
    zoo_bundle: Annotated[
        Path, typer.Argument(help="Folder of a bundle that segments, with its weights.", exists=True, file_okay=False)
    ],
    cohort: Annotated[
        Path, typer.Argument(help="Folder that medsize init wrote, its cohort.yaml, or a data list.", exists=True)
    ],
    output: Annotated[Path, typer.Option(help="Overlay of train.yaml to write; the weights are put beside it.")],
    dataset_dir: DatasetDir = None,
    repeat_grey: Annotated[
        bool, typer.Option("--repeat-grey", help="Let a network of several channels see a grey scan in each.")
    ] = False,
) -> None:
    """
    Start from a bundle of the MONAI model zoo: its network, weights and preprocessing, trained from your sizes.

    Structures with the name of one of its classes keep that class's output; others are new. The command of the training
    is shown.
    """
    from medsize.fit.adapt import adapt_bundle

    with refusals():
        adapted = adapt_bundle(zoo_bundle, cohort, output, repeat_grey, dataset_dir)
    for note in adapted.notes:
        echo(f"{note}.")
    echo(f"{adapted.overlay}, {adapted.weights.name}: overlay and weights. Read it, then:\n  {adapted.command}")


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def train(
    context: typer.Context,
    bundle: Bundle,
    overlay: Annotated[
        list[str] | None,
        typer.Option(
            help="Config to put over train.yaml: its name in the bundle, or a path. Repeated ones are merged in order."
        ),
    ] = None,
    processes: Annotated[int, typer.Option(help="Number of processes to train by, one for each GPU.", min=1)] = 1,
) -> None:
    """
    Train a bundle: show MONAI's command for it, and run that.

    The options after BUNDLE are passed on to it: --dataset_dir DATA --output_dir RUN --max_epochs 50
    """
    from medsize.bundle.run_command import as_typed, training_command

    with refusals():
        command = training_command(bundle, overlay or [], context.args, processes)
    typer.echo(as_typed(command))
    raise typer.Exit(subprocess.run(command, check=False).returncode)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def check(
    context: typer.Context,
    bundle: Bundle,
    config: Annotated[
        list[str] | None,
        typer.Option(
            help="Config: its name in the bundle, or a path. Repeated ones are merged in order. Default: train.yaml"
        ),
    ] = None,
) -> None:
    """
    Find problems of a run before it starts: misspelled keys, missing files, faulty scans, and more.

    The options after BUNDLE are those of python -m monai.bundle run: --dataset_dir DATA --max_epochs 50
    """
    import fire

    from medsize.checks import check_bundle

    def check_with(run_id: str | None = None, **arguments: Any) -> None:
        check_bundle(bundle, config or ["train.yaml"], run_id=run_id, **arguments)

    logging.getLogger("monai.bundle.workflows").setLevel(logging.ERROR)
    fire.Fire(check_with, command=context.args, name=f"medsize check {bundle}")  # it parses values as MONAI does
    typer.echo("Nothing was found that would stop this run.")


if __name__ == "__main__":
    app()
