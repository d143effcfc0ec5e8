"""Cropping to a region of interest in scanner coordinates."""

from __future__ import annotations

import itertools
import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import Crop
from monai.transforms.croppad.dictionary import Cropd

from medsize.transforms.voxel_size import check_affine, source_of

__all__ = ["CropToRoi", "CropToRoiD", "CropToRoiDict", "CropToRoid"]


class CropToRoi(Crop):
    """
    Crop to a box, or to a fixed extent around a centre point, in scanner millimetres (RAS+, as in NIfTI).

    A box is parallel to the scanner's axes; in an oblique image the smallest block of voxels that holds it is kept.
    The part of a box beyond the image is cut off; pad afterwards to a fixed shape. Invertible like MONAI's own crops.

    Args:
        extent: mm to keep around a centre point, along each axis of the image; a negative number keeps the whole axis.

    Raises:
        ValueError: when ``extent`` has not three numbers.
    """

    def __init__(self, extent: Sequence[float]) -> None:
        super().__init__()
        self.extent = tuple(extent)
        if len(self.extent) != 3:
            raise ValueError(f"extent must have three numbers, one for each axis of the image, got {self.extent}.")

    def __call__(self, img: MetaTensor, roi: Mapping[str, Any], lazy: bool | None = None) -> torch.Tensor:
        """
        Crop an image to its region of interest.

        Args:
            img: channel-first, shape ``(C, *spatial)``, three spatial axes.
            roi: ``{"center_mm": [x, y, z]}`` or ``{"box_mm": [[x, y, z], [x, y, z]]}``, two opposite corners.
            lazy: see MONAI's ``Crop``.

        Raises:
            ValueError: when ``roi`` states neither, or other than three coordinates of a point, or lies outside the
                image; or when ``img`` carries no affine. The message names the file.
        """
        check_affine(img)
        points = _points(img, roi)
        shape = img.peek_pending_shape()
        affine = torch.as_tensor(img.peek_pending_affine(), dtype=torch.float64)
        to_voxel = torch.linalg.inv(affine)

        def voxel(point: Sequence[float]) -> torch.Tensor:
            return (to_voxel @ torch.tensor([*point, 1.0], dtype=torch.float64))[:3]

        if len(points) == 1:
            center = voxel(points[0])
            extent = torch.tensor(self.extent, dtype=torch.float64) / affine[:3, :3].norm(dim=0)
            start = torch.round(center - extent / 2 + 0.5)
            stop = start + torch.round(extent)
            whole = torch.tensor(self.extent) < 0
            start = torch.where(whole, 0, start)
            stop = torch.where(whole, torch.tensor(shape, dtype=torch.float64), stop)
        else:
            corners = torch.stack([voxel(p) for p in itertools.product(*zip(*points, strict=True))])
            start = torch.floor(corners.min(dim=0).values + 0.5)
            stop = torch.ceil(corners.max(dim=0).values + 0.5)
        slices = tuple(slice(max(int(a), 0), min(int(b), n)) for a, b, n in zip(start, stop, shape, strict=True))
        if any(s.stop <= s.start for s in slices):
            raise ValueError(f"{source_of(img)}: the roi {dict(roi)} lies outside the image.")
        return super().__call__(img, slices, lazy=lazy)


def _points(img: MetaTensor, roi: Mapping[str, Any]) -> list[Sequence[float]]:
    """Return the centre of a region of interest, or two corners of its box."""
    stated: Mapping[str, Any] = roi if isinstance(roi, Mapping) else {}
    center, box = stated.get("center_mm"), stated.get("box_mm")
    if center is None and box is None:
        raise ValueError(f"{source_of(img)}: found the roi {roi}, expected center_mm or box_mm. State one of them.")
    points: list[Sequence[float]] = list(box or ()) if center is None else [center]
    if len(points) != (2 if center is None else 1) or not all(
        len(point) == 3 and all(map(math.isfinite, point)) for point in points
    ):
        raise ValueError(
            f"{source_of(img)}: found the roi {roi}, expected x, y and z in mm of its centre, or of two corners "
            "of a box."
        )
    return points


class CropToRoid(Cropd):
    """
    Dictionary-based wrapper of :class:`CropToRoi`.

    Args:
        keys: images, masks and scribbles to crop.
        extent: see :class:`CropToRoi`.
        roi_key: key that holds the roi. Defaults to ``"roi"``.
        allow_missing_keys: don't raise an exception if a key is missing.
        lazy: see MONAI's ``Cropd``.

    Raises:
        ValueError: when an item has no roi.
    """

    def __init__(
        self,
        keys: KeysCollection,
        extent: Sequence[float],
        roi_key: str = "roi",
        allow_missing_keys: bool = False,
        lazy: bool = False,
    ) -> None:
        super().__init__(keys, cropper=CropToRoi(extent), allow_missing_keys=allow_missing_keys, lazy=lazy)
        self.roi_key = roi_key

    def __call__(self, data: Mapping[Hashable, Any], lazy: bool | None = None) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d):
            if d.get(self.roi_key) is None:
                raise ValueError(f"{source_of(d[key])}: the item has no '{self.roi_key}' to crop to.")
            d[key] = self.cropper(d[key], d[self.roi_key], lazy=self.lazy if lazy is None else lazy)
        return d


CropToRoiD = CropToRoiDict = CropToRoid
