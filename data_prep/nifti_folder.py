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

import csv
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import track

from medsize.data import DataListError
from medsize.data.found_scan import FoundScan, ScanKind
from medsize.data.image_file import write_nifti
from medsize.data.masks import read_masks
from medsize.data.pseudonym import pseudonym, subject_key
from medsize.data.scans import find_scans, read_scan
from medsize.data.whole_file import written_whole

COLUMNS = ("image", "label", "subject", "modality", "description", "voxels", "spacing_mm", "source")
IDENTIFIERS = ("subject", "identifier", "image", "source")
UNUSABLE = (ScanKind.UNREADABLE, ScanKind.ARCHIVE)
MASKS = (ScanKind.SEGMENTS, ScanKind.CONTOURS)


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

    index_file = output_dir / "index.csv"
    earlier = read_table(index_file)
    index: dict[str, dict[str, str]] = {}
    identifiers = []
    for scan in track(images, description="converting"):
        if scan.fault:
            problems.append(scan.fault)
            continue
        try:
            identifier = converter.identifier(scan)
            row = converter.convert(scan, identifier, masks_of.get(scan.series, []), earlier)
        except (OSError, ValueError) as e:
            problems.append(str(e))
            continue
        index[row["image"]] = row
        identifiers.append(
            {"subject": row["subject"], "identifier": identifier, "image": row["image"], "source": scan.source}
        )
        if row != earlier.get(row["image"]):
            write_table(index_file, COLUMNS, (earlier | index).values())
    if index:
        write_table(index_file, COLUMNS, index.values())
        if keep_identifiers:
            table = output_dir.with_name(f"{output_dir.name}_identifiers.csv")
            write_table(table, IDENTIFIERS, identifiers)
            table.chmod(0o600)
    kept = sum(row == earlier.get(image) for image, row in index.items())
    subjects = len({row["subject"] for row in index.values()})
    typer.echo(f"{index_file}: {len(index)} scans of {subjects} subjects, {kept} of them converted before")
    if problems:
        raise SystemExit(
            f"{DataListError(folder, problems)}\nThese were not converted; all others were. "
            "--modality picks images of one kind, --structure makes masks of SEG and RTSTRUCT."
        )


@dataclass(frozen=True)
class Converter:
    """How scans are converted, and where to."""

    folder: Path
    output_dir: Path
    key: bytes
    subject_pattern: re.Pattern[str] | None
    structures: tuple[str, ...]
    later_wins: bool
    suv: bool
    max_bytes: int

    def identifier(self, scan: FoundScan) -> str:
        """
        Whose scan it is: what the pattern finds, else the PatientID, else, for an image file, the file.

        Raises:
            ValueError: when nothing tells.
        """
        path = self._path(scan.files[0])
        if self.subject_pattern is not None:
            match = self.subject_pattern.search(path)
            if match is None:
                raise ValueError(
                    f"{scan.source}: --subject-pattern finds no '{self.subject_pattern.pattern}' in '{path}', expected "
                    "the subject. Give a pattern that fits every path."
                )
            return match[match.lastindex or 0]
        if scan.kind is ScanKind.FILE:
            return path
        if not scan.subject:
            raise ValueError(
                f"{scan.source}: it states no PatientID, expected one. "
                "Give --subject-pattern to find the subject in the path."
            )
        return scan.subject

    def convert(
        self, scan: FoundScan, identifier: str, masks: Sequence[Path], earlier: Mapping[str, Mapping[str, str]]
    ) -> dict[str, str]:
        """
        Write a scan and its masks, unless they are there already.

        Args:
            scan: the scan.
            identifier: whose it is.
            masks: SEG and RTSTRUCT that were drawn on it.
            earlier: lines of the index so far, by image.

        Returns:
            its line of the index.

        Raises:
            ValueError: naming the file at fault. Nothing is written then.
        """
        subject = pseudonym(identifier, self.key)
        modality = re.sub("[^A-Za-z0-9]", "", scan.modality) or "image"
        own = scan.series if scan.kind is ScanKind.SERIES else self._path(scan.files[0])
        name = f"{subject}_{modality}_{pseudonym(own, self.key, 8)}.nii.gz"
        source = self._source((*scan.files, *masks))
        known = earlier.get(f"images/{name}", {})
        written = [self.output_dir / known[key] for key in ("image", "label") if known.get(key)]
        if known.get("source") == source and all(file.is_file() for file in written):
            return dict(known)
        image = read_scan(scan, self.max_bytes)
        if self.suv and scan.modality == "PT":
            from medsize.data.suv import to_suv

            image = to_suv(image, scan)
        label = ""
        if masks:
            mask = read_masks(masks, image, self.structures, scan.frame_of_reference, self.later_wins, self.max_bytes)
            label = f"masks/{name}"
            write_nifti(mask, self.output_dir / label)
        write_nifti(image, self.output_dir / "images" / name)
        return {
            "image": f"images/{name}",
            "label": label,
            "subject": subject,
            "modality": scan.modality,
            "description": scan.description,
            "voxels": " ".join(map(str, image.GetSize())),
            "spacing_mm": " ".join(f"{s:.6g}" for s in image.GetSpacing()),
            "source": source,
        }

    def _path(self, file: Path) -> str:
        return file.relative_to(self.folder).as_posix()

    def _source(self, files: Sequence[Path]) -> str:
        """Tells these files, as they are, and these options from others; not to be reversed without the key."""
        state = [(self._path(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
        return pseudonym(json.dumps([state, self.structures, self.later_wins, self.suv]), self.key, 32)


def pair_masks(scans: Sequence[FoundScan]) -> tuple[dict[str, list[Path]], list[str]]:
    """
    Find the series that each SEG and RTSTRUCT was drawn on: the one it names, or if it names none, the only one in its
    frame of reference.

    Returns:
        the masks' files, by the UID of the series; and what is wrong with others.
    """
    series = [scan for scan in scans if scan.kind in (ScanKind.SERIES, ScanKind.MULTIFRAME)]
    masks_of: dict[str, list[Path]] = {}
    problems = []
    for mask in scans:
        if mask.kind not in MASKS:
            continue
        drawn_on = {
            scan.series
            for scan in series
            if (scan.series in mask.drawn_on if mask.drawn_on else scan.frame_of_reference == mask.frame_of_reference)
        }
        if len(drawn_on) == 1:
            masks_of.setdefault(drawn_on.pop(), []).append(mask.files[0])
        else:
            problems.append(
                f"{mask.source}: {len(drawn_on)} of the series here may be the one that this {mask.kind.value} was "
                "drawn on, expected one. Put the mask and that series alone below a folder."
            )
    return masks_of, problems


def read_table(file: Path) -> dict[str, dict[str, str]]:
    """Lines of an index by their images; none where there is no file."""
    if not file.is_file():
        return {}
    with file.open(newline="", encoding="utf-8") as opened:
        return {row["image"]: row for row in csv.DictReader(opened)}


def write_table(file: Path, columns: Sequence[str], rows: Iterable[Mapping[str, str]]) -> None:
    """Write a table, whole or not at all."""
    with written_whole(file) as partial, partial.open("w", newline="", encoding="utf-8") as opened:
        writer = csv.DictWriter(opened, columns)
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    typer.run(main)
