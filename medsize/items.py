"""
Items of each stage, from the cohort to the loss: their keys, each with one unit.

A size travels by these keys:

1. ``volume_mm3`` or ``slice_area_mm2``, low and high ends of the K − 1 structures, in :class:`CohortItem`.
   :class:`TrainingItem` has the one that ``size_level`` asks for.
2. ``fraction``, low and high ends of the K classes as fractions of the region that the network is fed. It is made by
   :class:`medsize.transforms.SizeToFractiond`, and stands in :class:`Targets`.
3. ``true_volume_mm3``, which no training transform knows, in :class:`ValidationItem`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypedDict, get_args, overload

import torch

__all__ = [
    "SIZE_KEYS",
    "Click",
    "CohortItem",
    "LabelledItem",
    "RoiMm",
    "ScanItem",
    "SizeKey",
    "Targets",
    "TrainingItem",
    "ValidationItem",
    "is_per_slice",
    "size_key",
]

SizeKey = Literal["volume_mm3", "slice_area_mm2"]
SIZE_KEYS: tuple[SizeKey, ...] = get_args(SizeKey)
"""Keys under which a training item may have its size."""


class RoiMm(TypedDict, total=False):
    """Region of interest in scanner mm (RAS+): a centre or a box."""

    center_mm: Sequence[float]
    box_mm: Sequence[Sequence[float]]
    """Two opposite corners."""


class Click(NamedTuple):
    """Place of a structure in scanner mm (RAS+): a point, or a line between two ends."""

    class_index: int
    start_mm: tuple[float, float, float]
    end_mm: tuple[float, float, float]
    """The same as ``start_mm`` for a point."""


class ScanItem(TypedDict):
    """Keys that the items of all stages have."""

    image: str
    """Path of the scan; like the other paths, a MetaTensor once it is loaded."""
    subject: str


class LabelledItem(ScanItem, total=False):
    """Keys of items that may have labels."""

    fold: int
    roi: RoiMm
    volume_mm3: torch.Tensor
    """Volume of each structure: low and high ends, [0, ∞] if unknown, float64, shape ``(2, K − 1)``."""
    slice_area_mm2: torch.Tensor
    """Area of each structure in each slice along the last axis, likewise, shape ``(2, K − 1, Z)``."""
    circumference_mm: torch.Tensor
    """Circumference of each structure as somebody measured it, NaN if unknown, float64, shape ``(K − 1,)``."""
    label: str
    """Path of the mask of class indices."""
    scribble: str
    clicks: tuple[Click, ...]
    region: list[str]
    """Masks of the organs that the structures lie in, one path for each structure; their union is Ω. Once loaded, the
    channels of a MetaTensor."""


class CohortItem(LabelledItem, total=False):
    """Item of :class:`medsize.data.Cohort`: all that the data list states about a scan."""

    section: str
    """Section of the data list: {``"training"``, ``"validation"``}."""


class TrainingItem(LabelledItem, total=False):
    """Item to train on: only the labels that ``supervision`` names, and at most one of both sizes."""


class ValidationItem(ScanItem, total=False):
    """Item to validate on: the truth has names that no training transform knows."""

    roi: RoiMm
    true_volume_mm3: torch.Tensor
    """``volume_mm3`` of a :class:`CohortItem`."""
    true_circumference_mm: torch.Tensor
    """``circumference_mm`` of a :class:`CohortItem`."""
    true_label: str


class Targets(TypedDict, total=False):
    """Targets of a batch for :class:`medsize.losses.CompositeLoss`."""

    image: torch.Tensor
    """``(B, C, *spatial)``, which the Potts term needs."""
    fraction: torch.Tensor
    """``(B, K)``, or low and high ends ``(B, 2, K)``; [0, 1] for all classes if unknown."""
    group: torch.Tensor
    """``(B,)`` integers; the items of a group share a ``fraction``."""
    scribble: torch.Tensor
    """``(B, 1, *spatial)`` class indices, 255 where unlabelled."""
    label: torch.Tensor
    """``(B, 1, *spatial)`` class indices, all 255 for an item without a mask."""
    soft_label: torch.Tensor
    """``(B, K, *spatial)`` class probabilities."""
    valid: torch.Tensor
    """``(B, 1, *spatial)``, non-zero in the voxels that belong to Ω."""
    beta: torch.Tensor
    """``(B,)``, the Potts term's β of the whole scan, if the batch holds a part of it."""
    view: Any
    """View in which the second half of the batch sees the first: a :class:`medsize.engines.View`."""


@overload
def size_key(item: Mapping[str, Any]) -> SizeKey | None: ...
@overload
def size_key(item: Mapping[Any, Any], keys: Sequence[str]) -> str | None: ...


def size_key(item: Mapping[Any, Any], keys: Sequence[str] = SIZE_KEYS) -> str | None:
    """
    Return the key under which a training item has its size, or ``None`` if it has none.

    Args:
        item: an item with at most one size.
        keys: possible keys.

    Raises:
        ValueError: when it has several sizes.
    """
    present = [key for key in keys if key in item]
    if len(present) > 1:
        raise ValueError(f"found sizes under {' and '.join(present)} in one item, expected one. Name the one to use.")
    return present[0] if present else None


def is_per_slice(key: str) -> bool:
    """Return whether a key such as ``slice_area_mm2`` holds the size in each slice, not in the whole image."""
    return key.endswith("slice_area_mm2")
