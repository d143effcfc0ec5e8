"""Soft labels from a teacher, shifted to meet the known size of a scan."""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from monai.data import MetaTensor
from monai.inferers import Inferer, SimpleInferer
from monai.transforms import Transform
from monai.utils import TransformBackends
from torch import nn

from medsize.items import SIZE_KEYS, is_per_slice, size_key
from medsize.losses.size_target import nearest_in_box
from medsize.transforms.size_to_fraction import to_fraction

__all__ = ["ABSENT", "ShiftToSize", "SoftLabelD", "SoftLabelDict", "SoftLabeld", "meet_size"]

ABSENT = -1e4
"""Logit whose softmax is 0 in float32. −∞ would make the target NaN, as differences of it are not defined."""
BACKTRACKS = 8
ROUNDING = 1e-6
"""Part of the height to climb that a step may lose by the rounding of float32."""


class ShiftToSize(Transform):
    """
    Shift of the class biases by which the average softmax of a region equals its size target.

    With one bias b_k for each class, S = softmax(z + b). The b is sought that makes the average S̄ equal the target v:
    of all S with these averages, this one is nearest to softmax(z) in KL divergence. It maximises the concave function
    b · v − mean ln Σ exp(z + b), with the gradient v − S̄ and the Hessian mean S Sᵀ − diag(S̄). Newton's method with
    backtracking finds it. A class of size 0 gets probability 0; a class of unknown size is left as predicted.

    Source: Darroch, Ratcliff. "Generalized iterative scaling for log-linear models" 1972 (the problem); Boyd,
    Vandenberghe. "Convex Optimization" 2004, chapter 9.5 (the method).

    Args:
        tolerance: largest |S̄_k − v_k| to stop at, a fraction. For a class below a hundred times that, it is a hundredth
            of v_k, so that small structures meet theirs, too. Defaults to 1e-4.
        max_iterations: limit for Newton's method; a warning is given when it is reached. Defaults to 50.
    """

    backend = [TransformBackends.TORCH]

    def __init__(self, tolerance: float = 1e-4, max_iterations: int = 50) -> None:
        self.tolerance = tolerance
        self.max_iterations = max_iterations

    def __call__(self, logits: torch.Tensor, size: torch.Tensor) -> torch.Tensor:
        """
        Shift logits to their size.

        Args:
            logits: shape ``(B, K, *spatial)``.
            size: low and high ends of the fractions, shape ``(B, 2, K)``.

        Returns:
            soft labels, float32, shape ``(B, K, *spatial)``.

        Raises:
            ValueError: when the shapes do not fit each other.
        """
        if logits.ndim < 3 or size.shape != (logits.shape[0], 2, logits.shape[1]):
            raise ValueError(
                "logits must have the shape (B, K, *spatial) and size the shape (B, 2, K), got "
                f"{tuple(logits.shape)} and {tuple(size.shape)}."
            )
        low, high = size.to(logits.device).unbind(dim=1)
        z = logits.float().flatten(2).masked_fill((high <= 0).unsqueeze(-1), ABSENT)
        bias = torch.zeros_like(z[..., 0])
        soft, average, log_sum = _averages(z, bias)
        for steps_left in range(self.max_iterations, -1, -1):
            target = nearest_in_box(average.clamp_min(1e-30).log(), low, high).float()
            miss = target - average
            if bool((miss.abs() <= (target / 100).clamp_max(self.tolerance)).all()):
                break
            if not steps_left:
                warnings.warn(
                    f"after {self.max_iterations} iterations soft labels miss their size by "
                    f"{float(miss.abs().max()):.2g} of the region.",
                    stacklevel=2,
                )
                break
            step = _newton_step(soft, average, miss)
            height, slope = (bias * target).sum(1) - log_sum, (step * miss).sum(1)
            rate = torch.ones_like(average[:, 0])
            for _ in range(BACKTRACKS):
                trial = bias + rate.unsqueeze(1) * step
                soft, average, log_sum = _averages(z, trial)
                too_far = (trial * target).sum(1) - log_sum < height + 1e-4 * rate * slope - ROUNDING
                if not too_far.any():
                    break
                rate = torch.where(too_far, rate / 3, rate)
            bias = trial
        return soft.reshape(logits.shape)


def _averages(z: torch.Tensor, bias: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the softmax ``(B, K, N)`` of the shifted logits, its averages ``(B, K)`` and mean ln Σ exp ``(B,)``."""
    z = z + bias.unsqueeze(-1)
    log_sum = z.logsumexp(dim=1, keepdim=True)
    soft = (z - log_sum).exp()
    return soft, soft.mean(dim=2), log_sum.flatten(1).mean(dim=1, dtype=torch.float64)


def _newton_step(soft: torch.Tensor, average: torch.Tensor, miss: torch.Tensor) -> torch.Tensor:
    """Return the Newton step of the biases ``(B, K)``, 10 at most, for averages that miss their size."""
    second = torch.einsum("bkn,bjn->bkj", soft, soft).double() / soft.shape[2]
    # A little is added to the curvature, which is singular: equal biases of all classes change nothing.
    curvature = torch.diag_embed((1 + 1e-5) * average.double() + 1e-12) - second
    step = torch.linalg.solve(curvature, miss.double().unsqueeze(-1)).squeeze(-1)
    step = (step - step.mean(dim=1, keepdim=True)).float()
    return step * (10 / step.abs().amax(dim=1, keepdim=True).clamp_min(10))


def meet_size(
    logits: torch.Tensor,
    item: Mapping[Hashable, Any],
    image: MetaTensor,
    shift: ShiftToSize,
    size_keys: Sequence[str] = SIZE_KEYS,
) -> torch.Tensor:
    """
    Return the soft label of a scan, shifted to the size that its item has, if any.

    Args:
        logits: shape ``(K, *spatial)``.
        item: item with one of ``size_keys`` or none; of a size of slices, each slice is shifted to its own. With masks
            of organs, its ``region``, a structure is within its organ only, and the background around all organs.
        image: the scan, channel-first.
        shift: transform that shifts.
        size_keys: see :class:`SoftLabeld`.

    Returns:
        probabilities, float32, shape ``(K, *spatial)``.
    """
    key = size_key(item, size_keys)
    if "region" in item:
        size = None if key is None else to_fraction(key, item[key], image, item["region"])
        return _within_organs(logits.float(), item["region"].as_subclass(torch.Tensor) != 0, size, shift)
    if key is None:
        return logits.float().softmax(dim=0)
    fraction = to_fraction(key, item[key], image)
    if is_per_slice(key):  # each slice is a region of its own
        return shift(logits.movedim(-1, 0), fraction.movedim(-1, 0)).movedim(0, -1)
    return shift(logits.unsqueeze(0), fraction.unsqueeze(0))[0]


def _within_organs(
    logits: torch.Tensor, organs: torch.Tensor, size: torch.Tensor | None, shift: ShiftToSize
) -> torch.Tensor:
    """
    Return the soft label of a scan whose structures lie in organs.

    Args:
        logits: shape ``(K, *spatial)``.
        organs: organ of each structure, bool, shape ``(K − 1, *spatial)``.
        size: fractions of the organs, ``(2, K)`` or, of slices, ``(2, K, Z)``; ``None`` if unknown.
        shift: transform that shifts.
    """
    possible = torch.cat([torch.ones_like(organs[:1]), organs])
    logits = logits.masked_fill(~possible, ABSENT)
    soft = logits.softmax(dim=0)
    if size is None:
        return soft
    inside = organs.any(dim=0)
    if size.ndim == 2:
        soft[:, inside] = shift(logits[:, inside].unsqueeze(0), size.unsqueeze(0))[0]
        return soft
    for z in inside.flatten(0, -2).any(dim=0).nonzero().flatten().tolist():
        of_slice = inside[..., z]
        soft[..., z][:, of_slice] = shift(logits[..., z][:, of_slice].unsqueeze(0), size[..., z].unsqueeze(0))[0]
    return soft


class SoftLabeld(Transform):
    """
    Soft labels that a teacher gives to a scan, shifted to the scan's size where it is known.

    Put it after the deterministic transforms, so that a cached dataset asks the teacher once for each scan.

    Args:
        network: the teacher, ``(B, C, *spatial)`` to logits ``(B, K, *spatial)``. It is kept in evaluation mode.
        num_classes: K, with the background.
        inferer: applies it to a whole scan, such as MONAI's ``SliceInferer`` for a 2D teacher. Default: all at once.
        image_key: key of the scan, channel-first, prepared as for the teacher's training. Defaults to ``"image"``.
        size_keys: keys of the size, as :class:`medsize.transforms.SizeToFractiond` takes them; each slice is shifted
            to its own ``slice_area_mm2``. An item has one or none. Defaults to ``("volume_mm3", "slice_area_mm2")``.
        soft_label_key: key of the result, shape ``(K, *spatial)``, float32. Defaults to ``"soft_label"``.
    """

    backend = [TransformBackends.TORCH]

    def __init__(
        self,
        network: nn.Module,
        num_classes: int,
        inferer: Inferer | None = None,
        image_key: str = "image",
        size_keys: Sequence[str] = SIZE_KEYS,
        soft_label_key: str = "soft_label",
    ) -> None:
        self.network = network.eval()
        self.num_classes = num_classes
        self.inferer = SimpleInferer() if inferer is None else inferer
        self.image_key = image_key
        self.size_keys = tuple(size_keys)
        self.soft_label_key = soft_label_key
        self.shift = ShiftToSize()

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        image = d[self.image_key]
        with torch.no_grad():
            logits = self.inferer(image.as_tensor().unsqueeze(0), self.network)
        if logits.shape[1] != self.num_classes:
            raise ValueError(f"the teacher knows {logits.shape[1]} classes, the cohort has {self.num_classes}.")
        soft = meet_size(logits[0], d, image, self.shift, self.size_keys)
        d[self.soft_label_key] = MetaTensor(soft, meta=image.meta, applied_operations=image.applied_operations)
        return d


SoftLabelD = SoftLabelDict = SoftLabeld
