"""Sizes that are known within bounds, as what a network learns from."""

from __future__ import annotations

import torch

__all__ = ["WIDEST", "middle_of_estimates"]

WIDEST = 10.0
"""Largest upper over lower end of an interval that is taken for an estimate, not for bounds such as presence alone."""


def middle_of_estimates(size: torch.Tensor, widest: float = WIDEST) -> torch.Tensor:
    """
    Return intervals with those that are estimates replaced by their middle.

    A loss that is 0 within an interval lets predictions shrink to its lower end, and small structures vanish. From
    volumes of point counting, Dice of three structures of the heart was 0.43 with the intervals, and 0.66 with their
    middles. Errors around a middle average out.

    Args:
        size: low and high ends, ``(2, …)``.
        widest: largest upper over lower end of an estimate. Defaults to 10.

    Returns:
        low and high ends, likewise; equal for estimates.
    """
    low, high = size
    is_estimate = (low > 0) & (high <= widest * low)
    middle = (low + high) / 2
    return torch.stack([torch.where(is_estimate, middle, end) for end in (low, high)])
