"""Published alternatives to the size KL loss, called alike, for like-for-like comparison."""

from __future__ import annotations

import math

import torch
from monai.utils import LossReduction

from medsize.losses.size_loss import SizeLoss
from medsize.losses.size_target import nearest_in_box

__all__ = ["LogBarrierSizeLoss", "QuadraticSizeLoss", "ReverseKLSizeLoss", "SizeL1Loss", "SizeL2Loss"]


class _BoundedSizeLoss(SizeLoss):
    """Base of the losses that keep the size between bounds, a relative ``tolerance`` around the target's ends."""

    def __init__(self, tolerance: float = 0.1, reduction: LossReduction | str = LossReduction.MEAN) -> None:
        super().__init__(reduction=reduction)
        if not 0 <= tolerance < 1:
            raise ValueError(f"tolerance must lie in [0, 1), got {tolerance}.")
        self.tolerance = tolerance

    def bounds(self, low: torch.Tensor, high: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return low * (1 - self.tolerance), high * (1 + self.tolerance)


class QuadraticSizeLoss(_BoundedSizeLoss):
    """
    Quadratic penalty on sizes outside bounds, summed over the classes:
    (S̄_k − a_k)² where S̄_k < a_k, (S̄_k − b_k)² where S̄_k > b_k, else 0.

    Source: Kervadec et al. "Constrained-CNN losses for weakly supervised segmentation". Medical Image Analysis 2019.
    There sizes are counted in voxels; here they are fractions of Ω, the same up to the factor |Ω|².

    Args:
        tolerance: bounds are ``(1 ∓ tolerance)`` times the target's low and high ends. Defaults to 0.1.
        reduction: {``"none"``, ``"mean"``, ``"sum"``}. Reduction over the items. Defaults to ``"mean"``.

    Raises:
        ValueError: when ``tolerance`` is not in [0, 1).
    """

    def divergence(self, log_fraction: torch.Tensor, low: torch.Tensor, high: torch.Tensor) -> torch.Tensor:
        fraction = log_fraction.exp()
        lower, upper = self.bounds(low, high)
        return ((lower - fraction).relu() + (fraction - upper).relu()).square().sum(dim=-1)


class LogBarrierSizeLoss(_BoundedSizeLoss):
    """
    Log-barrier extension of the bounds on sizes, summed over the classes and both bounds z = a_k − S̄_k, S̄_k − b_k ≤ 0:
    ψ(z) = −ln(−z)/t where z ≤ −1/t², else t·z − ln(1/t²)/t + 1/t.

    Source: Kervadec et al. "Constrained deep networks: Lagrangian optimization via log-barrier extensions".
    arXiv 1904.04205 (2019), EUSIPCO 2022. There t grows during training, from 5 by a factor 1.1 an epoch:
    schedule :attr:`t` with ``monai.handlers.ParamSchedulerHandler`` (``value_calculator: exponential``).

    Args:
        t: sharpness of the barrier. Defaults to 5.
        tolerance: bounds are ``(1 ∓ tolerance)`` times the target's low and high ends. Defaults to 0.1.
        reduction: {``"none"``, ``"mean"``, ``"sum"``}. Reduction over the items. Defaults to ``"mean"``.

    Raises:
        ValueError: when ``t`` is not positive or ``tolerance`` is not in [0, 1).
    """

    def __init__(
        self, t: float = 5.0, tolerance: float = 0.1, reduction: LossReduction | str = LossReduction.MEAN
    ) -> None:
        super().__init__(tolerance=tolerance, reduction=reduction)
        if t <= 0:
            raise ValueError(f"t must be positive, got {t}.")
        self.t = t

    def divergence(self, log_fraction: torch.Tensor, low: torch.Tensor, high: torch.Tensor) -> torch.Tensor:
        fraction = log_fraction.exp()
        lower, upper = self.bounds(low, high)
        z = torch.stack([lower - fraction, fraction - upper])
        knee = -1 / self.t**2
        barrier = -z.clamp(max=knee).neg().log() / self.t
        linear = self.t * z + 2 * math.log(self.t) / self.t + 1 / self.t
        return torch.where(z <= knee, barrier, linear).sum(dim=-1).sum(dim=0)


class ReverseKLSizeLoss(SizeLoss):
    """
    Reverse KL divergence, Σ_k S̄_k · ln(S̄_k / v_k).

    It is infinite wherever a class with v_k = 0 is predicted at all, so v is kept at or above ``floor``. For intervals
    it is the minimum over the distributions between the ends.

    Args:
        floor: smallest target fraction. Defaults to 1e-4.
        reduction: {``"none"``, ``"mean"``, ``"sum"``}. Reduction over the items. Defaults to ``"mean"``.

    Raises:
        ValueError: when ``floor`` is not in (0, 0.01].
    """

    def __init__(self, floor: float = 1e-4, reduction: LossReduction | str = LossReduction.MEAN) -> None:
        super().__init__(reduction=reduction)
        if not 0 < floor <= 0.01:
            raise ValueError(f"floor must lie in (0, 0.01], got {floor}.")
        self.floor = floor

    def divergence(self, log_fraction: torch.Tensor, low: torch.Tensor, high: torch.Tensor) -> torch.Tensor:
        target = low if high is low else nearest_in_box(log_fraction, low, high).to(log_fraction)
        target = target.clamp_min(self.floor)
        target = target / target.sum(dim=-1, keepdim=True)
        return (log_fraction.exp() * (log_fraction - target.log())).sum(dim=-1)


class SizeL1Loss(SizeLoss):
    """
    Absolute difference of fractions, Σ_k |S̄_k − v_k|; for intervals, the distance to them.

    Args:
        reduction: {``"none"``, ``"mean"``, ``"sum"``}. Reduction over the items. Defaults to ``"mean"``.
    """

    def divergence(self, log_fraction: torch.Tensor, low: torch.Tensor, high: torch.Tensor) -> torch.Tensor:
        fraction = log_fraction.exp()
        return ((low - fraction).relu() + (fraction - high).relu()).sum(dim=-1)


class SizeL2Loss(SizeLoss):
    """
    Squared difference of fractions, Σ_k (S̄_k − v_k)²; for intervals, the squared distance to them.

    Args:
        reduction: {``"none"``, ``"mean"``, ``"sum"``}. Reduction over the items. Defaults to ``"mean"``.
    """

    def divergence(self, log_fraction: torch.Tensor, low: torch.Tensor, high: torch.Tensor) -> torch.Tensor:
        fraction = log_fraction.exp()
        return ((low - fraction).relu() + (fraction - high).relu()).square().sum(dim=-1)
