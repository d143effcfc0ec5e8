"""A scan as it is shown: its voxels turned like a radiologist sees them, with their places in scanner mm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import SimpleITK
from nibabel.orientations import (
    apply_orientation,
    axcodes2ornt,
    inv_ornt_aff,
    io_orientation,
    ornt_transform,
)

from medsize.scans.find_scans import picture_as_scan, read_scan
from medsize.scans.image_file import MAX_BYTES
from medsize.scans.pictures.file import read_picture
from medsize.scans.scan import FoundScan, ScanKind

__all__ = ["ShownScan"]

PLANES = ("sagittal", "coronal", "axial")
"""Names of the planes across each axis."""
SAMPLE = 500_000
"""Voxels that the range of intensities is found from."""
AIR_HU = -500
"""Whole intensities below it are those of CT."""


@dataclass(frozen=True)
class ShownScan:
    """Voxels along axes to the patient's left, back and head."""

    voxels: np.ndarray
    """``(L, P, S)``; ``(L, P, S, 3)`` in colour."""
    affine: np.ndarray
    """From indices of the voxels to scanner mm (RAS+)."""
    slice_axis: int
    """Axis of the voxels along which the file has its slices."""
    modality: str = ""
    length_unit: Literal["mm", "px"] = "mm"
    """Pixels where the size of a picture's pixel is not known."""

    @classmethod
    def read(cls, found: FoundScan, max_bytes: int = MAX_BYTES) -> ShownScan:
        """
        Read a scan or picture.

        Args:
            found: the scan.
            max_bytes: memory that its voxels may take.

        Raises:
            ValueError: naming the file, when it cannot be read.
        """
        unknown = False
        if found.kind is ScanKind.PICTURE and not found.fault:
            picture = read_picture(found.files[0], found.frame or 0, max_bytes=max_bytes)
            image, unknown = picture_as_scan(picture), picture.spacing_mm is None
        else:
            image = read_scan(found, max_bytes)
        stored = SimpleITK.GetArrayFromImage(image)
        stored = stored.transpose(2, 1, 0, *range(3, stored.ndim))
        affine = np.eye(4)
        affine[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
        affine[:3, 3] = image.GetOrigin()
        affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine  # LPS+ to RAS+
        turn = ornt_transform(io_orientation(affine), axcodes2ornt("LPS"))
        return cls(
            apply_orientation(stored, turn),
            affine @ inv_ornt_aff(turn, stored.shape[:3]),
            int(turn[2, 0]),
            found.modality,
            "px" if unknown else "mm",
        )

    @property
    def shape(self) -> tuple[int, ...]:
        """Voxels along each axis."""
        return self.voxels.shape[:3]

    @property
    def spacing(self) -> np.ndarray:
        """Millimetres of a voxel along each axis."""
        spacing: np.ndarray = np.linalg.norm(self.affine[:3, :3], axis=0)
        return spacing

    @property
    def is_picture(self) -> bool:
        """True if it has one slice only."""
        return self.shape[self.slice_axis] == 1

    @property
    def slice_area(self) -> float:
        """Area of the field of view of a slice, mm²."""
        in_plane = [axis for axis in range(3) if axis != self.slice_axis]
        return float(np.prod([self.shape[axis] * self.spacing[axis] for axis in in_plane]))

    def indices(self, places: np.ndarray) -> np.ndarray:
        """Return the indices of places, which may lie between voxels."""
        return (places - self.affine[:3, 3]) @ np.linalg.inv(self.affine[:3, :3]).T

    def holds(self, places: np.ndarray, margin: float = 0.5) -> bool:
        """Return whether all places lie in the field of view, or up to ``margin`` voxels outside."""
        at = self.indices(places)
        return bool(((at >= -0.5 - margin) & (at <= np.array(self.shape) - 0.5 + margin)).all())

    def plane(self, axis: int, at: int) -> np.ndarray:
        """
        Return a slice as it is shown: rows from the top, columns from the left.

        Args:
            axis: axis across it: 0 sagittal, 1 coronal, 2 axial.
            at: index along this axis.

        Returns:
            uint8 with three channels if it is in colour; otherwise int16, or float32.

        Raises:
            ValueError: when there is no such slice.
        """
        if not 0 <= axis <= 2 or not 0 <= at < self.shape[axis]:
            raise ValueError(f"found no slice {at} along axis {axis}, expected one of {self.shape} voxels.")
        shown = np.moveaxis(np.take(self.voxels, at, axis), 1, 0)
        if axis != 2:  # the head at the top
            shown = shown[::-1]
        if shown.ndim == 3:
            top = 255 if shown.dtype == np.uint8 else 65535
            return np.ascontiguousarray((shown.astype(np.float32) * (255 / top)).round().astype(np.uint8))
        kind = np.int16 if np.can_cast(shown.dtype, np.int16) else np.float32
        return np.ascontiguousarray(shown.astype(kind))

    def range(self) -> tuple[float, float, float, float]:
        """Return the lowest intensity, the percentiles 0.5 and 99.5, and the highest intensity of a sample."""
        sample = self.voxels.reshape(-1)[:: max(self.voxels.size // SAMPLE, 1)].astype(np.float64)
        low, first, last, high = np.percentile(sample, [0, 0.5, 99.5, 100]).tolist()
        return low, first, last, high

    @property
    def is_ct(self) -> bool:
        """True if the header says so, or whole intensities reach down to those of air."""
        whole = self.voxels.dtype.kind in "iu"
        return self.modality == "CT" or (not self.modality and whole and self.range()[0] <= AIR_HU)
