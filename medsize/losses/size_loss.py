"""Base of the losses that compare the average softmax of a region with a size target."""

from __future__ import annotations

from abc import abstractmethod

import torch

from medsize.losses.average_softmax import log_average_softmax
from medsize.losses.reduced_loss import ReducedLoss
from medsize.losses.size_target import check_size_target, merge_groups

__all__ = ["SizeLoss"]


class SizeLoss(ReducedLoss):
    """
    Loss of the predicted relative sizes S̄ alone; subclasses define it by :meth:`divergence`.

    All subclasses are called alike, so that one can replace another in a config.

    Args:
        reduction: {``"none"``, ``"mean"``, ``"sum"``}. Reduction over the items (or groups). Defaults to ``"mean"``.

    Raises:
        ValueError: when ``reduction`` is not one of these.
    """

    def forward(
        self,
        logits: torch.Tensor,
        target: torch.Tensor,
        mask: torch.Tensor | None = None,
        known: torch.Tensor | None = None,
        group: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """
        Compare the average softmax of a region with its size target.

        Args:
            logits: network output without activation, shape ``(B, K, *spatial)``.
            target: size target, as fractions of Ω: ``(B, K)``, summing to 1; or, where only bounds are known,
                ``(B, 2, K)``, the low ends in ``target[:, 0]`` and the high ends in ``target[:, 1]``.
            mask: voxels that belong to Ω (non-zero), shape ``(B, 1, *spatial)``. Default: all of them.
            known: classes whose size the target states, bool, shape ``(K,)`` or ``(B, K)``. The others are merged with
                the background, and their entries in ``target`` count for that merged class. Default: all known.
            group: integers of shape ``(B,)``. Items of one group (the slices of a volume) share one target, and S̄ is
                averaged over all of them. Default: every item for itself.

        Returns:
            the loss: a scalar, or for ``reduction="none"`` shape ``(B,)`` (``(G,)`` with G groups).

        Raises:
            TypeError: when ``target`` is not a tensor.
            ValueError: when ``target`` is not a size target (the message names the item), ``known`` has a wrong shape,
                ``mask`` does not fit or is empty, or the targets of one group differ.
        """
        num_items, num_classes = logits.shape[:2]
        check_size_target(target, num_items, num_classes)
        count = None if group is None or mask is None else (mask != 0).flatten(1).sum(dim=-1)
        return self.of_log_fraction(log_average_softmax(logits, mask), target, count, known, group)

    def of_log_fraction(
        self,
        log_fraction: torch.Tensor,
        target: torch.Tensor,
        count: torch.Tensor | None = None,
        known: torch.Tensor | None = None,
        group: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """
        Compute the loss where S̄ is known already, as for a region that the network sees in parts.

        Args:
            log_fraction: ``ln S̄`` of each item, see :func:`medsize.losses.log_average_softmax`, shape ``(B, K)``.
            target: as for the call.
            count: voxels of each item's Ω, shape ``(B,)``: the weights of the items of a group. Default: equally many.
            known: as for the call.
            group: as for the call.

        Returns:
            the loss: a scalar, or for ``reduction="none"`` shape ``(B,)`` (``(G,)`` with G groups).

        Raises:
            TypeError: when ``target`` is not a tensor.
            ValueError: when ``target`` is not a size target (the message names the item), ``known`` has a wrong shape,
                or the targets of one group differ.
        """
        box = check_size_target(target, *log_fraction.shape)
        if group is not None:
            if known is not None and known.ndim == 2:
                known = merge_groups(log_fraction, known.to(log_fraction), count, group)[1].bool()
            log_fraction, box = merge_groups(log_fraction, box, count, group)
        box = box.to(log_fraction)
        if known is not None:
            box = _widen_unknown(box, known.to(box.device))
        low, high = box.unbind(dim=1)
        if target.ndim == 2 and known is None:
            high = low  # the same tensor: an exact target needs no search for the nearest distribution
        return self.reduced(self.divergence(log_fraction, low, high))

    @abstractmethod
    def divergence(self, log_fraction: torch.Tensor, low: torch.Tensor, high: torch.Tensor) -> torch.Tensor:
        """
        Compare S̄ with the target.

        Args:
            log_fraction: ``ln S̄``, shape ``(B, K)``.
            low: lower ends of the target, shape ``(B, K)``.
            high: upper ends, shape ``(B, K)``; the same tensor as ``low`` where the target is a distribution.

        Returns:
            the loss of each item, shape ``(B,)``.
        """
        raise NotImplementedError(f"Subclass {type(self).__name__} must implement this method.")


def _widen_unknown(box: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """Give the unknown classes and the background the box [0, 1]: their split is free, their sum is not."""
    num_items, _, num_classes = box.shape
    if known.shape not in ((num_classes,), (num_items, num_classes)):
        raise ValueError(
            f"known must have the shape (K,) = {(num_classes,)} or (B, K) = {(num_items, num_classes)}, "
            f"got {tuple(known.shape)}."
        )
    free = ~known.bool().expand(num_items, -1).clone()
    free[:, 0] |= free.any(dim=-1)
    low, high = box.unbind(dim=1)
    return torch.stack([low.masked_fill(free, 0.0), high.masked_fill(free, 1.0)], dim=1)
