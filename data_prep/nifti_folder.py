"""
Convert a folder of scans, as hospitals and other programs keep them, into NIfTI.

    python -m data_prep.nifti_folder FOLDER --output-dir OUT [--modality CT] [--structure liver] [--suv]

FOLDER holds DICOM series, in folders of any depth, or NRRD, MetaImage or NIfTI files. OUT gets ``images/``, and
``index.csv`` with a line for each: its subject, modality, description and size. With ``--structure`` it also gets
``masks/``: label maps made of the SEG and RTSTRUCT that were drawn on the series. What is there already is kept.

No header goes along. A subject is a code made of its PatientID with a secret key, which lies beside OUT as
``OUT_key.txt``: keep it to give the same subjects the same codes again, and do not pass it on. ``--keep-identifiers``
writes ``OUT_identifiers.csv``, the table of codes and identifiers. Nothing is removed from the voxels: a head scan
shows a face. Descriptions lose the words that name the patient in the header; look them over before you pass them on.
DICOM needs pydicom and highdicom (``pip install 'medsize[dicom]'``).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import track

from medsize.cohort.conversion import Converter, convert_scans
from medsize.cohort.pseudonym import subject_key
from medsize.data import DataListError
from medsize.scans.dicom.referenced_series import pair_masks
from medsize.scans.find_scans import find_scans
from medsize.scans.scan import MASKS, UNUSABLE, ScanKind


def main(
    folder: Annotated[Path, typer.Argument(help="Folder that holds the scans.", exists=True)],
    output_dir: Annotated[Path, typer.Option(help="Folder to write to, outside of FOLDER.")],
    modality: Annotated[
        list[str] | None, typer.Option(help="Only DICOM of this modality, such as CT; may be given again.")
    ] = None,
    structure: Annotated[
        list[str] | None,
        typer.Option(help="Structure of the next class in masks from SEG and RTSTRUCT; may be given again."),
    ] = None,
    later_wins: Annotated[
        bool, typer.Option(help="Where structures overlap, the one given later wins. Default: refused.")
    ] = False,
    suv: Annotated[bool, typer.Option(help="Write PET as SUV by body weight.")] = False,
    subject_pattern: Annotated[
        str | None,
        typer.Option(help="Regular expression: the subject is what it finds in a scan's path, not the PatientID."),
    ] = None,
    key_file: Annotated[Path | None, typer.Option(help="The secret key. Default: OUT_key.txt.")] = None,
    keep_identifiers: Annotated[bool, typer.Option(help="Also write OUT_identifiers.csv.")] = False,
    max_gib: Annotated[float, typer.Option(help="Memory that a scan's voxels may take.")] = 4.0,
) -> None:
    """Convert scans to NIfTI."""
    folder, output_dir = folder.resolve(), output_dir.resolve()
    if not folder.is_dir():
        raise typer.BadParameter(
            f"{folder} is a file, expected a folder. Unpack an archive first.", param_hint="FOLDER"
        )
    if output_dir.is_relative_to(folder):
        raise typer.BadParameter(f"{output_dir} is within {folder}, expected outside of it.", param_hint="--output-dir")
    try:
        converter = Converter(
            folder=folder,
            output_dir=output_dir,
            key=subject_key(key_file or output_dir.with_name(f"{output_dir.name}_key.txt")),
            subject_pattern=None if subject_pattern is None else re.compile(subject_pattern),
            structures=tuple(structure or ()),
            later_wins=later_wins,
            suv=suv,
            max_bytes=int(max_gib * 2**30),
        )
    except (ValueError, re.error) as e:
        raise typer.BadParameter(str(e)) from e

    found = find_scans(folder)
    chosen = [scan for scan in found if not modality or scan.modality in modality or scan.kind in UNUSABLE]
    for scan in chosen:
        if scan.kind is ScanKind.LOCALIZER:
            typer.echo(f"left out, a localizer: {scan.source}")
    images = [scan for scan in chosen if scan.kind is not ScanKind.LOCALIZER]
    masks_of: dict[str, list[Path]] = {}
    problems: list[str] = []
    if structure:
        images = [scan for scan in images if scan.kind not in MASKS]
        masks_of, problems = pair_masks(found)
    if not images and not problems:
        problems = ["no scan was found in it: no DICOM, NIfTI, NRRD or MetaImage file that the options choose."]

    pairs = [(scan, masks_of.get(scan.series, [])) for scan in images]
    converted = convert_scans(converter, track(pairs, description="converting"))
    problems += converted.problems
    if converted.rows and keep_identifiers:
        converted.write_identifiers(output_dir)
    subjects = len({row["subject"] for row in converted.rows.values()})
    typer.echo(
        f"{output_dir / 'index.csv'}: {len(converted.rows)} scans of {subjects} subjects, {converted.num_kept} of them "
        "converted before"
    )
    if problems:
        raise SystemExit(
            f"{DataListError(folder, problems)}\nThese were not converted; all others were. "
            "--modality picks images of one kind, --structure makes masks of SEG and RTSTRUCT."
        )


if __name__ == "__main__":
    typer.run(main)
