"""Agreement of the predictions for two views of a scan."""

from __future__ import annotations

import torch

from medsize.losses.reduced_loss import ReducedLoss

__all__ = ["AgreementLoss"]


class AgreementLoss(ReducedLoss):
    """
    Probability that two views of a scan put a voxel into different classes:

        L = 1 − 1/|Ω| · Σ_p S_p · S'_p,

    with S' the prediction for the other view, brought back onto the grid of the first.

    An organ that is shifted, or painted to one side of the truth, still meets the size and Potts terms: a half moon has
    a shorter boundary than a ring. A network that does so in every view disagrees with itself. The bilinear form also
    penalises indecision, as :class:`medsize.losses.PottsLoss` does.

    Args:
        reduction: {``"none"``, ``"mean"``, ``"sum"``}. Reduction over the items. Defaults to ``"mean"``.

    Raises:
        ValueError: when ``reduction`` is not one of these.

    Examples:
        >>> import torch
        >>> from medsize.losses import AgreementLoss
        >>> sure = torch.tensor([30.0, -30.0]).view(1, 2, 1, 1).expand(1, 2, 8, 8)
        >>> AgreementLoss()(sure, sure).item(), AgreementLoss()(sure, -sure).item()
        (0.0, 1.0)
    """

    def forward(self, logits: torch.Tensor, other: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """
        Compute the disagreement of two views.

        Args:
            logits: network output without activation, shape ``(B, K, *spatial)``.
            other: network output for the other view, on the same grid, ``(B, K, *spatial)``.
            mask: voxels that belong to Ω (non-zero), shape ``(B, 1, *spatial)``. Default: all of them.

        Returns:
            the loss: a scalar, or for ``reduction="none"`` shape ``(B,)``.

        Raises:
            ValueError: when the shapes differ.
        """
        if logits.shape != other.shape:
            raise ValueError(f"two views must have one shape, got {tuple(logits.shape)} and {tuple(other.shape)}.")
        differs = 1 - (logits.float().softmax(dim=1) * other.float().softmax(dim=1)).sum(dim=1).flatten(1)
        if mask is None:
            return self.reduced(differs.mean(dim=-1))
        inside = (mask != 0).flatten(1)
        return self.reduced((differs * inside).sum(dim=-1) / inside.sum(dim=-1).clamp_min(1))
