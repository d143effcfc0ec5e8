"""Soft labels from a teacher, made to meet the size that is known of a scan."""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.data import MetaTensor
from monai.inferers import Inferer, SimpleInferer
from monai.transforms import Transform
from monai.utils import TransformBackends
from torch import nn

from medsize.losses.average_softmax import log_average_softmax
from medsize.losses.size_target import nearest_in_box
from medsize.transforms.size_to_fraction import SizeToFraction

__all__ = ["ShiftToSize", "SoftLabelD", "SoftLabelDict", "SoftLabeld"]

ABSENT = -1e4
"""Logit whose softmax is 0 in float32. At −∞, of which no difference can be taken, the target would be NaN."""


class ShiftToSize(Transform):
    """
    Shift class biases until the average softmax of a region equals its size target.

    With one bias b_k for each class, ``S = softmax(z + b)`` and b is raised by ``ln(v_k / S̄_k)`` until S̄ meets v: the
    fixed point of generalised iterative scaling, the nearest S to ``softmax(z)`` in KL divergence that has these
    averages. A class of size 0 gets probability 0; a size that is unknown is left as predicted.

    Source: Darroch, Ratcliff. "Generalized iterative scaling for log-linear models" 1972.

    Args:
        tolerance: largest |S̄_k − v_k| to stop at, a fraction; of a class below a hundred times that, a hundredth of its
            v_k, so that small structures are met, too. Defaults to 1e-4.
        max_iterations: of the fixed point; a warning tells when they did not do. Defaults to 100.
    """

    backend = [TransformBackends.TORCH]

    def __init__(self, tolerance: float = 1e-4, max_iterations: int = 100) -> None:
        self.tolerance = tolerance
        self.max_iterations = max_iterations

    def __call__(self, logits: torch.Tensor, size: torch.Tensor) -> torch.Tensor:
        """
        Args:
            logits: shape ``(B, K, *spatial)``.
            size: low and high ends of the fractions, shape ``(B, 2, K)``.

        Returns:
            soft labels, float32, shape ``(B, K, *spatial)``.
        """
        low, high = size.to(logits.device).unbind(dim=1)
        shape = (*low.shape, *(1,) * (logits.ndim - 2))
        absent = (high <= 0).reshape(shape)
        logits = logits.float().masked_fill(absent, ABSENT)
        bias = torch.zeros_like(low)
        miss = torch.tensor(torch.inf)
        for _ in range(self.max_iterations):
            log_average = log_average_softmax(logits + bias.reshape(shape))
            target = nearest_in_box(log_average, low, high).float()
            miss = (log_average.exp() - target).abs()
            if bool((miss <= (target / 100).clamp_max(self.tolerance)).all()):
                break
            bias = bias + torch.where(high > 0, target.clamp_min(1e-12).log() - log_average, 0.0)
        else:
            warnings.warn(
                f"after {self.max_iterations} iterations soft labels miss their size by {float(miss.max()):.2g} of the "
                "region.",
                stacklevel=2,
            )
        return (logits + bias.reshape(shape)).softmax(dim=1)


class SoftLabeld(Transform):
    """
    Add the soft labels that a teacher gives to a scan, shifted to the scan's size where one is known.

    Put it after the deterministic transforms, so that a cached dataset asks the teacher once for each scan.

    Args:
        network: the teacher, ``(B, C, *spatial)`` to logits ``(B, K, *spatial)``. It is kept in evaluation mode.
        num_classes: K, with the background.
        inferer: how to apply it to a whole scan: MONAI's ``SliceInferer`` for a 2D teacher. Default: at once.
        per_slice: the sizes are mm² in each slice along the last axis, else mm³ of the scan. Defaults to False.
        image_key: key of the scan, channel-first, as the teacher knows scans. Defaults to ``"image"``.
        size_key: key of the size, as :class:`SizeToFraction` takes it. An item may be without. Defaults to ``"size"``.
        soft_label_key: key of the result, shape ``(K, *spatial)``, float32. Defaults to ``"soft_label"``.
    """

    backend = [TransformBackends.TORCH]

    def __init__(
        self,
        network: nn.Module,
        num_classes: int,
        inferer: Inferer | None = None,
        per_slice: bool = False,
        image_key: str = "image",
        size_key: str = "size",
        soft_label_key: str = "soft_label",
    ) -> None:
        self.network = network.eval()
        self.num_classes = num_classes
        self.inferer = SimpleInferer() if inferer is None else inferer
        self.per_slice = per_slice
        self.image_key = image_key
        self.size_key = size_key
        self.soft_label_key = soft_label_key
        self.to_fraction = SizeToFraction(per_slice)
        self.shift = ShiftToSize()

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        image = d[self.image_key]
        with torch.no_grad():
            logits = self.inferer(image.as_tensor().unsqueeze(0), self.network)
        if logits.shape[1] != self.num_classes:
            raise ValueError(f"the teacher knows {logits.shape[1]} classes, the cohort has {self.num_classes}.")
        if self.per_slice:  # each slice is a region of its own
            logits = logits[0].movedim(-1, 0)
        if self.size_key in d:
            fraction = self.to_fraction(d[self.size_key], image)
            soft = self.shift(logits, fraction.movedim(-1, 0) if self.per_slice else fraction.unsqueeze(0))
        else:
            soft = logits.float().softmax(dim=1)
        soft = soft.movedim(0, -1) if self.per_slice else soft[0]
        d[self.soft_label_key] = MetaTensor(soft, meta=image.meta, applied_operations=image.applied_operations)
        return d


SoftLabelD = SoftLabelDict = SoftLabeld
