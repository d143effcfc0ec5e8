"""Commands that apply the network of a run to scans."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from medsize.cli.messages import echo, refusals
from medsize.cli.options import DatasetDir, Modality, RunBundle, Sheet
from medsize.errors import ProblemsError

__all__ = ["compare", "locate", "predict"]


def predict(
    run: Annotated[Path, typer.Argument(help="Output folder of a fit or of a run.", exists=True, file_okay=False)],
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
        float | None,
        typer.Option(
            help="Side of a pixel of the pictures, mm, whatever they state, unless --sizes has it (pixel_mm).", min=1e-6
        ),
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
    from medsize.fit import shared_run
    from medsize.inference.predict import predict as segment
    from medsize.sizes.table.read import read_size_table

    with refusals():
        table = None if sizes is None else read_size_table(sizes, sheet)
        try:
            problems = segment(
                shared_run(run),
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
    from medsize.metrics.conformal import whole_percent

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
        least = whole_percent(min(levels))
        echo(f"An interval holds the true change with a probability of {least} % at least. For research use only.")
    if output is not None:
        echo(f"{output}: the changes")
    if found.problems:
        raise SystemExit(f"{ProblemsError(later, found.problems)}\nAll others were compared.")


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
    content = json.loads(output.read_text())
    items = content.get("training", []) + content.get("validation", [])
    echo(f"{output}: the same scans, {sum('roi' in item for item in items)} of {len(items)} with a roi")
    if overlay is not None:
        echo(f"{overlay}: overlay of train.yaml for a training on them")
    for image in missed:
        remedy = "Its middle was taken" if middle_if_missed else "State its roi by hand, or leave it out"
        echo(f"{image}: found no structure in it, expected one. {remedy}.", err=True)
    raise typer.Exit(1 if missed and not middle_if_missed else 0)
