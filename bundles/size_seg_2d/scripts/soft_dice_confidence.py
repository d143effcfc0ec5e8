# Written by make bundles from medsize/transforms/soft_dice_confidence.py.
"""Confidence of a network in its own mask."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, Transform

__all__ = ["SoftDiceConfidence", "SoftDiceConfidenceD", "SoftDiceConfidenceDict", "SoftDiceConfidenced"]


class SoftDiceConfidence(Transform):
    """
    Dice of the softmax and the mask that is made of it, for each structure.

    It is the Dice that the network itself expects, nearly, if its probabilities are right: Borges, Pacheco, Silva,
    "Soft Dice Confidence", arXiv 2402.10665. NaN for a structure that is not found.
    """

    def __call__(self, softmax: torch.Tensor) -> torch.Tensor:
        """
        Return the confidence in each structure, ``(K − 1,)``.

        Args:
            softmax: probabilities ``(K, *spatial)``, the background first.
        """
        probabilities = torch.as_tensor(softmax)
        labels = probabilities.argmax(dim=0)
        found = []
        for k, of_structure in enumerate(probabilities[1:], start=1):
            mask = labels == k
            voxels = int(mask.sum())
            inside, everywhere = (float(p.sum(dtype=torch.float32)) for p in (of_structure[mask], of_structure))
            found.append(2 * inside / (everywhere + voxels) if voxels else float("nan"))
        return torch.tensor(found)


class SoftDiceConfidenced(MapTransform):
    """
    Dictionary-based version of :class:`SoftDiceConfidence`; the softmax stays as it is.

    Args:
        keys: keys of the softmax.
        confidence_key: key of the result. Defaults to ``"confidence"``.
        allow_missing_keys: whether to ignore missing keys.
    """

    def __init__(
        self, keys: KeysCollection, confidence_key: str = "confidence", allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.confidence_key = confidence_key
        self.transform = SoftDiceConfidence()

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """
        Add the confidence of an item.

        Args:
            data: an item with a softmax.
        """
        item = dict(data)
        for key in self.key_iterator(item):
            item[self.confidence_key] = self.transform(item[key])
        return item


SoftDiceConfidenceD = SoftDiceConfidenceDict = SoftDiceConfidenced
