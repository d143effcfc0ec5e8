"""The average softmax over a region: the predicted relative size of each class."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch.autograd.function import once_differentiable

__all__ = ["log_average_softmax"]

LOWEST = -60.0
"""ln S̄ below which the softmax of a voxel may underflow in float32."""

ELEMENTS_IN_CACHE = 2**18
"""Logits at a time on a CPU, for each thread: 1 MiB in float32, about a core's second cache."""

ELEMENTS_AT_ONCE = 2**26
"""Logits at a time elsewhere, where each computation is costly to start."""


def log_average_softmax(logits: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
    """
    Return the logarithm of S̄, the softmax averaged over the voxels of a region Ω.

    It is computed in float32 at least, also when the logits come from an autocast region: half precision loses small
    organs. A class keeps its gradient however small its S̄ is, as long as it is above zero. First derivatives only.

    Args:
        logits: network output without activation, shape ``(B, K, *spatial)``.
        mask: the voxels that belong to Ω (non-zero), shape ``(B, 1, *spatial)``. Default: all of them.

    Returns:
        ``ln S̄``, shape ``(B, K)``.

    Raises:
        ValueError: when ``logits`` has no spatial dimension or no voxel, ``mask`` does not fit it, or ``mask`` holds no
            voxel.
    """
    if logits.ndim < 3 or not logits.numel():
        raise ValueError(f"logits must have the shape (B, K, *spatial), none of them 0, got {tuple(logits.shape)}.")
    if mask is None:
        inside = None
    elif mask.shape != (logits.shape[0], 1, *logits.shape[2:]):
        raise ValueError(
            f"mask must have the shape (B, 1, *spatial) = {(logits.shape[0], 1, *logits.shape[2:])}, "
            f"got {tuple(mask.shape)}."
        )
    else:
        inside = mask.flatten(2) != 0
        empty = ~inside.flatten(1).any(dim=-1)
        if bool(empty.any()):
            raise ValueError(f"mask of item {int(empty.nonzero()[0])} holds no voxel: its Ω is empty.")
    result: torch.Tensor = _LogAverageSoftmax.apply(logits.flatten(2), inside)
    if bool((result < LOWEST).any()):
        return _by_logarithms(logits.flatten(2), inside)
    return result


class _LogAverageSoftmax(torch.autograd.Function):
    """
    Logarithm of the average softmax, some voxels at a time.

    Neither pass copies the logits, and the softmax of each part fits the processor's cache. The gradient is
    ∂L/∂z_p^k = S_p^k · (c_k − Σ_j c_j S_p^j), with c_k = (∂L/∂ln S̄_k) / (|Ω| · S̄_k).
    """

    @staticmethod
    def forward(ctx: Any, logits: torch.Tensor, inside: torch.Tensor | None) -> torch.Tensor:
        num_items, num_classes, num_voxels = logits.shape
        dtype = torch.promote_types(logits.dtype, torch.float32)
        total = torch.zeros(num_items, num_classes, dtype=torch.float64, device=logits.device)
        for part, outside, _ in _parts(logits, inside, logits):
            softmax = part.softmax(dim=1, dtype=dtype)
            total += (softmax if outside is None else softmax.masked_fill_(outside, 0.0)).sum(
                dim=-1, dtype=torch.float64
            )
        count = num_voxels if inside is None else inside.sum(dim=-1)
        log_average = (total / count).log().to(dtype)
        ctx.save_for_backward(logits, inside, log_average)
        return log_average

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        logits, inside, log_average = ctx.saved_tensors
        count = logits.shape[-1] if inside is None else inside.sum(dim=-1)
        slope = (gradient / count / log_average.exp()).unsqueeze(-1)
        result = torch.empty_like(logits)
        for part, outside, here in _parts(logits, inside, result):
            softmax = part.softmax(dim=1, dtype=slope.dtype)
            term = softmax * slope
            term.addcmul_(softmax, term.sum(dim=1, keepdim=True), value=-1)
            here.copy_(term if outside is None else term.masked_fill_(outside, 0.0))
        return result, None


def _parts(
    logits: torch.Tensor, inside: torch.Tensor | None, result: torch.Tensor
) -> Iterator[tuple[torch.Tensor, torch.Tensor | None, torch.Tensor]]:
    """Yield some voxels at a time: of the logits, of the mask of voxels outside Ω, and of the result."""
    num_items, num_classes, num_voxels = logits.shape
    on_cpu = logits.device.type == "cpu"
    elements = ELEMENTS_IN_CACHE * torch.get_num_threads() if on_cpu else ELEMENTS_AT_ONCE
    step = max(elements // (num_items * num_classes), 1)
    for start in range(0, num_voxels, step):
        part = slice(start, start + step)
        yield logits[..., part], None if inside is None else ~inside[..., part], result[..., part]


def _by_logarithms(logits: torch.Tensor, inside: torch.Tensor | None) -> torch.Tensor:
    """Return ln S̄ by log-mean-exp of the log-softmax: it copies the logits, but holds where a softmax underflows."""
    log_softmax = logits.to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(dim=1)
    if inside is None:
        # logsumexp − ln|Ω| would lose a float32's last digits to the difference of two large logarithms.
        highest = log_softmax.detach().amax(dim=-1, keepdim=True)
        return (log_softmax - highest).exp_().mean(dim=-1).log() + highest.squeeze(-1)
    highest = log_softmax.detach().masked_fill(~inside, -torch.inf).amax(dim=-1, keepdim=True)
    relative = (log_softmax - highest).masked_fill(~inside, -torch.inf).exp_()
    return (relative.sum(dim=-1) / inside.sum(dim=-1)).log() + highest.squeeze(-1)
