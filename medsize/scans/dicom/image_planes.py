"""Places of the pixels of DICOM images. Needs pydicom (``pip install 'medsize[dicom]'``)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medsize.scans.dicom.header import PYDICOM_ERRORS, read_header

__all__ = ["ImagePlane", "image_planes"]


@dataclass(frozen=True)
class ImagePlane:
    """Plane of an image in space."""

    position: tuple[float, ...]
    """Centre of its first pixel, mm, LPS+."""
    orientation: tuple[float, ...]
    """Directions of its rows, and of its columns."""
    spacing: tuple[float, float]
    """mm between rows, and between columns."""

    def point(self, column: float, row: float) -> tuple[float, float, float]:
        """
        Return a place in the image, mm, LPS+.

        Source: DICOM PS3.3, C.7.6.2.1.1 (equation C.7.6.2.1-1), and C.18.6.1.2: in SCOORD, 0 is the outer corner of the
        first pixel, whose centre is 0.5.
        """
        along_row, along_column = np.array(self.orientation[:3]), np.array(self.orientation[3:])
        offset = along_row * self.spacing[1] * (column - 0.5) + along_column * self.spacing[0] * (row - 0.5)
        x, y, z = (np.array(self.position) + offset).tolist()
        return x, y, z


def image_planes(files: Iterable[Path]) -> dict[tuple[str, int], ImagePlane]:
    """
    Return the planes of images, by SOPInstanceUID and the number of the frame, from 1; without those that state none.

    Args:
        files: DICOM files, of which headers alone are read.

    Raises:
        ValueError: naming the file, when it cannot be read.
    """
    planes = {}
    for file in files:
        try:
            dataset = read_header(file)
            frames = dataset.get("PerFrameFunctionalGroupsSequence") or [dataset]
            shared = (dataset.get("SharedFunctionalGroupsSequence") or [None])[0]
            for number, frame in enumerate(frames, start=1):
                held = [item for item in (frame, shared, dataset) if item is not None]
                position = _stated(held, "PlanePositionSequence", "ImagePositionPatient")
                orientation = _stated(held, "PlaneOrientationSequence", "ImageOrientationPatient")
                spacing = _stated(held, "PixelMeasuresSequence", "PixelSpacing")
                if len(position) == 3 and len(orientation) == 6 and len(spacing) == 2:
                    key = str(dataset.SOPInstanceUID), number
                    planes[key] = ImagePlane(position, orientation, (spacing[0], spacing[1]))
        except PYDICOM_ERRORS as e:
            raise ValueError(f"{file}: it cannot be read as DICOM: {e}. Copy it again from its source.") from e
    return planes


def _stated(items: Sequence[Any], group: str, keyword: str) -> tuple[float, ...]:
    """Return numbers that an image states itself, or in a functional group."""
    for item in items:
        for holder in [*(item.get(group) or ()), item]:
            if holder.get(keyword):
                return tuple(map(float, holder.get(keyword)))
    return ()
