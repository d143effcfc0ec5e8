"""The average softmax over a region: the predicted relative size of each class."""

from __future__ import annotations

import torch

__all__ = ["log_average_softmax"]


def log_average_softmax(logits: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
    """
    Logarithm of S̄, the softmax averaged over the voxels of a region Ω.

    It is the log-mean-exp over the voxels of the log-softmax over the classes, in float32 at least (also when the
    logits come from an autocast region): in half precision the average loses small organs.

    Args:
        logits: network output without activation, shape ``(B, K, *spatial)``.
        mask: the voxels that belong to Ω (non-zero), shape ``(B, 1, *spatial)``. Default: all of them.

    Returns:
        ``ln S̄``, shape ``(B, K)``.

    Raises:
        ValueError: when ``logits`` has no spatial dimension, ``mask`` does not fit it, or ``mask`` holds no voxel.
    """
    if logits.ndim < 3:
        raise ValueError(f"logits must have the shape (B, K, *spatial), got {tuple(logits.shape)}.")
    log_softmax = logits.to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(dim=1).flatten(2)
    if mask is None:
        # logsumexp − ln|Ω| would lose a float32's last digits to the difference of two large logarithms.
        highest = log_softmax.detach().amax(dim=-1, keepdim=True)
        return (log_softmax - highest).exp_().mean(dim=-1).log() + highest.squeeze(-1)
    if mask.shape != (logits.shape[0], 1, *logits.shape[2:]):
        raise ValueError(
            f"mask must have the shape (B, 1, *spatial) = {(logits.shape[0], 1, *logits.shape[2:])}, "
            f"got {tuple(mask.shape)}."
        )
    inside = mask.flatten(2) != 0
    count = inside.sum(dim=-1)
    if bool((count == 0).any()):
        raise ValueError(f"mask of item {int((count == 0).flatten().nonzero()[0])} holds no voxel: its Ω is empty.")
    highest = log_softmax.detach().masked_fill(~inside, -torch.inf).amax(dim=-1, keepdim=True)
    relative = (log_softmax - highest).masked_fill(~inside, -torch.inf).exp_()
    return (relative.sum(dim=-1) / count).log() + highest.squeeze(-1)
