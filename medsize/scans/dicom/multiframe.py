"""Multi-frame DICOM: a volume in one file. Needs highdicom (``pip install 'medsize[dicom]'``)."""

from __future__ import annotations

from pathlib import Path

import highdicom
import numpy as np
import pydicom
import SimpleITK

from medsize.scans.dicom.header import PYDICOM_ERRORS, open_dicom, read_header
from medsize.scans.image_file import check_memory

__all__ = ["open_multiframe", "read_multiframe"]


def read_multiframe(file: Path, max_bytes: int) -> SimpleITK.Image:
    """
    Read a multi-frame image (enhanced CT, MR or PET), rescaled, float32.

    Raises:
        ValueError: naming the file, when its frames do not fill a box evenly, or would need more memory than allowed.
    """
    try:
        image, size = open_multiframe(file, max_bytes)
    except PYDICOM_ERRORS as e:
        raise ValueError(f"{file}: it cannot be read as multi-frame DICOM: {e}") from e
    check_memory(file, size, 4, max_bytes)
    try:
        volume = image.get_volume(
            dtype=np.float32,
            apply_real_world_transform=False,
            apply_voi_transform=False,
            apply_presentation_lut=False,  # it inverts MONOCHROME1 for display
        )
    except PYDICOM_ERRORS as e:
        raise ValueError(
            f"{file}: its {size[2]} frames make no volume: {e} Export each volume (time, echo, b-value) as a series of "
            "single slices."
        ) from e
    volume = volume.permute_spatial_axes([2, 1, 0]).ensure_handedness("RIGHT_HANDED", flip_axis=2)
    return volume.to_simpleitk()


def open_multiframe(file: Path, max_bytes: int) -> tuple[highdicom.Image, tuple[int, int, int]]:
    """
    Open a multi-frame image, and return its columns, rows and frames, too. Its voxels are read later where possible.

    Raises:
        ValueError and others of ``PYDICOM_ERRORS``: when it cannot be read.
    """
    dataset = read_header(file)
    size = (dataset.Columns, dataset.Rows, int(dataset.NumberOfFrames))
    if dataset.get("FrameOfReferenceUID") and not dataset.file_meta.TransferSyntaxUID.is_deflated:
        return highdicom.imread(file if file.suffix != ".gz" else open_dicom(file), lazy_frame_retrieval=True), size
    check_memory(file, size, 4, max_bytes)
    with open_dicom(file) as opened:
        dataset = pydicom.dcmread(opened)
    # Without a frame of reference, it has one of its own.
    dataset.FrameOfReferenceUID = dataset.get("FrameOfReferenceUID") or highdicom.UID()
    return highdicom.Image.from_dataset(dataset, copy=False), size
