"""Multi-frame DICOM: a volume in one file. Needs highdicom (``pip install 'medsize[dicom]'``)."""

from __future__ import annotations

from pathlib import Path

import highdicom
import numpy as np
import SimpleITK

from medsize.scans.dicom.header import PYDICOM_ERRORS
from medsize.scans.image_file import check_memory

__all__ = ["read_multiframe"]


def read_multiframe(file: Path, max_bytes: int) -> SimpleITK.Image:
    """
    Read a multi-frame image (enhanced CT, MR or PET), rescaled, float32.

    Raises:
        ValueError: naming the file, when its frames do not fill a box evenly, or would need more memory than allowed.
    """
    try:
        image = highdicom.imread(file, lazy_frame_retrieval=True)
        size = (image.Columns, image.Rows, image.number_of_frames)
    except PYDICOM_ERRORS as e:
        raise ValueError(f"{file}: it cannot be read as multi-frame DICOM: {e}") from e
    check_memory(file, size, 4, max_bytes)
    try:
        volume = image.get_volume(dtype=np.float32, apply_real_world_transform=False, apply_voi_transform=False)
    except PYDICOM_ERRORS as e:
        raise ValueError(
            f"{file}: its {size[2]} frames make no volume: {e} Export each volume (time, echo, b-value) as a series of "
            "single slices."
        ) from e
    volume = volume.permute_spatial_axes([2, 1, 0]).ensure_handedness("RIGHT_HANDED", flip_axis=2)
    return volume.to_simpleitk()
