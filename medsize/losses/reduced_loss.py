"""Base of the losses that have one value for each item."""

from __future__ import annotations

import torch
from monai.utils import LossReduction
from torch.nn.modules.loss import _Loss

__all__ = ["ReducedLoss"]


class ReducedLoss(_Loss):
    """
    Base of a loss with one value for each item, reduced to a scalar on request.

    Args:
        reduction: {``"none"``, ``"mean"``, ``"sum"``}. Reduction over the items. Defaults to ``"mean"``.

    Raises:
        ValueError: when ``reduction`` is not one of these.
    """

    def __init__(self, reduction: LossReduction | str = LossReduction.MEAN) -> None:
        super().__init__(reduction=LossReduction(reduction).value)

    def reduced(self, values: torch.Tensor) -> torch.Tensor:
        """
        Reduce the items' values.

        Args:
            values: one for each item, shape ``(B,)``.

        Returns:
            a scalar, or for ``reduction="none"`` the values.
        """
        if self.reduction == LossReduction.MEAN.value:
            return values.mean()
        if self.reduction == LossReduction.SUM.value:
            return values.sum()
        return values
