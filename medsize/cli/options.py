"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from medsize.cli.messages import refusals

__all__ = [
    "Bundle",
    "Data",
    "DatasetDir",
    "FittingBundle",
    "KeepIdentifiers",
    "KeyFile",
    "LaterWins",
    "MaxGib",
    "Modality",
    "Only",
    "Rtstruct",
    "RunBundle",
    "Sheet",
    "StudyFile",
    "SubjectPattern",
    "Suv",
    "TableStructures",
    "WorkDir",
]


def _bundle(name: str) -> Path:
    from medsize.bundle.bundle_choice import find_bundle

    with refusals():
        return find_bundle(name)


Bundle = Annotated[
    Path, typer.Argument(parser=_bundle, metavar="BUNDLE", help="Bundle: size_seg_2d, size_seg_3d, or a folder.")
]
RunBundle = Annotated[
    Path | None,
    typer.Option(parser=_bundle, metavar="BUNDLE", help="Bundle of the run. Default: the path that the run recorded."),
]
FittingBundle = Annotated[
    Path | None,
    typer.Option(parser=_bundle, metavar="BUNDLE", help="Bundle to train. Default: the one that fits the scans."),
]
DatasetDir = Annotated[
    Path | None, typer.Option(help="Folder that the data list's paths start from. Default: the data list's own.")
]
Modality = Annotated[
    list[str] | None, typer.Option(help="Use only DICOM of this modality, such as CT. May be repeated.")
]
SubjectPattern = Annotated[str | None, typer.Option(help="Regular expression that finds the subject in a scan's path.")]
Rtstruct = Annotated[
    str | None, typer.Option(help="Use only RTSTRUCT, or SEG, whose files have this name. May have wildcards: 'anna*'.")
]
TableStructures = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME[=BEGINNING]",
        help="Take only this structure: its name in the files, or NEW=OLD, its name in the table and the beginning of "
        "its name in the files. May be repeated.",
    ),
]
Suv = Annotated[bool, typer.Option(help="Convert PET to SUV by body weight.")]
LaterWins = Annotated[bool, typer.Option(help="Let the later structure win where two overlap. Default: refuse.")]
KeepIdentifiers = Annotated[bool, typer.Option(help="Also write the subjects of all codes to OUTPUT_identifiers.csv.")]
Sheet = Annotated[str | None, typer.Option(help="Sheet of the size table. Default: the only one that is not empty.")]
KeyFile = Annotated[Path | None, typer.Option(help="File of the codes' secret key. Default: OUTPUT_key.txt.")]
StudyFile = Annotated[Path, typer.Argument(help="Study to run: a YAML file, such as those in benchmarks/.")]
Data = Annotated[Path, typer.Option(help="Folder with the cohorts.")]
WorkDir = Annotated[Path, typer.Option(help="Folder for the runs. Finished runs in it are kept.")]
Only = Annotated[str | None, typer.Option(help="Run only cells whose name matches this regular expression.")]
MaxGib = Annotated[float, typer.Option(help="Largest memory in GiB that a scan's voxels may take.")]
