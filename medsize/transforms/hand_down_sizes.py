"""Sizes handed down: the size of a scan becomes sizes of its slices, by a soft label."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.transforms import Transform
from monai.utils import TransformBackends

from medsize.transforms.size_to_fraction import FULLEST
from medsize.transforms.voxel_size import voxel_size

__all__ = ["HandDownSizesD", "HandDownSizesDict", "HandDownSizesd"]


class HandDownSizesd(Transform):
    """
    Sizes of slices from a soft label that meets the scan's size: ``slice_area_mm2`` replaces ``volume_mm3``.

    Slice sizes train better than one size a scan, and stand errors. The interval of a slice is the model's own spread:
    it reaches from the area where a structure is likelier than ``sure`` to that where it is likelier than 1 − ``sure``,
    and holds the soft label's area. A structure with less than ``least_mm2`` in a slice is taken as absent there, or,
    where it is small, with less than half of its largest area. Without organs that they lie in (``region``), structures
    fill at most 0.7 of a slice together, so that a random zoom leaves room for them. Items without ``volume_mm3`` stay
    as they are.

    Put it after the soft labels, so that a cached dataset hands sizes down once for each scan.

    Args:
        least_mm2: least area in a slice. Defaults to 60 mm².
        sure: probability in [0.5, 1] that bounds the interval; ``None`` for exact areas. Defaults to ``None``.
        soft_label_key: key of the soft label ``(K, H, W, Z)``. Defaults to ``"soft_label"``.

    Raises:
        ValueError: when ``least_mm2`` is negative, or ``sure`` is not in [0.5, 1].
    """

    backend = [TransformBackends.TORCH]

    def __init__(self, least_mm2: float = 60.0, sure: float | None = None, soft_label_key: str = "soft_label") -> None:
        if least_mm2 < 0:
            raise ValueError(f"least_mm2 must not be negative, got {least_mm2}.")
        if sure is not None and not 0.5 <= sure <= 1:
            raise ValueError(f"sure must be a probability from 0.5 to 1, got {sure}.")
        self.least_mm2 = least_mm2
        self.sure = sure
        self.soft_label_key = soft_label_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        if "volume_mm3" not in d or self.soft_label_key not in d:
            return d
        given = torch.as_tensor(d.pop("volume_mm3"))
        soft = d[self.soft_label_key]
        pixel_mm2 = voxel_size(soft, 2)
        structures = soft.as_tensor()[1:].double()
        area = structures.sum(dim=(1, 2)) * pixel_mm2
        low = high = area
        if self.sure is not None:
            low = torch.minimum(area, (structures > self.sure).sum(dim=(1, 2)) * pixel_mm2)
            high = torch.maximum(area, (structures > 1 - self.sure).sum(dim=(1, 2)) * pixel_mm2)
        absent = area < (area.amax(dim=1, keepdim=True) / 2).clamp_max(self.least_mm2)
        areas = torch.stack([low.masked_fill(absent, 0), high.masked_fill(absent, 0)])
        if "region" not in d:
            largest = FULLEST * pixel_mm2 * structures[0, ..., 0].numel()
            areas = areas * (largest / areas[0].sum(dim=0).clamp_min(1e-9)).clamp_max(1)
        box = given if given.ndim == 2 else given.expand(2, -1)
        unknown = (box[0] <= 0) & box[1].isinf()
        areas[0, unknown], areas[1, unknown] = 0, torch.inf
        d["slice_area_mm2"] = areas
        return d


HandDownSizesD = HandDownSizesDict = HandDownSizesd
