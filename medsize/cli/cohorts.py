"""Commands that write and prepare cohorts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from medsize.cli.messages import echo, refusals
from medsize.cli.options import (
    FittingBundle,
    KeepIdentifiers,
    KeyFile,
    LaterWins,
    MaxGib,
    Modality,
    Rtstruct,
    Sheet,
    SubjectPattern,
    Suv,
)
from medsize.errors import ProblemsError

__all__ = ["convert", "init", "phantom"]


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


def init(
    cohort: Annotated[Path, typer.Argument(help="Folder with the scans.", exists=True, file_okay=False)],
    output: Annotated[
        Path | None, typer.Option(help="Folder to write to, outside of COHORT. Default: COHORT_prepared.")
    ] = None,
    sizes: Annotated[
        Path | None,
        typer.Option(
            help="Size table, CSV or XLSX. Default: measure masks, or take the only table in COHORT.", dir_okay=False
        ),
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
    from medsize.cohort.conversion.pictures import MaskOptions, mask_colours
    from medsize.cohort.organs import inside_option
    from medsize.cohort.sizes.unpaired import read_cohort_table

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
    go_on = " To go on:" if prepared.commands else ""
    echo(f"{output}: datalist.json with {prepared.counted}, cohort.yaml, report.html.{go_on}")
    for command in prepared.commands:
        typer.echo(f"  {command}")
    if prepared.problems:
        raise SystemExit(f"{ProblemsError(cohort, prepared.problems)}\nAll usable scans were prepared nevertheless.")


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
    from medsize.cohort.conversion.folder import convert_folder
    from medsize.cohort.conversion.scans import ConvertOptions

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
