"""Conversion of physical sizes to fractions of the tensor that the network is fed."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, Transform
from monai.utils import TransformBackends

from medsize.items import SIZE_KEYS, is_per_slice, size_key
from medsize.transforms.voxel_size import check_affine, is_in_pixels, source_of, voxel_size
from medsize.units import size_text

__all__ = ["SizeToFraction", "SizeToFractionD", "SizeToFractionDict", "SizeToFractiond", "in_organs", "to_fraction"]

FULLEST = 0.7
"""Largest part of the region that structures may fill together; a random zoom by 10 % leaves 0.73 of three axes."""
NUM_AXES = {"slice_area_mm2": 3, "volume_mm3": 3, "area_mm2": 2}
"""Spatial axes of the image, by the end of the size's key."""


class SizeToFraction(Transform):
    """
    Conversion of physical sizes to fractions of the region Ω that a tensor covers, with the background as class 0.

    Put it after every spatial transform. Cropping, padding, resampling, flips and zooms before it need no care: the
    fraction follows from the affine and shape at hand, as long as the organ stays in view.

    Args:
        per_slice: take sizes as mm² in each slice along the last axis of a volume, and each slice as its own Ω.
            Defaults to False.
    """

    backend = [TransformBackends.TORCH]

    def __init__(self, per_slice: bool = False) -> None:
        self.per_slice = per_slice

    def __call__(self, size: torch.Tensor, image: MetaTensor, organs: torch.Tensor | None = None) -> torch.Tensor:
        """
        Convert sizes.

        Args:
            size: mm³ (mm² where ``image`` is 2D) of the foreground classes, shape ``(K − 1,)`` or, for intervals,
                ``(2, K − 1)``: low and high ends, [0, ∞] where unknown. With ``per_slice`` mm², and a further axis of
                length Z.
            image: channel-first, shape ``(C, *spatial)``.
            organs: masks of organs, other than 0 within them, shape ``(N, *spatial)``; Ω is their union. Default: Ω is
                all that ``image`` covers.

        Returns:
            low and high ends of the fractions, float32, shape ``(2, K)``, or ``(2, K, Z)`` with ``per_slice``.
            Where the sizes are exact, both ends are equal and sum to 1. Where Ω is empty, as in slices without the
            organ, they are [0, 1]. Structures that would fill more than their organs fill these.

        Raises:
            ValueError: when the organs fill Ω or more, a size is negative or NaN, or has a low end above its high end,
                ``size`` does not consist of numbers or has a wrong shape, or the affine is missing or degenerate. The
                message names the file, where it is known.
        """
        check_affine(image)
        try:
            size = torch.as_tensor(size, dtype=torch.float64)
        except TypeError as e:
            raise ValueError(
                f"{source_of(image)}: found the sizes {size}, expected numbers. State an unknown one as 0 to infinity."
            ) from e
        shape = tuple(image.peek_pending_shape())
        if self.per_slice and (len(shape) != 3 or size.shape[-1] != shape[-1]):
            raise ValueError(
                f"{source_of(image)}: sizes per slice, of shape {tuple(size.shape)}, do not fit an image of "
                f"shape {shape}."
            )
        point_ndim = 2 if self.per_slice else 1
        if size.ndim == point_ndim:
            size = size.expand(2, *size.shape)
        if size.ndim != point_ndim + 1 or size.shape[0] != 2:
            raise ValueError(f"{source_of(image)}: sizes must be (K − 1,) or (2, K − 1), got {tuple(size.shape)}.")
        if bool((size.isnan() | (size < 0)).any()):
            raise ValueError(
                f"{source_of(image)}: a size is negative or NaN: {size.tolist()}. State an unknown one as 0 to "
                "infinity."
            )
        if bool((size[0] > size[1]).any()):
            raise ValueError(f"{source_of(image)}: a size has a low end above its high end: {size.tolist()}.")

        region = shape[:2] if self.per_slice else shape
        if organs is not None:
            measure = voxel_size(image, len(region)) * in_organs(organs).double().sum(dim=list(range(len(region))))
            return _within(size, measure)
        measure = voxel_size(image, len(region)) * math.prod(region)
        low, high = size / measure
        high = high.clamp_max(1.0)
        if bool((low.sum(dim=0) >= 1).any()):
            unit = "px" if is_in_pixels(image) else "mm²" if len(region) == 2 else "mm³"
            raise ValueError(
                f"{source_of(image)}: the organs take {size_text(float(low.sum(dim=0).max() * measure), 6)} {unit}, "
                f"but the region given to the network has only {size_text(float(measure), 6)} {unit}. "
                "Are the sizes in the right unit, and is the crop large enough?"
            )
        return _with_background(low, high)


def in_organs(organs: torch.Tensor) -> torch.Tensor:
    """Return the voxels of Ω, bool, from masks of organs ``(N, *spatial)``: the union."""
    return (organs.as_subclass(torch.Tensor) != 0).any(dim=0)


def _within(size: torch.Tensor, measure: torch.Tensor) -> torch.Tensor:
    """Return the fractions of sizes within organs that take so many mm³, or mm² in each slice."""
    empty = measure <= 0
    low, high = size / measure.masked_fill(empty, 1.0)
    # A crop or a turn may cut an organ; that a size fits into the whole one is checked before.
    over = low.sum(dim=0).clamp_min(1.0)
    low, high = (low / over).masked_fill(empty, 0.0), (high / over).clamp_max(1.0).masked_fill(empty, 1.0)
    return _with_background(low, high)


def _with_background(low: torch.Tensor, high: torch.Tensor) -> torch.Tensor:
    background = torch.stack([(1 - high.sum(dim=0)).clamp_min(0), (1 - low.sum(dim=0)).clamp_min(0)])
    return torch.cat([background.unsqueeze(1), torch.stack([low, high])], dim=1).float()


class SizeToFractiond(MapTransform):
    """
    Dictionary-based wrapper of :class:`SizeToFraction`: ``fraction`` replaces the size.

    The key names the measure: ``slice_area_mm2`` in each slice along the last axis, ``volume_mm3`` of a whole volume,
    ``area_mm2`` of a 2D image. A key may have a word before that, as ``given_volume_mm3``.

    Args:
        keys: sizes to convert; an item has one of them. Defaults to ``("volume_mm3", "slice_area_mm2")``.
        fraction_key: key of the fractions: ``(2, K)``, or ``(2, K, Z)`` for slices. Defaults to ``"fraction"``.
        image_key: the tensor that is Ω. Defaults to ``"image"``.
        region_key: key of masks of organs that are Ω in place of all of it, if an item has it. Defaults to
            ``"region"``.
        allow_missing_keys: don't raise an exception if an item has none of the keys.

    Raises:
        ValueError: when a key names no unit, an item has two of the sizes, or a volume is stated of a 2D image or an
            area of a volume; also see :class:`SizeToFraction`.
        KeyError: when an item has none of the keys.
    """

    backend = SizeToFraction.backend

    def __init__(
        self,
        keys: KeysCollection = SIZE_KEYS,
        fraction_key: str = "fraction",
        image_key: str = "image",
        allow_missing_keys: bool = False,
        region_key: str = "region",
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.region_key = region_key
        for key in self.keys:
            _num_axes(key)
        self.fraction_key = fraction_key
        self.image_key = image_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        key = size_key(d, self.keys)
        if key is not None:
            d[self.fraction_key] = to_fraction(key, d.pop(key), d[self.image_key], d.get(self.region_key))
        elif not self.allow_missing_keys:
            raise KeyError(
                f"{source_of(d[self.image_key])}: found none of the keys {', '.join(self.keys)}, expected one of them. "
                "Set allow_missing_keys where a size may be unknown."
            )
        return d


def to_fraction(key: str, size: torch.Tensor, image: MetaTensor, organs: torch.Tensor | None = None) -> torch.Tensor:
    """
    Return the fractions of a size, given its key in an item.

    Args:
        key: ends in ``volume_mm3``, ``slice_area_mm2`` or ``area_mm2``.
        size: see :class:`SizeToFraction`.
        image: see :class:`SizeToFraction`.
        organs: see :class:`SizeToFraction`.

    Raises:
        ValueError: when the key names no unit, or a volume is stated of a 2D image or an area of a volume; also see
            :class:`SizeToFraction`.
    """
    num_axes = _num_axes(key)
    if image.ndim - 1 != num_axes:
        raise ValueError(
            f"{source_of(image)}: found '{key}' of an image of the shape {tuple(image.shape)}, expected {num_axes} "
            "spatial axes. Name the size by what it is of: volume_mm3, slice_area_mm2 or, of a 2D image, area_mm2."
        )
    return SizeToFraction(is_per_slice(key))(size, image, organs)


def _num_axes(key: str) -> int:
    """Return the number of spatial axes of the image that a size under this key belongs to."""
    for unit, axes in NUM_AXES.items():
        if key.endswith(unit):
            return axes
    raise ValueError(
        f"found the key '{key}', expected the name of a size with its unit. Name it volume_mm3, slice_area_mm2 or, of "
        "a 2D image, area_mm2."
    )


SizeToFractionD = SizeToFractionDict = SizeToFractiond
