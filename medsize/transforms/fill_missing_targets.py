"""Empty targets, which give every item of a batch the same keys."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.transforms import Transform

from medsize.losses.composite import IGNORE_INDEX

__all__ = ["FillMissingTargets", "FillMissingTargetsD", "FillMissingTargetsDict", "FillMissingTargetsd"]


class FillMissingTargets(Transform):
    """
    Target that states nothing: fractions between 0 and 1 for every class, masks and scribbles without a labelled voxel.

    Args:
        num_classes: K, with the background.
    """

    def __init__(self, num_classes: int) -> None:
        self.num_classes = num_classes

    def __call__(self, image: torch.Tensor, kind: str) -> torch.Tensor:
        """
        Make an empty target.

        Args:
            image: channel-first, shape ``(C, *spatial)``.
            kind: {``"fraction"``, ``"label"``, ``"scribble"``}.

        Returns:
            fractions of shape ``(2, K)``; else 255 everywhere, uint8, shape ``(1, *spatial)``. The latter is a
            MetaTensor if the image is one, since MONAI cannot collate MetaTensors with plain tensors.

        Raises:
            ValueError: when ``kind`` is not one of these.
        """
        if kind == "fraction":
            return torch.stack([torch.zeros(self.num_classes), torch.ones(self.num_classes)])
        if kind in ("label", "scribble"):
            return torch.full_like(image[:1], IGNORE_INDEX, dtype=torch.uint8)
        raise ValueError(f"there is no target of the kind '{kind}', expected fraction, label or scribble.")


class FillMissingTargetsd(Transform):
    """
    Dictionary-based wrapper of :class:`FillMissingTargets`, so that items with different labels make one batch.

    Existing masks and scribbles become uint8, so that they can be collated with the filled ones.

    Args:
        keys: targets that every item must have.
        num_classes: K, with the background.
        image_key: gives the shape of masks and scribbles. Defaults to ``"image"``.
    """

    def __init__(
        self,
        num_classes: int,
        keys: tuple[str, ...] = ("fraction", "label", "scribble"),
        image_key: str = "image",
    ) -> None:
        self.keys = tuple(keys)
        self.image_key = image_key
        self.transform = FillMissingTargets(num_classes)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.keys:
            if key not in d:
                d[key] = self.transform(d[self.image_key], key)
            elif key != "fraction":
                d[key] = d[key].to(torch.uint8)
        return d


FillMissingTargetsD = FillMissingTargetsDict = FillMissingTargetsd
