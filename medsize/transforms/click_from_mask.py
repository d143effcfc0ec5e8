"""Simulated clicks."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, Transform
from monai.utils import TransformBackends
from scipy.ndimage import distance_transform_edt

from medsize.losses.composite import IGNORE_INDEX

__all__ = ["ClickFromMask", "ClickFromMaskD", "ClickFromMaskDict", "ClickFromMaskd"]


class ClickFromMask(Transform):
    """
    Simulated click for each class: a dot around the voxel deepest inside the class, where a reader would click.

    Args:
        radius: the dot holds the voxels of the class within this many voxels of the click. The default, 1.5, is a dot
            of 3 × 3, which survives resampling to twice the voxel size.
        include_background: also click the background. Defaults to True.
        per_slice: make one click per class in every slice along the last axis. Defaults to False.
    """

    backend = [TransformBackends.NUMPY]

    def __init__(self, radius: float = 1.5, include_background: bool = True, per_slice: bool = False) -> None:
        self.radius = radius
        self.include_background = include_background
        self.per_slice = per_slice

    def __call__(self, mask: torch.Tensor) -> torch.Tensor:
        """
        Click into every class of a mask.

        Args:
            mask: class indices, shape ``(1, *spatial)``.

        Returns:
            uint8, shape ``(1, *spatial)``: the class on its dot, 255 elsewhere. With ``mask``'s affine, if it has one.

        Raises:
            ValueError: when ``mask`` has several channels.
        """
        if mask.shape[0] != 1:
            raise ValueError(f"a mask must have one channel of class indices, got {mask.shape[0]}.")
        labels = np.asarray(mask[0].cpu()).astype(np.int64)
        if self.per_slice:
            clicks = np.stack([self._click(s) for s in np.moveaxis(labels, -1, 0)], axis=-1)
        else:
            clicks = self._click(labels)
        result = torch.from_numpy(clicks).unsqueeze(0)
        return MetaTensor(result, affine=mask.affine) if isinstance(mask, MetaTensor) else result

    def _click(self, labels: np.ndarray) -> np.ndarray:
        clicks = np.full(labels.shape, IGNORE_INDEX, dtype=np.uint8)
        for k in np.unique(labels):
            if k == 0 and not self.include_background:
                continue
            # The class ends where the image does, so that a click never lies on the border.
            inside = np.pad(labels == k, 1)
            depth = distance_transform_edt(inside)[(slice(1, -1),) * labels.ndim]
            click = np.unravel_index(depth.argmax(), depth.shape)
            distance = np.sqrt(sum((axis - c) ** 2 for axis, c in zip(np.indices(labels.shape), click, strict=True)))
            clicks[(distance <= self.radius) & (labels == k)] = k
        return clicks


class ClickFromMaskd(MapTransform):
    """
    Dictionary-based wrapper of :class:`ClickFromMask`.

    Args:
        keys: mask to click into.
        scribble_key: key to write the clicks to. Defaults to ``"scribble"``.
        radius: see :class:`ClickFromMask`.
        include_background: see :class:`ClickFromMask`.
        per_slice: see :class:`ClickFromMask`.
        allow_missing_keys: don't raise an exception if a key is missing.
    """

    backend = ClickFromMask.backend

    def __init__(
        self,
        keys: KeysCollection,
        scribble_key: str = "scribble",
        radius: float = 1.5,
        include_background: bool = True,
        per_slice: bool = False,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.scribble_key = scribble_key
        self.transform = ClickFromMask(radius, include_background, per_slice)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d):
            d[self.scribble_key] = self.transform(d[key])
        return d


ClickFromMaskD = ClickFromMaskDict = ClickFromMaskd
