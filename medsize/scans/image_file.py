"""Image files: NIfTI, NRRD and MetaImage."""

from __future__ import annotations

import gzip
import math
import re
import zlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import nibabel
import numpy as np
import SimpleITK
from nibabel.openers import Opener
from pydantic import BaseModel

from medsize.files import atomic_write, encodable
from medsize.scans.fact_cache import cached_facts
from medsize.scans.scan_facts import UNREADABLE, first_line
from medsize.scans.space.geometry import geometry_doubts, geometry_faults, num_channels

__all__ = [
    "MAX_BYTES",
    "check_memory",
    "header_notes",
    "is_image_file",
    "is_nifti",
    "read_image_file",
    "write_nifti",
]

ENDINGS = (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd")
MAX_BYTES = 4 * 2**30
"""Memory for one scan's voxels; a scan that needs more is refused before they are read."""
HEADER_BYTES = 64 * 1024
PER_AXIS = ("dimsize", "elementspacing", "elementsize", "offset", "position", "origin", "centerofrotation")
"""Fields of a MetaImage with a number for each axis; of the others, for each pair of axes."""
PER_TWO_AXES = ("transformmatrix", "orientation", "rotation")
NO_LENGTHS = {"s", "ms", "sec", "none", "unknown"}
"""Units of axes that are not in space."""


def is_nifti(file: Path) -> bool:
    """Return whether a file has the ending of NIfTI; 3D Slicer names a mask of ct.nii ``ct.nii-label.nrrd``."""
    return file.name.lower().endswith((".nii", ".nii.gz"))


class _Notes(BaseModel):
    """Remarks on the header of a NIfTI file."""

    fault: str = ""
    doubt: str = ""


def header_notes(file: Path) -> tuple[str, str]:
    """Return the fault of the number of a NIfTI file's axes, and a doubt about its geometry; empty if there is none."""

    def find() -> _Notes:
        image = nibabel.load(file)
        several = num_channels(image.shape) == 1 and any(length > 1 for length in image.shape[3:])
        fault = _axes(image.shape) if several else ""
        is_faulty = next(geometry_faults(image), None) is not None
        return _Notes(fault=fault, doubt="" if is_faulty else " ".join(geometry_doubts(image)))

    if is_nifti(file):
        with suppress(*UNREADABLE):  # its reader says so
            notes = cached_facts(file, "notes", _Notes, find)
            return f"{file}: {notes.fault}" if notes.fault else "", notes.doubt
    return "", ""


def is_image_file(file: Path) -> bool:
    """Return whether a file has the ending of an image file."""
    return file.name.lower().endswith(ENDINGS)


def read_image_file(file: Path, max_bytes: int = MAX_BYTES) -> SimpleITK.Image:
    """
    Read a NIfTI, NRRD or MetaImage file.

    Args:
        file: the file. A header of a pair (.mhd, .nhdr) may only name voxels in its own folder.
        max_bytes: memory that its voxels may take.

    Returns:
        a volume of three axes, without the rest of the header.

    Raises:
        ValueError: naming the file, when it is cut off or broken, larger than allowed, has no valid spacing or place in
            space, has another number of axes, or has colours.
    """
    image = _read_nifti(file, max_bytes) if is_nifti(file) else _read_by_itk(file, max_bytes)
    if image.GetDimension() == 4 and image.GetSize()[3] == 1:
        image = image[:, :, :, 0]
    if image.GetDimension() != 3:
        raise ValueError(f"{file}: {_axes(image.GetSize())}")
    return image


def _axes(shape: Sequence[int]) -> str:
    return f"it has {len(shape)} axes, {tuple(shape)}, expected 3. Save each volume as a file."


def write_nifti(image: SimpleITK.Image, file: str | Path) -> None:
    """
    Write a volume as NIfTI, whole or not at all, with only its place in space in the header.

    Raises:
        OutputError: when it cannot be written.
    """
    with atomic_write(Path(file)) as partial:
        try:
            with encodable(partial) as target:
                SimpleITK.WriteImage(without_metadata(image), target)
            if partial.suffix == ".gz":  # a full disk is no error to SimpleITK
                _check_sum(partial)
            elif partial.stat().st_size < image.GetNumberOfPixels() * image.GetSizeOfPixelComponent():
                raise OSError("it is cut off")
        except (RuntimeError, EOFError, zlib.error) as e:
            raise OSError(last_line(e)) from e


def check_memory(file: Path, size: Sequence[int], voxel_bytes: int, max_bytes: int) -> None:
    """
    Check that the voxels of an image do not need too much memory.

    Raises:
        ValueError: when an image of this size would take more memory than allowed.
    """
    needed = math.prod(map(int, size)) * voxel_bytes
    if needed > max_bytes:
        raise ValueError(
            f"{file}: its header states {' × '.join(map(str, size))} voxels, {needed / 2**30:.3g} GiB, expected at "
            f"most {max_bytes / 2**30:.3g} GiB. Is the header broken? If not, allow more memory."
        )


def without_metadata(image: SimpleITK.Image) -> SimpleITK.Image:
    """Return the image without the texts of its file's header, which may name the patient."""
    if not image.GetMetaDataKeys():
        return image
    bare = SimpleITK.GetImageFromArray(SimpleITK.GetArrayViewFromImage(image), isVector=False)
    bare.CopyInformation(image)
    return bare


def _read_nifti(file: Path, max_bytes: int) -> SimpleITK.Image:
    """Read by nibabel: SimpleITK accepts files that are cut off, or have no spacing."""
    try:
        nifti = nibabel.load(file)
        dtype = nifti.header.get_data_dtype()
        with Opener(file) as opened:  # nibabel itself reads a spacing of 0 as 1
            stated = type(nifti.header).from_fileobj(opened, check=False)
        spacing, shape = stated["pixdim"][1:4].tolist(), stated["dim"][1 : 1 + stated["dim"][0]].tolist()
    except UNREADABLE as e:
        raise ValueError(f"{file}: it cannot be read as NIfTI: {first_line(e)}. Is the file complete?") from e
    if min(shape, default=0) < 1 or not all(map(math.isfinite, spacing)) or 0 in spacing:
        raise ValueError(
            f"{file}: its header states {shape} voxels of {spacing} mm, expected positive numbers. Correct its header."
        )
    if faults := list(geometry_faults(nifti)):
        raise ValueError(f"{file}: {faults[0]}")
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        raise ValueError(
            f"{file}: its voxels are of the type {dtype}, expected whole or real numbers. Convert colours to grey."
        )
    scaled = not isinstance(nifti.dataobj, np.ndarray) and (nifti.dataobj.slope, nifti.dataobj.inter) != (1, 0)
    kept = np.dtype(np.float32 if scaled else dtype).newbyteorder("=")
    shape = list(nifti.shape)
    while len(shape) > 3 and shape[-1] == 1:
        shape.pop()
    if not 1 < len(shape) <= 4:  # SimpleITK holds no others
        raise ValueError(f"{file}: {_axes(shape)}")
    check_memory(file, nifti.shape, 8 if scaled else dtype.itemsize, max_bytes)
    try:
        if file.name.lower().endswith(".gz"):
            _check_sum(file)
        array = np.asarray(nifti.dataobj).astype(kept, copy=False)
    except UNREADABLE as e:
        raise ValueError(f"{file}: its voxels cannot be read: {first_line(e)}. Is the file complete?") from e
    array = array.reshape(shape)
    image = SimpleITK.GetImageFromArray(array.T, isVector=False)
    to_mm = np.diag([-1, -1, 1, 1]) @ nifti.affine  # RAS+ to LPS+
    lengths = np.linalg.norm(to_mm[:3, :3], axis=0)
    direction = to_mm[:3, :3] / lengths
    if not np.allclose(direction.T @ direction, np.eye(3), atol=1e-3):
        raise ValueError(
            f"{file}: its axes are {direction.round(3).tolist()}, expected perpendicular ones. "
            "Resample it to a box with right angles."
        )
    if image.GetDimension() == 3:
        image.SetSpacing(lengths.tolist())
        image.SetOrigin(to_mm[:3, 3].tolist())
        image.SetDirection(direction.ravel().tolist())
    return image


def _check_sum(file: Path) -> None:
    """Check the sum at the end of a compressed file: damaged bytes may still unpack."""
    with gzip.open(file) as opened:
        while opened.read(2**20):
            pass


def _read_by_itk(file: Path, max_bytes: int) -> SimpleITK.Image:
    header = _header(file)
    _refuse_voxels_elsewhere(file, header)
    _refuse_missing_spacing(file, header)
    _refuse_broken_metaimage(file, header)
    with encodable(file) as readable:
        return _read_checked(file, readable, max_bytes)


def _read_checked(file: Path, readable: Path, max_bytes: int) -> SimpleITK.Image:
    reader = SimpleITK.ImageFileReader()
    reader.SetFileName(str(readable))
    try:
        reader.ReadImageInformation()
    except RuntimeError as e:
        raise ValueError(f"{file}: it cannot be read: {last_line(e)}. Is the file complete?") from e
    pixel = SimpleITK.GetPixelIDValueAsString(reader.GetPixelID())
    if reader.GetNumberOfComponents() != 1 or "complex" in pixel:
        raise ValueError(
            f"{file}: it has {reader.GetNumberOfComponents()} values per voxel ({pixel}), expected one. "
            "Convert colours to grey."
        )
    spacing = reader.GetSpacing()
    if not all(math.isfinite(s) and s > 0 for s in spacing):
        raise ValueError(f"{file}: its spacing is {spacing} mm, expected positive numbers. Correct its header.")
    voxel = SimpleITK.Image([1, 1], reader.GetPixelID())
    check_memory(file, reader.GetSize(), voxel.GetSizeOfPixelComponent(), max_bytes)
    try:
        image = reader.Execute()
    except RuntimeError as e:
        raise ValueError(f"{file}: its voxels cannot be read: {last_line(e)}. Is the file complete?") from e
    return without_metadata(image)


def _header(file: Path) -> str:
    """Return the text at the beginning of an NRRD or MetaImage file."""
    with file.open("rb") as opened:
        start = re.sub(rb"\r\n?", b"\n", opened.read(HEADER_BYTES))
    if start.startswith(b"NRRD"):
        return start.split(b"\n\n")[0].decode("latin-1")
    return re.split(rb"(?<=\n)(?=ElementDataFile)", start)[0].decode("latin-1") + _line(start, b"ElementDataFile")


def _line(text: bytes, begin: bytes) -> str:
    match = re.search(rb"^" + begin + rb"[^\n]*", text, re.MULTILINE)
    return match[0].decode("latin-1") if match else ""


def _refuse_missing_spacing(file: Path, header: str) -> None:
    """Refuse a header that states no spacing in mm: ITK takes it for 1 mm."""
    fields = _fields(header)
    is_nrrd = header.startswith("NRRD")
    names = ("space directions", "spacings") if is_nrrd else ("elementspacing", "elementsize")
    stated = [fields[name] for name in names if name in fields]
    expected = "'space directions' or 'spacings'" if is_nrrd else "'ElementSpacing'"
    if not header or not (is_nrrd or "ndims" in fields):
        return  # its reader says that it is something else
    if not stated:
        raise ValueError(f"{file}: its header states no spacing, expected {expected} in mm. Add them.")
    if re.search(r"\bnan\b|\binf", stated[0], re.IGNORECASE):
        raise ValueError(f"{file}: its header states the spacing '{stated[0]}', expected numbers in mm. Correct it.")
    units = fields.get("space units", "") or fields.get("units", "") or fields.get("distanceunits", "")
    foreign = sorted(set(re.findall(r"[^\s\"?]+", units)) - {"mm", "MM", "millimeter", "millimeters"} - NO_LENGTHS)
    if foreign:
        raise ValueError(
            f"{file}: its header states the spacing in {', '.join(foreign)}, expected mm. Convert it first."
        )


def _fields(header: str) -> dict[str, str]:
    lines = re.findall(r"^([\w ]+?)\s*[:=](.*)$", header, re.MULTILINE)
    return {name.strip().lower(): value.strip() for name, value in lines}


def _refuse_broken_metaimage(file: Path, header: str) -> None:
    """Refuse a MetaImage whose fields do not have the numbers that its axes need: ITK reads beyond them, and dies."""
    fields = _fields(header)
    if header.startswith("NRRD") or "ndims" not in fields:
        return
    if not re.fullmatch("[1-5]", fields["ndims"]):
        raise ValueError(f"{file}: its header states NDims = '{fields['ndims']}', expected 3. Correct it.")
    axes = int(fields["ndims"])
    needed = dict.fromkeys(PER_AXIS, axes) | dict.fromkeys(PER_TWO_AXES, axes**2)
    for name, count in needed.items():
        if name in fields and len(fields[name].split()) != count:
            raise ValueError(
                f"{file}: its header states {name} = '{fields[name][:80]}', expected {count} numbers. Correct it."
            )
    for name in ("dimsize", "elementtype", "elementdatafile"):
        if not fields.get(name):
            raise ValueError(f"{file}: its header states no {name}, expected it in a MetaImage. Is the file complete?")


def _refuse_voxels_elsewhere(file: Path, header: str) -> None:
    """Refuse a header that takes its voxels from another folder: it could name any file of the computer."""
    named = re.search(r"^\s*(?:data ?file\s*:|ElementDataFile\s*=)\s*(.*?)\s*$", header, re.IGNORECASE | re.MULTILINE)
    if named is None or named[1] == "LOCAL":
        return
    if Path(named[1]).name != named[1] or not (file.parent / named[1]).is_file():
        raise ValueError(
            f"{file}: it takes its voxels from '{named[1]}', expected a file of its own folder. "
            "Save image and header in one file (.nrrd, .mha)."
        )


def last_line(error: Exception) -> str:
    """Return the message of SimpleITK's error, without the place in its source."""
    line = (str(error).strip() or type(error).__name__).splitlines()[-1]
    return re.sub(r"^ITK ERROR: (\w+\(0x\w+\): )?", "", line).rstrip(".")
