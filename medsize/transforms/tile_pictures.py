"""Large pictures as tiles, for training."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform
from torch.nn import functional as F

from medsize.transforms.voxel_size import source_of

__all__ = ["TilePicturesD", "TilePicturesDict", "TilePicturesd"]


class TilePicturesd(MapTransform):
    """
    Rearrangement of a picture ``(C, W, H, 1)`` into tiles along the slice axis, ``(C, w, h, N)``.

    The picture has one size, shared by its tiles as a scan's size is by its slices. What is padded to whole tiles is
    not part of Ω: ``region`` marks the picture. The affine describes the plane of a tile; along the last axis it loses
    its meaning.

    Args:
        keys: picture, masks and scribbles.
        tile: pixels of a tile along both axes.
        region_channels: number of structures, the channels of ``region``.
        ignored_keys: keys of ``keys`` that are padded with 255, as scribbles. Defaults to ``("scribble",)``.
        image_key: key of the picture. Defaults to ``"image"``.
        region_key: key of the mark; an item that has it keeps it. Defaults to ``"region"``.
        allow_missing_keys: don't raise an exception if a key is missing.

    Raises:
        ValueError: when an item is a volume.
    """

    def __init__(
        self,
        keys: KeysCollection,
        tile: Sequence[int],
        region_channels: int,
        ignored_keys: Sequence[str] = ("scribble",),
        image_key: str = "image",
        region_key: str = "region",
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.tile = tuple(tile)
        self.region_channels = region_channels
        self.ignored_keys = tuple(ignored_keys)
        self.image_key = image_key
        self.region_key = region_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        image = d[self.image_key]
        if image.shape[-1] != 1:
            raise ValueError(
                f"{source_of(image)}: found {image.shape[-1]} slices, expected a picture of one. "
                "Leave TilePicturesd out, in the bundle by tile_pictures: false."
            )
        if self.region_key not in d:
            whole = torch.ones(self.region_channels, *image.shape[1:], dtype=torch.uint8)
            d[self.region_key] = MetaTensor(whole, affine=image.affine)
        for key in dict.fromkeys([*self.key_iterator(d), self.region_key]):
            d[key] = self._tiled(d[key], 255 if key in self.ignored_keys else 0)
        return d

    def _tiled(self, picture: torch.Tensor, padding: int) -> torch.Tensor:
        width, height = self.tile
        plain = picture.as_subclass(torch.Tensor)[..., 0]
        columns, rows = math.ceil(plain.shape[1] / width), math.ceil(plain.shape[2] / height)
        plain = F.pad(plain, (0, rows * height - plain.shape[2], 0, columns * width - plain.shape[1]), value=padding)
        parts = plain.reshape(-1, columns, width, rows, height).permute(0, 2, 4, 1, 3).flatten(3)
        if not isinstance(picture, MetaTensor):
            return parts
        return MetaTensor(parts, meta=picture.meta, applied_operations=picture.applied_operations)


TilePicturesD = TilePicturesDict = TilePicturesd
