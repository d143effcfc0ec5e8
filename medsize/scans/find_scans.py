"""Search for scans in a folder, and reading of their voxels."""

from __future__ import annotations

import gzip
import os
import re
import warnings
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import SimpleITK

from medsize.progress_bar import with_progress
from medsize.scans.image_file import MAX_BYTES, check_memory, header_notes, is_image_file, read_image_file
from medsize.scans.pictures.file import PICTURE_ENDINGS, num_pictures, read_picture
from medsize.scans.pictures.picture import Picture
from medsize.scans.scan import VOLUMES, FoundScan, ScanKind

if TYPE_CHECKING:
    from medsize.scans.dicom.header import DicomFile, DicomSeries

__all__ = ["find_scans", "picture_as_scan", "read_scan"]

DICOM_ENDINGS = (".dcm", ".dicom", ".ima")
CIFTI = re.compile(r"\.(d|p)(scalar|tseries|label|conn|dconn|pconn|fan|trajectory|series)\w*\.nii$", re.IGNORECASE)
OTHER_ENDINGS = {
    **dict.fromkeys((".gii", ".vtk", ".vtp", ".stl", ".obj", ".ply"), "it is a surface."),
    **dict.fromkeys((".mgz", ".mgh"), "it is of FreeSurfer, which medsize cannot read. Convert it to NIfTI first."),
    **dict.fromkeys((".mrml", ".mrb", ".mitk", ".itksnap"), "it is a scene of a viewer."),
    **dict.fromkeys(
        (".webp", ".heic", ".heif", ".avif", ".jp2"), "medsize cannot read this format. Save it as PNG first."
    ),
    **dict.fromkeys((".mnc", ".img", ".minc"), "medsize cannot read this format. Convert it to NIfTI (.nii) first."),
}
"""Reasons why files of these endings, if they are not DICOM, are not scans."""
ARCHIVE_ENDINGS = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".7z", ".rar")


def find_scans(folder: str | Path) -> list[FoundScan]:
    """
    Find all scans and masks in a folder and below it, by their headers.

    Image files (.nii, .nii.gz, .nrrd, .nhdr, .mha, .mhd) and pictures (.png, .jpg, .tif, .bmp, .gif) are recognised by
    their names, DICOM files by their content, also if compressed (.dcm.gz). Hidden files and all other files are passed
    over. Links are followed. DICOM needs pydicom (``pip install 'medsize[dicom]'``).

    Pictures, of DICOM ultrasound, X-ray and photographs, too, count only where there are no volumes: beside these they
    are figures or thumbnails, and left out.

    Args:
        folder: the folder, or a single file.

    Returns:
        one entry for each image file, page of a TIFF, frame of a DICOM picture, DICOM series, multi-frame file, SEG,
        RTSTRUCT, DICOM object without an image, folder of copies, archive and unreadable file or folder, in the order
        of their paths. Entries that cannot be used state the reason as ``fault``.
    """
    scans: list[FoundScan] = []
    headers: list[DicomFile] = []
    known: dict[tuple[Any, ...], DicomSeries] = {}
    pictures: list[Path] = []
    for file in with_progress(list(_files_below(Path(folder), scans)), "reading headers"):
        if CIFTI.search(file.name):
            scans.append(FoundScan(ScanKind.OTHER, (file,), fault=f"{file}: it is CIFTI, values on a surface."))
            continue
        if is_image_file(file):
            fault, note = header_notes(file)
            scans.append(FoundScan(ScanKind.FILE, (file,), fault=fault, note=note))
            continue
        if file.name.lower().endswith(PICTURE_ENDINGS):
            pictures.append(file)
            continue
        if file.name.lower().endswith(ARCHIVE_ENDINGS):
            fault = f"{file}: it is an archive, expected scans. Unpack it first, and name the folder; or leave it out."
            scans.append(FoundScan(ScanKind.ARCHIVE, (file,), fault=fault))
            continue
        try:
            header = _read_header(file, known)
        except (OSError, ValueError) as e:
            kind = ScanKind.OTHER if file.name.upper() == "DICOMDIR" else ScanKind.UNREADABLE
            scans.append(FoundScan(kind, (file,), fault=str(e)))
            continue
        if isinstance(header, FoundScan):
            scans.append(header)
        elif header is not None:
            headers.append(header)
        elif reason := OTHER_ENDINGS.get(file.suffix.lower() if file.suffix != ".gz" else Path(file.stem).suffix):
            scans.append(FoundScan(ScanKind.OTHER, (file,), fault=f"{file}: {reason}"))
    if headers:
        from medsize.scans.dicom.groups import grouped_scans

        scans = grouped_scans(headers, scans)
    if any(scan.kind in VOLUMES for scan in scans):
        beside = "it is a picture beside volumes, expected one of both. Name a folder of pictures alone to use them."
        scans += [FoundScan(ScanKind.OTHER, (file,), fault=f"{file}: {beside}") for file in pictures]
    else:
        scans = [picture for scan in scans for picture in _as_pictures(scan, headers)]
        scans += [picture for file in pictures for picture in _pictures_in(file)]
    return sorted(scans, key=lambda scan: (scan.files[0], scan.frame or 0))


def picture_as_scan(picture: Picture) -> SimpleITK.Image:
    """Return a picture as a volume of one slice, as :func:`read_scan` does."""
    image = SimpleITK.GetImageFromArray(picture.pixels[None], isVector=picture.channels > 1)
    image.SetSpacing((*(picture.spacing_mm or (1.0, 1.0)), 1.0))
    return image


def read_scan(found: FoundScan, max_bytes: int = MAX_BYTES) -> SimpleITK.Image:
    """
    Read an image that :func:`find_scans` found.

    Args:
        found: the scan.
        max_bytes: memory that its voxels may take.

    Returns:
        a volume of three axes with its spacing, origin and direction; the rest of the header is left out. DICOM is
        rescaled (HU, Bq/mL, …). A picture is one slice, with three values per voxel if it is in colour, and of a
        spacing of 1 where it is not known.

    Raises:
        ValueError: naming the file, when the scan has a ``fault``, or its voxels cannot be read, are NaN or infinite,
            or would take more memory than allowed.
    """
    if found.fault:
        raise ValueError(found.fault)
    if found.kind is ScanKind.PICTURE:
        return picture_as_scan(read_picture(found.files[0], found.frame or 0, max_bytes=max_bytes))
    if found.kind is ScanKind.FILE:
        image = read_image_file(found.files[0], max_bytes)
    elif found.kind is ScanKind.MULTIFRAME:
        from medsize.scans.dicom.multiframe import read_multiframe

        image = read_multiframe(found.files[0], max_bytes)
    else:
        from medsize.scans.dicom.series import read_series

        assert found.grid is not None
        check_memory(found.files[0].parent, found.grid.size, 4, max_bytes)
        image = read_series(found)
    voxels = SimpleITK.GetArrayViewFromImage(image)
    if voxels.dtype.kind == "f" and not (finite := np.isfinite(voxels)).all():
        raise ValueError(
            f"{found.source}: {(~finite).sum()} intensities are NaN or infinite, expected numbers. "
            "Replace them, for example by the lowest intensity."
        )
    return image


def _pictures_in(file: Path, found: FoundScan | None = None) -> list[FoundScan]:
    """Return an entry for each picture in a file, or its fault."""
    found = found or FoundScan(ScanKind.PICTURE, (file,))
    try:
        count = num_pictures(file)
    except ValueError as e:
        return [replace(found, fault=str(e))]
    if count < 2:
        return [found]
    return [replace(found, frame=frame) for frame in range(count)]


def _as_pictures(scan: FoundScan, headers: Sequence[DicomFile]) -> list[FoundScan]:
    """Return the pictures of a DICOM series of ultrasound, X-ray or photographs; another scan as it is."""
    if scan.kind is not ScanKind.OTHER:
        return [scan]
    from medsize.scans.pictures.dicom import picture_fault

    of_file = {header.file: header for header in headers}
    found: list[FoundScan] = []
    for file in scan.files:
        fault = picture_fault(of_file[file]) if file in of_file else None
        if fault is None:
            return [scan]
        picture = replace(
            scan, kind=ScanKind.PICTURE, files=(file,), fault=f"{file}: {fault}" if fault else "", note=""
        )
        found += [picture] if fault else _pictures_in(file, picture)
    return found


def _files_below(folder: Path, scans: list[FoundScan]) -> Iterator[Path]:
    """Yield the files in their order, or the file itself; add a scan with a fault for each unreadable folder."""
    if folder.is_file():
        yield folder
        return

    def refuse(path: str, fault: str) -> None:
        scans.append(FoundScan(ScanKind.UNREADABLE, (Path(path),), fault=f"{path}: {fault}"))

    def unreadable(error: OSError) -> None:
        refuse(error.filename, f"the folder cannot be read: {error.strerror}. Make it readable, or remove it.")

    seen: dict[str, str] = {}
    for where, folders, names in os.walk(folder, followlinks=True, onerror=unreadable):
        real = os.path.realpath(where)
        if real in seen:
            refuse(where, f"it is the same folder as {seen[real]}, through a link. Remove the link.")
            folders.clear()
            continue
        seen[real] = where
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(where, name)
            if name.startswith("."):
                continue
            if path.is_file():
                yield path
            else:
                refuse(str(path), "it is a link to nowhere, or not a file, expected a file. Mend it, or remove it.")


def _read_header(file: Path, known: dict[tuple[Any, ...], DicomSeries]) -> DicomFile | FoundScan | None:
    """Read the header of a DICOM file, whose series may be known; return ``None`` for another file."""
    is_packed = file.suffix.lower() == ".gz"
    with gzip.open(file) if is_packed else open(file, "rb") as opened:
        try:
            start = opened.read(132)
        except (OSError, EOFError, zlib.error):  # it is not gzip
            start = b""
    ending = Path(file.stem).suffix if is_packed else file.suffix
    # Some files lack the preamble and begin with the first element, of group 8.
    is_dicom = start[128:] == b"DICM" or start[:2] == b"\x08\x00" or ending.lower() in DICOM_ENDINGS
    # Scanners name files by numbers, without an ending; viewers have empty files of other names.
    empty_slice = not start and not file.suffix[1:].isalpha() and any(c.isdigit() for c in file.name)
    if not is_dicom and not empty_slice:
        return None
    from pydicom.config import disable_value_validation

    from medsize.scans.dicom.header import read_dicom_file

    # pydicom's checks of each value against the standard only warn, and take time.
    with warnings.catch_warnings(), disable_value_validation():
        warnings.simplefilter("ignore")
        header = read_dicom_file(file, known)
    if header is None:
        return FoundScan(ScanKind.OTHER, (file,), fault=f"{file}: it is an index of other files (DICOMDIR).")
    return header
