"""Masks from DICOM SEG. Needs highdicom (``pip install 'medsize[dicom]'``)."""

from __future__ import annotations

from pathlib import Path

import highdicom
import numpy as np

from medsize.scans.dicom.header import PYDICOM_ERRORS
from medsize.scans.grid import Grid, on_grid
from medsize.scans.image_file import MAX_BYTES, check_memory
from medsize.scans.structure_name import choose_structure

__all__ = ["read_segment", "segment_names"]


def segment_names(file: Path) -> list[str]:
    """Return the labels of a SEG's segments, in the order of their numbers."""
    segments = _open(file)
    return [segments.get_segment_description(n).segment_label for n in segments.segment_numbers]


def read_segment(
    file: Path, name: str, grid: Grid, frame_of_reference: str | None = None, max_bytes: int = MAX_BYTES
) -> np.ndarray:
    """
    Read the mask of one segment on an image's grid. Slices that the SEG leaves out are empty.

    Args:
        file: the SEG.
        name: label of the segment, or the beginning of its label if no other label begins alike.
        grid: grid of the image that it was drawn on.
        frame_of_reference: UID of the image's frame of reference, which the SEG must be in. Default: any.
        max_bytes: memory that its voxels may take.

    Returns:
        a boolean array of shape ``grid.size[::-1]``.

    Raises:
        ValueError: naming the file, when it is not a SEG, is fractional, does not hold the segment exactly once, or was
            drawn on other voxels.
    """
    segments = _open(file)
    if segments.SegmentationType == "FRACTIONAL":
        raise ValueError(f"{file}: it is FRACTIONAL, expected BINARY segments. Save the segmentation as BINARY.")
    found_frame = segments.get("FrameOfReferenceUID")
    if frame_of_reference and found_frame != frame_of_reference:
        raise ValueError(
            f"{file}: it was drawn in the frame of reference {found_frame}, but the image is in {frame_of_reference}. "
            "Use the SEG of this image, or register the two."
        )
    number = segments.segment_numbers[choose_structure(file, name, segment_names(file))]
    check_memory(file, (segments.Columns, segments.Rows, segments.number_of_frames), 1, max_bytes)
    try:
        volume = segments.get_volume(segment_numbers=[number], dtype=np.uint8)
    except PYDICOM_ERRORS as e:
        raise ValueError(f"{file}: '{name}' cannot be read: {e}. Is the file complete?") from e
    try:
        return on_grid(volume.squeeze_channel().to_simpleitk(), grid) > 0
    except ValueError as e:
        raise ValueError(f"{file}: '{name}': {e}") from e


def _open(file: Path) -> highdicom.seg.Segmentation:
    try:
        return highdicom.seg.segread(file, lazy_frame_retrieval=True)
    except PYDICOM_ERRORS as e:
        raise ValueError(f"{file}: it cannot be read as DICOM SEG: {e}") from e
