"""The zero-avoiding (forward) KL divergence from the size target to the average prediction."""

from __future__ import annotations

import torch

from medsize.losses.size_loss import SizeLoss
from medsize.losses.size_target import nearest_in_box

__all__ = ["SizeKLLoss"]


class SizeKLLoss(SizeLoss):
    """
    KL divergence from a size target v to the average softmax S̄ of a region Ω.

        L = KL(v ‖ S̄) = Σ_k v_k · ln(v_k / S̄_k),    S̄ = 1/|Ω| · Σ_{p∈Ω} softmax(logits_p),

    with 0·ln 0 = 0. Its gradient with respect to the logit of class k at voxel p is
    S_p^k · (Σ_j v_j S_p^j / S̄_j − v_k / S̄_k) / |Ω|.

    For intervals (target of shape ``(B, 2, K)``) it is the minimum of KL(v‖S̄) over the distributions v between the
    low and the high ends: zero where S̄ itself lies between them.

    A uniform prediction S_p ≡ v has zero loss. Combine it with :class:`medsize.losses.PottsLoss`, which penalises such
    a prediction. Nor do sizes say where an organ is: start from pretrained features, or add clicks or a few masks.

    Source: Fan, Zhang, Boykov. "Approximate Size Targets Are Sufficient for Accurate Semantic Segmentation".
    arXiv 2503.06954.

    Args:
        reduction: {``"none"``, ``"mean"``, ``"sum"``}. Reduction over the items. Defaults to ``"mean"``.

    Examples:
        >>> import torch
        >>> from medsize.losses import SizeKLLoss
        >>> logits = torch.zeros(1, 2, 8, 8)  # S̄ = (0.5, 0.5)
        >>> round(SizeKLLoss()(logits, torch.tensor([[0.9, 0.1]])).item(), 4)
        0.3681
        >>> between = torch.tensor([[[0.4, 0.3], [0.7, 0.6]]])  # low ends, high ends
        >>> SizeKLLoss()(logits, between).item()
        0.0
    """

    def divergence(self, log_fraction: torch.Tensor, low: torch.Tensor, high: torch.Tensor) -> torch.Tensor:
        target = low if high is low else nearest_in_box(log_fraction, low, high).to(log_fraction)
        return (torch.xlogy(target, target) - target * log_fraction).sum(dim=-1)
