# Written by make bundles from medsize/transforms/fit_to_window.py.
"""Pictures of any shape, resized to fit the network's window."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import InvertibleTransform, MapTransform, Resize
from monai.transforms.spatial.functional import resize
from monai.utils import ensure_tuple_rep

__all__ = ["FitToWindow", "FitToWindowD", "FitToWindowDict", "FitToWindowd"]


class FitToWindow(Resize):
    """
    Resizing of a picture ``(C, W, H, Z)`` to the largest size that fits a window, with its aspect kept.

    Z stays. The affine follows, so sizes in mm² or pixels stay right. Pad to the window afterwards. Invertible like
    MONAI's ``Resize``.

    Args:
        window: pixels along the first two axes.
    """

    def __init__(self, window: Sequence[int]) -> None:
        super().__init__(spatial_size=-1)
        self.window = tuple(window[:2])

    def __call__(self, img: torch.Tensor, mode: str = "bilinear") -> torch.Tensor:
        """
        Resize a picture.

        Args:
            img: channel-first, three spatial axes.
            mode: ``"nearest"`` for class indices; other modes are linear, smoothed where the picture shrinks.
        """
        shape = img.shape[1:]
        scale = min(n / m for n, m in zip(self.window, shape, strict=False))
        size = [min(max(round(scale * m), 1), n) for n, m in zip(self.window, shape, strict=False)]
        size += [int(n) for n in shape[2:]]
        of_classes = mode == "nearest"
        return resize(
            img,
            size,
            "nearest-exact" if of_classes else "trilinear",
            None if of_classes else False,
            torch.float32,
            len(shape),
            not of_classes and scale < 1,
            None,
            False,
            self.get_transform_info(),
        )


class FitToWindowd(MapTransform, InvertibleTransform):
    """
    Dictionary-based wrapper of :class:`FitToWindow`.

    Args:
        keys: picture, masks and scribbles.
        window: see :class:`FitToWindow`.
        mode: see :class:`FitToWindow`; one for all keys, or one for each.
        region_channels: number of structures. If it is above 0, ``region`` marks the picture, unless the item has one:
            what is padded later is not part of Ω. Defaults to 0.
        image_key: key of the picture. Defaults to ``"image"``.
        region_key: key of the mark, ``(region_channels, W, H, Z)``. Defaults to ``"region"``.
        allow_missing_keys: don't raise an exception if a key is missing.
    """

    backend = FitToWindow.backend

    def __init__(
        self,
        keys: KeysCollection,
        window: Sequence[int],
        mode: str | Sequence[str] = "bilinear",
        region_channels: int = 0,
        image_key: str = "image",
        region_key: str = "region",
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.mode = ensure_tuple_rep(mode, len(self.keys))
        self.region_channels = region_channels
        self.image_key = image_key
        self.region_key = region_key
        self.transform = FitToWindow(window)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        for key, mode in self.key_iterator(d, self.mode):
            d[key] = self.transform(d[key], mode)
        if self.region_channels and self.region_key not in d:
            image = d[self.image_key]
            whole = torch.ones(self.region_channels, *image.shape[1:], dtype=torch.uint8)
            d[self.region_key] = MetaTensor(whole, affine=image.affine)
        return d

    def inverse(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Resize to the shape before."""
        d = dict(data)
        for key in self.key_iterator(d):
            d[key] = self.transform.inverse(d[key])
        return d


FitToWindowD = FitToWindowDict = FitToWindowd
