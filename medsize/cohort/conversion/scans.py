"""Conversion of scans of any format to NIfTI without identifiers, once for each scan."""

from __future__ import annotations

import csv
import json
import re
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from medsize.cohort.conversion.pictures import MaskOptions, PicturePlan, picture_masks
from medsize.cohort.conversion.pseudonym import pseudonym, subject_key
from medsize.files import OutputError, atomic_write
from medsize.scans.find_scans import read_scan
from medsize.scans.image_file import MAX_BYTES, write_nifti
from medsize.scans.masks import place_masks
from medsize.scans.pictures.file import Picture, read_picture, write_picture
from medsize.scans.scan import FoundScan, ScanKind, counted, said_once
from medsize.scans.subjects import bids_subject, comparable_subject, subject_folder
from medsize.suggest import first_few

__all__ = [
    "ConvertOptions",
    "Converted",
    "Converter",
    "MaskFiles",
    "check_outside",
    "convert_scans",
    "identify_by_folder",
    "mask_files",
    "read_table",
    "write_table",
]

COLUMNS = ("image", "label", "subject", "modality", "description", "voxels", "spacing_mm", "mask_mm3", "note", "source")
"""Columns of the index of converted scans."""
IDENTIFIERS = ("subject", "identifier", "image", "source")
MAX_PER_FOLDER = 6
"""Largest number of images in a folder that may belong to one subject."""

BY_PATH = (ScanKind.FILE, ScanKind.PICTURE)
"""Kinds whose subjects are told by their paths, unless their headers state them."""

MaskFiles = Path | Sequence[Path] | Mapping[str, Path]
"""A label map; files of DICOM, SEG or RTSTRUCT; or a file per structure."""


@dataclass(frozen=True)
class ConvertOptions:
    """
    Options of a conversion.

    Raises:
        ValueError: when the pattern is not a regular expression.
    """

    structures: tuple[str, ...] = ()
    """Names of the classes of masks."""
    modalities: tuple[str, ...] = ()
    """Modalities of DICOM to convert. Default: all."""
    subject_pattern: str | None = None
    """Regular expression that finds the subject in a scan's path."""
    suv: bool = False
    """Convert PET to SUV by body weight."""
    rtstruct: str | None = None
    """Name of the files of RTSTRUCT, or of SEG, to use, with wildcards. Default: all."""
    label_values: tuple[int, ...] = ()
    """Value of each structure in label maps. Default: 1, 2, …"""
    later_wins: bool = False
    """Let the later of two overlapping structures win. Default: refuse them."""
    keep_identifiers: bool = False
    """Write the table of codes and identifiers beside the output."""
    key_file: Path | None = None
    """File of the secret key of the codes. Default: beside the output."""
    masks: MaskOptions = field(default_factory=MaskOptions)
    """Options for masks that are pictures."""
    max_bytes: int = MAX_BYTES

    def __post_init__(self) -> None:
        try:
            re.compile(self.subject_pattern or "")
        except re.error as e:
            raise ValueError(f"--subject-pattern '{self.subject_pattern}' is not a regular expression: {e}") from e


@dataclass(frozen=True)
class Converter:
    """Converter of the scans in a folder to NIfTI in an output folder."""

    folder: Path
    output_dir: Path
    key: bytes
    subject_pattern: re.Pattern[str] | None
    structures: tuple[str, ...]
    label_values: tuple[int, ...] = ()
    later_wins: bool = False
    suv: bool = False
    masks: MaskOptions = field(default_factory=MaskOptions)
    pictures: PicturePlan | None = None
    """Decisions for all pictures. Default: each has its own channels and size of pixels."""
    max_bytes: int = MAX_BYTES

    @classmethod
    def of(cls, folder: Path, output_dir: Path, options: ConvertOptions) -> Converter:
        """
        Make the converter of a folder, and the secret key if it does not exist yet.

        Raises:
            ValueError: when the output is within the folder, or the file of the key holds no valid key.
        """
        folder, output_dir = folder.resolve(), output_dir.resolve()
        check_outside(folder, output_dir)
        return cls(
            folder=folder,
            output_dir=output_dir,
            key=subject_key(options.key_file or output_dir.with_name(f"{output_dir.name}_key.txt")),
            subject_pattern=None if options.subject_pattern is None else re.compile(options.subject_pattern),
            structures=options.structures,
            label_values=options.label_values,
            later_wins=options.later_wins,
            suv=options.suv,
            masks=options.masks,
            max_bytes=options.max_bytes,
        )

    def identifier(self, scan: FoundScan) -> str:
        """
        Return the subject of a scan: from the pattern, else the PatientID, or for an image file its path or BIDS label.

        Raises:
            ValueError: when no subject is found.
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
        if scan.kind in BY_PATH and not scan.subject:
            return bids_subject(path, self.folder) or path
        if not scan.subject:
            raise ValueError(
                f"{scan.source}: it states no PatientID, expected one. "
                "Give --subject-pattern to find the subject in the path."
            )
        return scan.subject

    def code(self, scan: FoundScan, identifier: str) -> str:
        """Return the code of a scan's subject. Paths are compared as they are, other names as people write them."""
        by_path = scan.kind in BY_PATH and not scan.subject and self.subject_pattern is None
        return pseudonym(identifier if by_path else comparable_subject(identifier), self.key)

    def convert(
        self, scan: FoundScan, identifier: str, masks: MaskFiles, earlier: Mapping[str, Mapping[str, str]]
    ) -> dict[str, str]:
        """
        Write a scan and its masks, unless they exist already.

        Args:
            scan: the scan.
            identifier: its subject.
            masks: SEG and RTSTRUCT drawn on it, or a file per structure, or a label map; may be empty.
            earlier: lines of the index so far, by image.

        Returns:
            its line of the index.

        Raises:
            ValueError: naming the faulty file. Then nothing is written.
        """
        subject = self.code(scan, identifier)
        modality = re.sub("[^A-Za-z0-9]", "", scan.modality) or "image"
        own = scan.series if scan.kind is ScanKind.SERIES and scan.series_is_unique else self._path(scan.files[0])
        own += "" if scan.frame is None else f"#{scan.frame + 1}"
        name = f"{subject}_{modality}_{pseudonym(own, self.key, 8)}.nii.gz"
        source = self.source_code((*scan.files, *mask_files(masks)), scan, self.structures)
        known = earlier.get(f"images/{name}", {})
        written = [self.output_dir / known[key] for key in ("image", "label") if known.get(key)]
        if known.get("source") == source and all(file.is_file() for file in written):
            return dict(known)
        if scan.kind is ScanKind.PICTURE:
            row = self._convert_picture(scan, name, masks)
            return {**row, "subject": subject, "modality": scan.modality, "source": source}
        image = read_scan(scan, self.max_bytes)
        if self.suv and scan.modality == "PT":
            from medsize.scans.dicom.suv import to_suv

            image = to_suv(image, scan)
        label = ""
        note = ""
        own_mm3: dict[str, float] = {}
        if masks:
            mask, own_mm3, note = place_masks(
                masks,
                image,
                self.structures,
                scan.frame_of_reference,
                self.later_wins,
                self.max_bytes,
                self.label_values,
            )
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
            "mask_mm3": json.dumps({name: round(mm3, 3) for name, mm3 in own_mm3.items()}) if own_mm3 else "",
            "note": note,
            "source": source,
        }

    def _convert_picture(self, scan: FoundScan, name: str, masks: MaskFiles) -> dict[str, str]:
        """Write a picture and its masks; return the columns of the index that are its own."""
        if self.pictures is not None and scan.source in self.pictures.faults:
            raise ValueError(self.pictures.faults[scan.source])
        picture = read_picture(scan.files[0], scan.frame or 0, max_bytes=self.max_bytes)
        if self.pictures is not None:
            picture = replace(picture, spacing_mm=self.pictures.spacing_mm.get(scan.source))
        label, note = "", ""
        if isinstance(masks, Sequence) and masks:
            note = "it is SEG or RTSTRUCT, which is not read for pictures; save it as PNG"
        elif isinstance(masks, Path | Mapping) and masks:
            mask = picture_masks(masks, scan, picture, self.structures, self.label_values, self.masks, self.later_wins)
            label, note = f"masks/{name}", mask.note
            drawn = Picture(mask.classes, picture.spacing_mm)
            write_picture(drawn, self.output_dir / label)
        channels = picture.channels if self.pictures is None else self.pictures.channels
        write_picture(picture, self.output_dir / "images" / name, channels)
        return {
            "image": f"images/{name}",
            "label": label,
            "description": scan.description,
            "voxels": " ".join(map(str, (*picture.pixels.shape[1::-1], 1))),
            "spacing_mm": "" if picture.spacing_mm is None else " ".join(f"{s:.6g}" for s in (*picture.spacing_mm, 1)),
            "mask_mm3": "",
            "note": note,
        }

    def _path(self, file: Path) -> str:
        return file.relative_to(self.folder).as_posix()

    def source_code(self, files: Sequence[Path], scan: FoundScan, structures: Sequence[str]) -> str:
        """Return a code of these files, their state and the options; nobody can reverse it without the key."""
        state = [(self._path(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
        options: list[Any] = [state, structures, self.label_values, self.later_wins, self.suv]
        if scan.kind is ScanKind.PICTURE:
            plan = self.pictures
            options += [dict(self.masks.colours), self.masks.threshold]
            options += [] if plan is None else [plan.channels, plan.spacing_mm.get(scan.source)]
        return pseudonym(json.dumps(options), self.key, 32)


@dataclass(frozen=True)
class Converted:
    """Result of a conversion."""

    rows: dict[str, dict[str, str]]
    """Lines of the index, by image."""
    scans: dict[str, FoundScan]
    """Scan that each image comes from."""
    identifiers: dict[str, str]
    """Subject of each image."""
    problems: list[str]
    """Problems of the scans that were not converted."""
    num_kept: int
    """Number of images that existed before."""

    def summary(self, with_subjects: bool = True) -> str:
        """Return a line with the number of converted scans, and of their subjects unless others are known better."""
        subjects = f" of {len({row['subject'] for row in self.rows.values()})} subjects" if with_subjects else ""
        before = f", {self.num_kept} of them by an earlier call" if self.num_kept else ""
        return f"converted {counted(self.scans.values())}{subjects}{before}"

    def resampled(self, output_dir: Path) -> list[str]:
        """Return a remark if masks were resampled to the voxels of their scans; their volumes are in the index."""
        images = [str(output_dir / image) for image, row in self.rows.items() if row.get("mask_mm3")]
        if not images:
            return []
        return [
            f"the masks of {len(images)} scans were on other voxels than their scans, and were resampled to these: "
            f"{first_few(images)}. Volumes are those of the masks as they were."
        ]

    def notes(self, output_dir: Path) -> list[str]:
        """Return remarks on how masks were read where their files leave a choice."""
        noted = [(str(output_dir / image), row["note"]) for image, row in self.rows.items() if row.get("note")]
        return [f"the mask of {line}." for line in said_once(noted)]

    def written_alike(self) -> list[list[str]]:
        """Return the names of each subject that is written in several ways, such as 007 and 7."""
        names: dict[str, set[str]] = {}
        for image, row in self.rows.items():
            names.setdefault(row["subject"], set()).add(self.identifiers[image])
        return [sorted(of_one) for of_one in names.values() if len(of_one) > 1]

    def write_identifiers(self, output_dir: Path) -> Path:
        """Write the table of subjects and their codes beside the folder of their scans, readable only for its owner."""
        table = output_dir.with_name(f"{output_dir.name}_identifiers.csv")
        rows = [
            {
                "subject": row["subject"],
                "identifier": self.identifiers[image],
                "image": image,
                "source": self.scans[image].source,
            }
            for image, row in self.rows.items()
        ]
        write_table(table, IDENTIFIERS, rows, private=True)
        return table


def check_outside(folder: Path, output_dir: Path) -> None:
    """
    Check that an output folder is not within the folder of the scans, which would find its own output.

    Raises:
        ValueError: when it is.
    """
    if output_dir.is_relative_to(folder):
        raise ValueError(f"{output_dir} is within {folder}, expected outside of it. Name another output folder.")


def identify_by_folder(converter: Converter, scans: Sequence[FoundScan]) -> Callable[[FoundScan], str]:
    """
    Return a function that finds the subject of a scan.

    It is :meth:`Converter.identifier`. But if image files without a BIDS label lie in folders with few images each, a
    folder is a subject; folders of visits and of kinds of images belong to the folder above.

    Args:
        converter: converter of the cohort. If it has a subject pattern, folders do not count.
        scans: scans of the cohort.
    """
    files = [scan.files[0] for scan in scans if scan.kind in BY_PATH and not scan.subject]
    counts = Counter(file.parent for file in files)
    by_folder = len(counts) > 2 and statistics.median(counts.values()) <= MAX_PER_FOLDER

    def identify(scan: FoundScan) -> str:
        path = PurePosixPath(scan.files[0].relative_to(converter.folder).as_posix())
        is_named = scan.kind in BY_PATH and not scan.subject
        if is_named and converter.subject_pattern is None and by_folder:
            return bids_subject(str(path), converter.folder) or subject_folder(path.parent)
        return converter.identifier(scan)

    return identify


def convert_scans(
    converter: Converter,
    scans: Iterable[tuple[FoundScan, MaskFiles]],
    identify: Callable[[FoundScan], str] | None = None,
) -> Converted:
    """
    Convert scans one after the other; each adds a line to their index, ``index.csv``, which is written anew at the end.

    Args:
        converter: converter of the cohort. Results of an earlier call, finished or interrupted, are kept.
        scans: scans and their masks.
        identify: function that finds the subject of a scan. Default: :meth:`Converter.identifier`.

    Raises:
        OutputError: when a scan cannot be written.
    """
    index_file = converter.output_dir / "index.csv"
    earlier = read_table(index_file)
    converted = Converted({}, {}, {}, [], 0)
    rows, is_begun = converted.rows, False
    for scan, masks in scans:
        try:
            if scan.fault:
                raise ValueError(scan.fault)
            identifier = (identify or converter.identifier)(scan)
            row = converter.convert(scan, identifier, masks, earlier)
        except OutputError:
            raise
        except (OSError, ValueError) as e:
            converted.problems.append(str(e))
            continue
        image = row["image"]
        rows[image], converted.scans[image], converted.identifiers[image] = row, scan, identifier
        if row != earlier.get(image):
            if not is_begun:
                write_table(index_file, COLUMNS, earlier.values())  # without a line that a kill has cut off
            is_begun = True
            _append_row(index_file, row)
    if rows:
        write_table(index_file, COLUMNS, rows.values())
    return replace(converted, num_kept=sum(row == earlier.get(image) for image, row in rows.items()))


def mask_files(masks: MaskFiles) -> list[Path]:
    """Return the files of masks in any of their forms."""
    if isinstance(masks, Path):
        return [masks]
    return list(masks.values() if isinstance(masks, Mapping) else masks)


def read_table(file: Path) -> dict[str, dict[str, str]]:
    """Read the whole lines of an index by their images; none if the file does not exist."""
    if not file.is_file():
        return {}
    with file.open(newline="", encoding="utf-8", errors="replace") as opened:  # the last line may be cut off
        return {row["image"]: row for row in csv.DictReader(opened) if None not in row.values()}


def _append_row(file: Path, row: Mapping[str, str]) -> None:
    try:
        with file.open("a", newline="", encoding="utf-8", errors="backslashreplace") as opened:
            csv.DictWriter(opened, COLUMNS).writerow(row)
    except OSError as e:
        raise OutputError(file, e.strerror or str(e)) from e


def write_table(file: Path, columns: Sequence[str], rows: Iterable[Mapping[str, str]], private: bool = False) -> None:
    """Write a table, whole or not at all; a private one is readable only for its owner from the first byte on."""
    with atomic_write(file) as partial:
        if private:
            partial.unlink(missing_ok=True)
            partial.touch(mode=0o600)
        with partial.open("w", newline="", encoding="utf-8", errors="backslashreplace") as opened:
            writer = csv.DictWriter(opened, columns)
            writer.writeheader()
            writer.writerows(rows)
