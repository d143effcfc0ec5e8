"""Clicks that are stated in scanner coordinates, as labelled voxels."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, Transform
from monai.utils import TransformBackends

from medsize.items import Click
from medsize.losses.composite import IGNORE_INDEX

__all__ = ["DrawClicks", "DrawClicksD", "DrawClicksDict", "DrawClicksd", "voxels_of_click"]


class DrawClicks(Transform):
    """
    Label the voxels of clicks, which are stated in scanner millimetres (RAS+, as in NIfTI).

    Draw them after resampling, so that no voxel is lost by it. A point labels the voxel that holds it, a line all
    voxels between its ends. What lies outside the image, as after a crop, labels nothing.
    """

    backend = [TransformBackends.TORCH]

    def __call__(self, image: MetaTensor, clicks: Sequence[Click], scribble: torch.Tensor | None = None) -> MetaTensor:
        """
        Draw clicks.

        Args:
            image: gives shape and place, ``(C, *spatial)``, three spatial axes.
            clicks: the clicks; where two meet, the last one counts.
            scribble: labels to draw over, ``(1, *spatial)``. Default: none.

        Returns:
            uint8, shape ``(1, *spatial)``: the class on its voxels, 255 elsewhere, with the image's affine.

        Raises:
            TypeError: when the image is not a ``MetaTensor``, whose affine tells where its voxels lie.
            ValueError: when it does not have three spatial axes.
        """
        if not isinstance(image, MetaTensor):
            raise TypeError(f"image must be a MetaTensor, as LoadImaged makes it, got {type(image).__name__}.")
        if image.ndim != 4:
            raise ValueError(f"image must have the shape (C, H, W, Z), got {tuple(image.shape)}.")
        shape = image.shape[1:]
        labels = torch.full(shape, IGNORE_INDEX, dtype=torch.uint8)
        if scribble is not None:
            labels = scribble[0].as_subclass(torch.Tensor).to(torch.uint8).clone()
        for click in clicks:
            voxels = voxels_of_click(click, image.affine)
            inside = voxels[((voxels >= 0) & (voxels < torch.tensor(shape))).all(dim=1)]
            labels[tuple(inside.T)] = click.class_index
        return MetaTensor(labels.unsqueeze(0), affine=image.affine, meta=getattr(scribble, "meta", None))


class DrawClicksd(MapTransform):
    """
    Dictionary-based wrapper of :class:`DrawClicks`; an item without clicks stays as it is.

    Args:
        keys: image that gives shape and place.
        clicks_key: key of the clicks, a sequence of :class:`medsize.items.Click`. Defaults to ``"clicks"``.
        scribble_key: key to write to. Scribbles that it has are drawn over. Defaults to ``"scribble"``.
        allow_missing_keys: don't raise an exception if the image is missing.
    """

    backend = DrawClicks.backend

    def __init__(
        self,
        keys: KeysCollection,
        clicks_key: str = "clicks",
        scribble_key: str = "scribble",
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.clicks_key = clicks_key
        self.scribble_key = scribble_key
        self.transform = DrawClicks()

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d):
            if d.get(self.clicks_key):
                d[self.scribble_key] = self.transform(d[key], d[self.clicks_key], d.get(self.scribble_key))
        d.pop(self.clicks_key, None)
        return d


def voxels_of_click(click: Click, affine: torch.Tensor) -> torch.Tensor:
    """
    Return the indices of the voxels that a click touches, ``(N, 3)``; they may lie outside the image.

    Args:
        click: the click.
        affine: of the image, voxel to scanner mm, ``(4, 4)``.
    """
    ends = torch.tensor([[*click.start_mm, 1.0], [*click.end_mm, 1.0]], dtype=torch.float64)
    start, end = (torch.linalg.inv(affine.to(torch.float64)) @ ends.T)[:3].T
    steps = 2 * math.ceil(float((end - start).abs().max())) + 1
    part = torch.linspace(0, 1, steps, dtype=torch.float64).unsqueeze(1)
    return torch.unique(torch.floor(start + part * (end - start) + 0.5).long(), dim=0)


DrawClicksD = DrawClicksDict = DrawClicksd
