"""Slices of volumes, for the training of a 2D network."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any
from uuid import uuid4

import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, RandomizableTransform

from medsize.transforms.voxel_size import source_of

__all__ = [
    "RandSampleSlicesD",
    "RandSampleSlicesDict",
    "RandSampleSlicesd",
    "SplitSlicesD",
    "SplitSlicesDict",
    "SplitSlicesd",
]


class RandSampleSlicesd(RandomizableTransform, MapTransform):
    """
    Random choice of a few slices of a volume, along its last axis.

    The affine still describes the plane of the slices; along the last axis it loses its meaning.

    Args:
        keys: images, masks, scribbles and ``slice_area_mm2`` or ``fraction`` of slices, all with Z as the last axis.
        num_slices: number of slices to keep; a volume with fewer keeps all.
        allow_missing_keys: don't raise an exception if a key is missing.

    Raises:
        ValueError: when ``num_slices`` is below 1, or the keys of an item differ in their number of slices.
    """

    def __init__(self, keys: KeysCollection, num_slices: int, allow_missing_keys: bool = False) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        RandomizableTransform.__init__(self, prob=1.0)
        if num_slices < 1:
            raise ValueError(f"num_slices must be at least 1, got {num_slices}.")
        self.num_slices = num_slices

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        present = list(self.key_iterator(d))
        num_slices = _num_slices(d, present)
        if num_slices <= self.num_slices:
            return d
        chosen = torch.as_tensor(self.R.permutation(num_slices)[: self.num_slices])
        for key in present:
            d[key] = d[key][..., chosen]
        return d


class SplitSlicesd(MapTransform):
    """
    Division of a volume into a list of slices, which MONAI's collation joins into a batch.

    Args:
        keys: images, masks, scribbles and ``fraction`` of slices, with Z as the last axis. Each slice gets its own,
            as a plain tensor: a volume's affine does not describe a 2D one.
        shared_keys: entries of the volume that every slice gets as they are, such as its ``fraction``.
        group_key: key to write a number to that is unique to this volume and draw: the same volume drawn again may have
            another target, by its augmentation. Default: no group.
        allow_missing_keys: don't raise an exception if a key is missing.

    Raises:
        ValueError: when the keys of an item differ in their number of slices.
    """

    def __init__(
        self,
        keys: KeysCollection,
        shared_keys: tuple[str, ...] = (),
        group_key: str | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.shared_keys = tuple(shared_keys)
        self.group_key = group_key

    def __call__(self, data: Mapping[Hashable, Any]) -> list[dict[Hashable, Any]]:
        d = dict(data)
        _num_slices(d, list(self.key_iterator(d)))
        slices = {key: torch.Tensor.unbind(d[key], dim=-1) for key in self.key_iterator(d)}
        plain = {key: [s.as_tensor() if hasattr(s, "as_tensor") else s for s in parts] for key, parts in slices.items()}
        shared = {key: d[key] for key in self.shared_keys if key in d}
        if self.group_key is not None:
            shared[self.group_key] = uuid4().int >> 76  # 52 bits: exact in every number type
        return [dict(zip(plain, parts, strict=True), **shared) for parts in zip(*plain.values(), strict=True)]


def _num_slices(item: Mapping[Hashable, Any], keys: Sequence[Hashable]) -> int:
    """
    Return the number of slices of an item, 0 without any key.

    Raises:
        ValueError: when its keys differ in it.
    """
    numbers = {key: int(item[key].shape[-1]) for key in keys}
    if len(set(numbers.values())) > 1:
        listed = ", ".join(f"{number} of '{key}'" for key, number in numbers.items())
        raise ValueError(f"{source_of(item[keys[0]])}: found unlike numbers of slices, {listed}, expected one number.")
    return next(iter(numbers.values()), 0)


RandSampleSlicesD = RandSampleSlicesDict = RandSampleSlicesd
SplitSlicesD = SplitSlicesDict = SplitSlicesd
