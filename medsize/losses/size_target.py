"""Size targets: the known relative sizes of the classes in a region."""

from __future__ import annotations

import torch

__all__ = ["TOLERANCE", "check_size_target", "merge_groups", "nearest_in_box"]

TOLERANCE = 1e-3
"""Largest error of a sum of fractions, as by rounding."""


def check_size_target(target: torch.Tensor, num_items: int, num_classes: int) -> torch.Tensor:
    """
    Check a size target and bring it into the interval form.

    Args:
        target: fractions ``(B, K)`` that sum to 1, or intervals ``(B, 2, K)`` whose low ends ``[:, 0]`` sum to at
            most 1 and whose high ends ``[:, 1]`` sum to at least 1.
        num_items: B.
        num_classes: K.

    Returns:
        intervals, shape ``(B, 2, K)``; both ends of an interval are equal where ``target`` was ``(B, K)``.

    Raises:
        TypeError: when ``target`` is not a tensor.
        ValueError: when the shape is wrong, or an item holds NaN, a negative fraction, a low end above its high end,
            or ends between which no distribution lies. The message names the item.
    """
    if not isinstance(target, torch.Tensor):
        raise TypeError(f"size target must be a torch.Tensor, got {type(target).__name__}.")
    if target.shape not in ((num_items, num_classes), (num_items, 2, num_classes)):
        raise ValueError(
            f"size target must have the shape (B, K) = {(num_items, num_classes)} or, for intervals, "
            f"(B, 2, K) = {(num_items, 2, num_classes)}, got {tuple(target.shape)}."
        )
    is_point = target.ndim == 2
    box = target.unsqueeze(1).expand(-1, 2, -1) if is_point else target
    low, high = box.detach().unbind(dim=1)
    not_finite = ~box.detach().isfinite().all(dim=-1).all(dim=-1)
    negative = (low < 0).any(dim=-1)
    reversed_ends = (low > high + TOLERANCE).any(dim=-1)
    not_normalised = (low.sum(dim=-1) > 1 + TOLERANCE) | (high.sum(dim=-1) < 1 - TOLERANCE)
    wrong = torch.stack([not_finite, negative, reversed_ends, not_normalised])
    if bool(wrong.any()):
        reason, item = (int(i) for i in wrong.nonzero()[0])
        sums = f"{float(low[item].sum()):.6g}"
        if not is_point:
            sums = f"low ends {sums}, high ends {float(high[item].sum()):.6g}"
        raise ValueError(
            f"size target of item {item} of the batch "
            + (
                "is not finite",
                "has a negative fraction",
                "has a low end above its high end",
                f"does not sum to 1 (sum: {sums})",
            )[reason]
            + f": {target[item].tolist()}."
        )
    return box


def nearest_in_box(log_fraction: torch.Tensor, low: torch.Tensor, high: torch.Tensor) -> torch.Tensor:
    """
    Find the distribution v in the box ``low ≤ v ≤ high`` that is nearest to S̄ in KL divergence.

    Both ``KL(v‖S̄)`` and ``KL(S̄‖v)`` are minimal at ``v_k = clip(c · S̄_k, low_k, high_k)``, where c makes v sum to 1
    (the stationarity condition of the Lagrangian). The sum is piecewise linear in c, so c is exact: the break points
    ``low_k/S̄_k`` and ``high_k/S̄_k`` give the piece, which is then solved.

    A class of unknown size has the box [0, 1]. The minimum then equals the KL divergence in which the unknown classes
    are merged into one (chain rule of the KL divergence).

    Args:
        log_fraction: ``ln S̄``, shape ``(B, K)``.
        low: lower ends, shape ``(B, K)``.
        high: upper ends, shape ``(B, K)``.

    Returns:
        v, shape ``(B, K)``, float64, without gradient (by the envelope theorem none is needed).
    """
    with torch.no_grad():
        log_s, low, high = log_fraction.double(), low.double(), high.double()
        log_breaks = torch.cat([low.log() - log_s, high.log() - log_s], dim=-1).sort(dim=-1).values
        totals = (log_breaks.unsqueeze(-1) + log_s.unsqueeze(1)).exp().clamp(low.unsqueeze(1), high.unsqueeze(1))
        piece = (totals.sum(dim=-1) < 1).sum(dim=-1, keepdim=True)
        last = log_breaks.shape[-1] - 1
        left = log_breaks.gather(-1, (piece - 1).clamp(0, last))
        right = log_breaks.gather(-1, piece.clamp(0, last))
        # Classes that are clipped nowhere on the piece share the rest.
        low_break, high_break = low.log() - log_s, high.log() - log_s
        free = (low_break <= left) & (high_break >= right) & (low < high)
        clipped = torch.where(high_break <= left, high, low)
        rest = 1 - clipped.masked_fill(free, 0).sum(dim=-1, keepdim=True)
        share = log_s.masked_fill(~free, -torch.inf)
        shared = (share - share.logsumexp(dim=-1, keepdim=True)).exp() * rest
        return torch.where(free, shared, clipped).clamp(low, high)


def merge_groups(
    log_fraction: torch.Tensor, target: torch.Tensor, count: torch.Tensor | None, group: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """
    Average S̄ over the items of each group, such as the slices of a volume, which share one target.

    Args:
        log_fraction: ``ln S̄`` of each item, shape ``(B, K)``.
        target: target of each item, the same within a group, shape ``(B, …)``.
        count: voxels of Ω in each item, shape ``(B,)``. ``None``: equally many.
        group: group of each item, integers of shape ``(B,)``.

    Returns:
        ``ln S̄`` of each group ``(G, K)`` and its target ``(G, …)``, in the order of the group numbers.

    Raises:
        ValueError: when ``group`` has a wrong shape, or the items of a group disagree in their targets.
    """
    if group.shape != log_fraction.shape[:1]:
        raise ValueError(f"group must have the shape (B,) = {tuple(log_fraction.shape[:1])}, got {tuple(group.shape)}.")
    ids, index = group.unique(return_inverse=True)
    member = index == torch.arange(len(ids), device=group.device).unsqueeze(-1)
    first = member.long().argmax(dim=-1)
    merged_target = target[first]
    if not torch.allclose(merged_target[index], target, equal_nan=True):
        raise ValueError("items of one group must share one size target, but the targets of a group differ.")
    weight = torch.ones_like(log_fraction[:, 0]) if count is None else count.to(log_fraction)
    log_weight = weight.log().masked_fill(~member, -torch.inf)
    log_weight = log_weight - log_weight.logsumexp(dim=-1, keepdim=True)
    return (log_weight.unsqueeze(-1) + log_fraction).logsumexp(dim=1), merged_target
