"""Proposal of settings that fit a cohort: the defaults of the bundles."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property
from typing import Any

import numpy as np
import torch

from medsize.data.cohort import Cohort
from medsize.data.strides import strides_of
from medsize.items import RoiMm
from medsize.progress_bar import with_progress
from medsize.scans.scan_facts import UNREADABLE, ImagePlace, image_facts, image_place
from medsize.scans.space.orientation import axis_codes, tilt
from medsize.scans.structure_name import are_left_and_right

__all__ = ["SIDE_STEP", "Proposal", "fitting_window"]

MAX_SIDE = {2: 256, 3: 128}
"""Largest number of voxels of the window along an axis; larger scans get a coarser spacing."""
MAX_SIDE_ON_CPU = {2: 96, 3: 64}
"""The same where there is no GPU: a training on whole scans shall not take hours."""
PICTURE_SIDE = 256
PICTURE_SIDE_ON_CPU = 128
"""Largest number of pixels of the window along an axis, for pictures that are resized to fit it."""
ALIKE = 1.1
"""Largest over smallest extent in mm up to which one window in mm fits all pictures."""
SIDE_STEP = {2: 32, 3: 8}
"""Divisor of each side of the window, as networks halve it several times."""
UNET_LEVELS = {2: 4, 3: 3}
"""Levels of the bundles' UNets that halve their input."""
OBLIQUE = 30.0
"""Largest tilt of scans, degrees, whose closest axes are the same in all patients; at 45° they are by chance."""
SIDED = {"CR", "DX"}
"""Modalities of pictures in which left and right matter, as DICOM names them."""
SOFT_TISSUE = [-175.0, 250.0]
"""Window in HU of MONAI's tutorials for the abdomen."""
UNKNOWN = ImagePlace.model_validate({"shape": [64] * 3, "zooms": [1] * 3, "affine": np.eye(4).tolist(), "faults": ()})
"""Place of a scan if none of the cohort can be read; the check of a run then refuses all of them."""


def fitting_window(needed_mm: Sequence[float], usual: Sequence[float]) -> tuple[list[float], list[int]]:
    """
    Return the spacing and the voxels of a window that holds a region: coarser than usual only for a large one.

    Args:
        needed_mm: mm that the window must cover along each axis of the network, 2 or 3.
        usual: spacing of the scans, mm.
    """
    spacing = _fitting_spacing(needed_mm, usual)
    return spacing, _fitting_size(needed_mm, spacing)


class Proposal:
    """
    Settings that fit a cohort, each with its reason.

    The spacing is the cohort's median. The window holds 95 % of the scans, or of their regions of interest, along each
    axis. If that takes too many voxels for a network's window, the spacing is coarser; without a GPU, fewer voxels are
    too many. Scans that cannot be read do not count.

    Each setting is found when it is asked for: headers are read for spacing and window, intensities only for
    :meth:`intensity_window`.

    Args:
        cohort: what to train on.
        spatial_dims: dimensions of the network, 2 or 3.
        modalities: of the scans, as DICOM names them; "" where unknown. Default: unknown.
    """

    def __init__(self, cohort: Cohort, spatial_dims: int, modalities: Sequence[str] = ()) -> None:
        self.cohort = cohort
        self.spatial_dims = spatial_dims
        self.modalities = modalities
        self.reasons: dict[str, str] = {}
        """Reasons for the settings that were asked for, by key."""

    def use_roi(self) -> bool:
        """Return whether to crop to the items' regions of interest: if each has one whose extent is known."""
        rois = [item["roi"] for item in self.cohort.items if "roi" in item]
        if len(rois) < len(self.cohort.items):
            self.reasons["use_roi"] = "not every item has a roi"
        elif not all("box_mm" in roi for roi in rois):
            self.reasons["use_roi"] = "every item has a roi, but not each is a box: a point has no extent"
        else:
            self.reasons["use_roi"] = "every item has a roi"
            return True
        return False

    def orientation(self) -> str:
        """
        Return the codes of the axes that scans are turned to, such as RAS; empty: they stay as they are stored.

        One anatomy is stored along axes of either direction, or of another order, by the program. Turned to the axes of
        most scans of the cohort, the network sees it alike. Oblique scans stay: their closest axes differ between
        patients. So do pictures, and slices of a 2D network that lie along different axes: sizes may be of them.
        """
        if self.are_pictures():
            return ""
        affines = [np.asarray(place.affine) for place, _ in self._stored]
        stored = Counter(map(axis_codes, affines))
        usual, count = stored.most_common(1)[0]
        if np.percentile([tilt(affine) for affine in affines], 90) > OBLIQUE:
            self.reasons["orientation"] = "as they are stored: many scans lie oblique"
            return ""
        if self.spatial_dims == 2 and len({codes[2] for codes in stored}) > 1:
            found = ", ".join(f"{codes} in {number}" for codes, number in stored.most_common())
            self.reasons["orientation"] = f"as they are stored: slices lie along different axes ({found})"
            return ""
        others = f"; the other {len(affines) - count} are turned" if count < len(affines) else ""
        self.reasons["orientation"] = f"{count} of {len(affines)} scans are stored so{others}, as new ones will be"
        return usual

    def in_channels(self) -> int:
        """Return the channels of the scans: 3 if any is a picture in colour."""
        channels = max(place.channels for place, _ in self._places)
        if channels > 1:
            self.reasons["in_channels"] = "red, green and blue"
        return channels

    def fit_to_window(self, use_roi: bool | None = None) -> bool:
        """
        Return whether to resize scans to fit the window: pictures whose pixels have no known size, or that differ.

        A window in mm cuts what large pictures show, and their sizes are of the whole.

        Args:
            use_roi: scans are cropped to their regions of interest. Default: as proposed.
        """
        if self.cohort.length_unit == "px":
            self.reasons["fit_to_window"] = "the pixels have no known size: each picture fills the window, aspect kept"
            return True
        if self.spatial_dims != 2 or not self.are_pictures() or self._crops(use_roi):
            return False
        extents = np.array([place.extent_mm[:2] for place, _ in self._places])
        small, large = extents.min(axis=0), extents.max(axis=0)
        if (large <= ALIKE * small).all():
            return False
        self.reasons["fit_to_window"] = (
            f"the pictures cover {_mm(small)} to {_mm(large)} mm, and a window in mm would cut some: each picture "
            "fills the window, aspect kept"
        )
        return True

    def first_label_level(self, size_level: str, supervision: str = "size") -> str:
        """
        Return the level of sizes by which first labels are asked for.

        Args:
            size_level: level of the sizes, ``"slice"`` or ``"volume"``.
            supervision: labels to train from, see ``supervision`` in train.yaml. Defaults to sizes.

        Returns:
            ``"picture"``, ``"clicked slice"`` for sizes of slices beside clicks, or else the level of the sizes; empty
            if sizes are not learned from.
        """
        if "size" not in supervision.split("+"):
            return ""
        if self.are_pictures():
            return "picture"
        return "clicked slice" if size_level == "slice" and "scribble" in supervision else size_level

    def first_labels_stay(self, supervision: str = "size") -> bool:
        """
        Return whether first labels teach to the end of a training, so that the sizes do not correct their shapes.

        They do beside clicks, and in pictures of several structures, which a network from sizes alone mixes up.

        Args:
            supervision: labels to train from, see ``supervision`` in train.yaml. Defaults to sizes.
        """
        return "scribble" in supervision.split("+") or (self.are_pictures() and self.cohort.num_classes > 2)

    def are_pictures(self) -> bool:
        """Return whether each scan has one slice."""
        return all(place.shape[2] == 1 for place, _ in self._stored)

    def spacing(self, use_roi: bool | None = None, fits: bool | None = None) -> list[float]:
        """
        Return the spacing of the voxels that the network sees, mm.

        Args:
            use_roi: scans are cropped to their regions of interest. Default: as proposed.
            fits: pictures are resized to fit the window. Default: as proposed.
        """
        if self._fits(use_roi, fits):
            self.reasons["spacing"] = "pixels of the window count as they are"
            if self.fit_to_window(use_roi):
                self.reasons["spacing"] += f", as {self.reasons['fit_to_window']}"
            return [1.0] * self.spatial_dims
        usual = self._median_spacing
        spacing = _fitting_spacing(self._needed_mm(use_roi), usual)
        coarser = any(s > 1.1 * u for s, u in zip(spacing, usual, strict=True))
        self.reasons["spacing"] = f"mm; {'coarser than' if coarser else 'about'} the median {_mm(usual)}"
        on_gpu = _fitting_spacing(self._needed_mm(use_roi), usual, has_gpu=True)
        if spacing != on_gpu:
            self.reasons["spacing"] += f", as there is no GPU; with one {_mm(on_gpu)}"
        return spacing

    def median_spacing(self) -> list[float]:
        """Return the median spacing, mm, for a window that need not hold a scan."""
        self.reasons["spacing"] = f"mm; about the median {_mm(self._median_spacing)}"
        return [_rounded(s) for s in self._median_spacing]

    def roi_size(
        self, spacing: Sequence[float] | None = None, use_roi: bool | None = None, fits: bool | None = None
    ) -> list[int]:
        """
        Return the voxels of the network's window.

        Args:
            spacing: of its voxels, mm. Default, also in place of anything but a positive number for each axis: as
                proposed.
            use_roi: scans are cropped to their regions of interest. Default: as proposed.
            fits: pictures are resized to fit the window. Default: as proposed.
        """
        if self._fits(use_roi, fits):
            return self._picture_window()
        if spacing is None or not _is_spacing(spacing, self.spatial_dims):
            spacing = self.spacing(use_roi, fits)
        needed = self._needed_mm(use_roi)
        whole = "regions of interest" if self._crops(use_roi) else "scans"
        self.reasons["roi_size"] = f"voxels; 95 % of the {whole} are at most {_mm(needed)} mm"
        return _fitting_size(needed, spacing)

    def strides(self, spacing: Sequence[float], roi_size: Sequence[int]) -> list[list[int]]:
        """
        Return the strides of the UNet's levels along each axis, see :func:`medsize.data.strides.strides_of`.

        There is a reason for them only where they are not 2 throughout.

        Args:
            spacing: of the voxels that the network sees, mm. Anything but a positive number for each axis counts as
                equal ones; the check of a run has the word on it.
            roi_size: voxels of the network's window, likewise.
        """
        axes = self.spatial_dims
        lengths = spacing if _is_spacing(spacing, axes) else [1.0] * axes
        sides = roi_size if _is_spacing(roi_size, axes) else [MAX_SIDE[axes]] * axes
        found = strides_of(lengths, sides, UNET_LEVELS[axes])
        if found != [[2] * axes] * UNET_LEVELS[axes]:
            self.reasons["strides"] = "of the UNet's levels, along each axis: the axes of short voxels are halved first"
        return found

    def fixed_axis(self) -> int | None:
        """
        Return the axis that views of a scan must neither flip nor turn: from left to right, where the side matters.

        A flipped view would show the left kidney where the right one is: networks then cannot learn the side. It
        matters if structures are so named, and in X-ray pictures, where the heart lies on one side. ``None`` elsewhere,
        as in ultrasound, photographs and microscopy, and for a 2D network whose slices do not contain that axis.
        """
        reason = "structures are named so" if are_left_and_right(self.cohort.class_names[1:]) else ""
        if not reason and set(self.modalities) & SIDED and self.are_pictures():
            reason = "the pictures are X-rays"
        if not reason:
            return None
        axes = [int(np.abs(np.asarray(place.affine)[0, :3]).argmax()) for place, _ in self._places]
        axis = max(set(axes), key=axes.count)
        if axis >= self.spatial_dims:
            return None
        self.reasons["fixed_axis"] = f"from left to right, not flipped in the second view: {reason}"
        return axis

    def intensity_window(self) -> list[float] | None:
        """
        Return the intensities that become 0 and 1; ``None``: the percentiles 0.5 and 99.5 of each scan.

        CT is in Hounsfield units, so one window fits all scans: that of soft tissue. Files of unknown modality count
        as CT if half of them go below −900, like air.
        """
        stated = {modality for modality in self.modalities if modality}
        if stated == {"CT"} or (not stated and self._looks_like_ct()):
            self.reasons["intensity_window"] = "HU of soft tissue: the scans are CT. For lungs or bones, set your own"
            return list(SOFT_TISSUE)
        self.reasons["intensity_window"] = "null: each scan's own percentiles 0.5 and 99.5"
        return None

    def size_level(self) -> str:
        """Return the level of the sizes that a 2D network learns from: slices if most scans have sizes of slices."""
        items = self.cohort.items
        by_slice = sum("slice_area_mm2" in item for item in items)
        self.reasons["size_level"] = f"{by_slice} of {len(items)} scans have sizes of slices"
        is_sized = any("volume_mm3" in item for item in items)
        return "slice" if by_slice * 2 > len(items) or not is_sized else "volume"

    @cached_property
    def _places(self) -> list[tuple[ImagePlace, RoiMm | None]]:
        """Places of the readable scans, as the network sees them, and their regions of interest."""
        orientation = self.orientation()
        return [(place.turned(orientation), roi) for place, roi in self._stored]

    @cached_property
    def _stored(self) -> list[tuple[ImagePlace, RoiMm | None]]:
        """The same as they are stored."""
        found: list[tuple[ImagePlace, RoiMm | None]] = []
        for item in self.cohort.items:
            with suppress(*UNREADABLE):
                place = image_place(item["image"])
                if len(place.shape) == 3 and not place.faults:
                    found.append((place, item.get("roi")))
        return found or [(UNKNOWN, None)]

    @cached_property
    def _median_spacing(self) -> np.ndarray:
        median: np.ndarray = np.median([place.zooms for place, _ in self._places], axis=0)
        return median[: self.spatial_dims]

    def _crops(self, use_roi: bool | None) -> bool:
        return self.use_roi() if use_roi is None else bool(use_roi)

    def _fits(self, use_roi: bool | None, fits: bool | None) -> bool:
        """Return whether the window has pixels of its own, not mm: always so if the size of pixels is unknown."""
        return self.cohort.length_unit == "px" or (self.fit_to_window(use_roi) if fits is None else bool(fits))

    def _needed_mm(self, use_roi: bool | None) -> np.ndarray:
        """Mm that the window must cover along each axis."""
        crops = self._crops(use_roi)
        extents = [roi_extent(roi, place) if crops and roi else place.extent_mm for place, roi in self._places]
        needed: np.ndarray = np.percentile(np.array(extents), 95, axis=0, method="higher")
        return needed[: self.spatial_dims]

    def _picture_window(self) -> list[int]:
        """Return a window in which each picture is about as large as possible: that of the median aspect."""
        shapes = np.array([place.shape[:2] for place, _ in self._places], dtype=float)
        aspect = float(np.median(shapes[:, 0] / shapes[:, 1]))
        limit = PICTURE_SIDE if torch.cuda.is_available() else PICTURE_SIDE_ON_CPU
        longest = min(limit, SIDE_STEP[2] * math.ceil(float(np.median(shapes.max(axis=1))) / SIDE_STEP[2]))
        sides = [longest * min(1.0, aspect), longest * min(1.0, 1 / aspect)]
        self.reasons["roi_size"] = f"pixels; the aspect of the pictures is {aspect:.2g} in the middle"
        return [max(1, round(side / SIDE_STEP[2])) * SIDE_STEP[2] for side in sides]

    def _looks_like_ct(self) -> bool:
        lowest = []
        for item in with_progress(self.cohort.items, "reading intensities"):
            with suppress(*UNREADABLE):
                lowest.append(image_facts(item["image"]).lowest)
        return bool(lowest) and sum(value < -900 for value in lowest) * 2 >= len(lowest)


def _fitting_spacing(
    needed_mm: Sequence[float] | np.ndarray, usual: Sequence[float] | np.ndarray, has_gpu: bool | None = None
) -> list[float]:
    on_gpu = torch.cuda.is_available() if has_gpu is None else has_gpu
    limit = (MAX_SIDE if on_gpu else MAX_SIDE_ON_CPU)[len(usual)]
    factors = [max(n / limit / s, 1.0) for s, n in zip(usual, needed_mm, strict=True)]
    factors[:2] = [max(factors[:2])] * 2  # pixels keep their shape
    return [_rounded(s) if f == 1 else _rounded_up(f * s) for s, f in zip(usual, factors, strict=True)]


def _fitting_size(needed_mm: Sequence[float] | np.ndarray, spacing: Sequence[float]) -> list[int]:
    step, limit = SIDE_STEP[len(spacing)], MAX_SIDE[len(spacing)]
    return [min(step * math.ceil(n / s / step), limit) for n, s in zip(needed_mm, spacing, strict=True)]


def roi_extent(roi: RoiMm, place: ImagePlace) -> list[float]:
    """Return the mm along the image's axes that a box covers; those of the whole image if the roi is a point."""
    if "box_mm" not in roi:
        return place.extent_mm
    corners = np.array(np.meshgrid(*zip(*roi["box_mm"], strict=True), indexing="ij")).reshape(3, -1).T
    voxels = (corners - np.asarray(place.affine)[:3, 3]) @ np.linalg.inv(np.asarray(place.affine)[:3, :3]).T
    voxels = np.clip(voxels, -0.5, np.asarray(place.shape) - 0.5)
    return list((np.ptp(voxels, axis=0) + 1) * place.zooms)


def _is_spacing(value: Any, num_axes: int) -> bool:
    """Return whether a value from a config can be a spacing; the check of a run has the word on others."""
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) != num_axes:
        return False
    return all(isinstance(v, int | float) and math.isfinite(v) and v > 0 for v in value)


def _rounded(spacing: float) -> float:
    return float(f"{spacing:.2g}")


def _rounded_up(spacing: float) -> float:
    """Return a spacing of two digits that is not finer, so that the window still holds what it must."""
    unit = 10.0 ** (math.floor(math.log10(spacing)) - 1)
    return _rounded(unit * math.ceil(spacing / unit - 1e-3))


def _mm(values: Sequence[float] | np.ndarray) -> str:
    return " × ".join(f"{value:.3g}" for value in values)
