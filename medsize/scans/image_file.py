"""Image files: NIfTI, NRRD and MetaImage."""

from __future__ import annotations

import gzip
import math
import re
from collections.abc import Sequence
from pathlib import Path

import nibabel
import numpy as np
import SimpleITK
from nibabel.openers import Opener

from medsize.files import atomic_write
from medsize.scans.scan_facts import UNREADABLE, first_line, geometry_faults

__all__ = ["MAX_BYTES", "check_memory", "is_image_file", "read_image_file", "write_nifti"]

ENDINGS = (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd")
MAX_BYTES = 4 * 2**30
"""Memory for one scan's voxels; a scan that needs more is refused before they are read."""
HEADER_BYTES = 64 * 1024


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
    image = _read_nifti(file, max_bytes) if ".nii" in file.name.lower() else _read_by_itk(file, max_bytes)
    if image.GetDimension() == 4 and image.GetSize()[3] == 1:
        image = image[:, :, :, 0]
    if image.GetDimension() != 3:
        raise ValueError(
            f"{file}: it has {image.GetDimension()} axes, {image.GetSize()}, expected 3. Save each volume as a file."
        )
    return image


def write_nifti(image: SimpleITK.Image, file: str | Path) -> None:
    """
    Write a volume as NIfTI, whole or not at all, with only its place in space in the header.

    Raises:
        OSError: when it cannot be written.
    """
    with atomic_write(Path(file)) as partial:
        try:
            SimpleITK.WriteImage(without_metadata(image), partial)
        except RuntimeError as e:
            partial.unlink(missing_ok=True)
            raise OSError(f"{file}: it cannot be written: {last_line(e)}. Is the disk full?") from e


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
    check_memory(file, nifti.shape, 8 if scaled else dtype.itemsize, max_bytes)
    try:
        if file.name.lower().endswith(".gz"):
            _check_sum(file)
        array = np.asarray(nifti.dataobj).astype(kept, copy=False)
    except UNREADABLE as e:
        raise ValueError(f"{file}: its voxels cannot be read: {first_line(e)}. Is the file complete?") from e
    if array.shape[3:] == (1,):
        array = array[..., 0]
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
    _refuse_voxels_elsewhere(file)
    reader = SimpleITK.ImageFileReader()
    reader.SetFileName(str(file))
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


def _refuse_voxels_elsewhere(file: Path) -> None:
    """Refuse a header that takes its voxels from another folder: it could name any file of the computer."""
    header = file.open("rb").read(HEADER_BYTES).split(b"\n\n")[0].decode("latin-1")
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
    return str(error).strip().splitlines()[-1].removeprefix("ITK ERROR: ").rstrip(".")
