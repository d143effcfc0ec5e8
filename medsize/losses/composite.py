"""One loss for any mix of size targets, scribbles, clicks, masks and a teacher's soft labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import get_type_hints

import torch
from monai.losses import DiceCELoss
from torch import nn
from torch.nn import functional as F
from torch.nn.modules.loss import _Loss

from medsize.items import Targets
from medsize.losses.agreement import AgreementLoss
from medsize.losses.potts import PottsLoss
from medsize.losses.size_kl import SizeKLLoss
from medsize.losses.size_loss import SizeLoss
from medsize.suggest import closest_or_all

__all__ = ["IGNORE_INDEX", "CompositeLoss"]

IGNORE_INDEX = 255
"""Label of unlabelled voxels."""
CERTAIN = 30.0
"""Logit whose softmax is 1 in float32, beside others of 0."""
TARGET_KEYS = tuple(get_type_hints(Targets))
LABEL_KEYS = ("fraction", "scribble", "label", "soft_label")


class CompositeLoss(_Loss):
    """
    Weighted sum of the terms for any mix of labels.

    The terms are a size loss, a Potts regulariser, a partial cross-entropy on scribbles or clicks, a mask loss, a loss
    to a teacher's soft labels, the agreement of two views, and the cross-entropy with the background outside of Ω.

    Every term is averaged over the items that carry its label; the term of scribbles is averaged over their voxels. So
    a batch may mix items with a size only, with clicks, with a mask, or with several of them. A weight may be changed
    during training, for example with MONAI's handler:

        _target_: ParamSchedulerHandler
        parameter_setter: "$lambda weight: setattr(@train#loss, 'potts_weight', weight)"
        value_calculator: linear

    Args:
        size_loss: a :class:`medsize.losses.SizeLoss`. Defaults to ``SizeKLLoss()``.
        potts_loss: called as ``potts_loss(logits, image, mask)``. Defaults to ``PottsLoss()``.
        mask_loss: called as ``mask_loss(logits, label)``. Defaults to MONAI's
            ``DiceCELoss(softmax=True, to_onehot_y=True)``.
        soft_label_loss: called as ``soft_label_loss(logits, soft_label)``. Defaults to MONAI's
            ``DiceCELoss(softmax=True)``.
        agreement_loss: called as ``agreement_loss(logits, other, mask)``. Defaults to ``AgreementLoss()``.
        size_weight: weight of the size term. Defaults to 1.
        potts_weight: weight of the Potts term. Defaults to 0.
        scribble_weight: weight of the cross-entropy on scribbles and clicks. Defaults to 1.
        mask_weight: weight of the mask term. Defaults to 1.
        soft_label_weight: weight of the term of the soft labels. Defaults to 1.
        agreement_weight: weight of the agreement of two views. Defaults to 0.
        outside_weight: weight of the background outside of Ω, where Ω is the organ that all structures lie in. Defaults
            to 0, as outside of Ω may be padding.

    Raises:
        ValueError: when a weight is negative.

    Examples:
        >>> import torch
        >>> from medsize.losses import CompositeLoss
        >>> loss = CompositeLoss(potts_weight=0.1)
        >>> targets = {"image": torch.rand(2, 1, 8, 8), "fraction": torch.tensor([[0.7, 0.3], [0.9, 0.1]])}
        >>> value = loss(torch.zeros(2, 2, 8, 8), targets)
        >>> sorted(loss.terms)
        ['potts', 'size']
    """

    def __init__(
        self,
        size_loss: SizeLoss | None = None,
        potts_loss: nn.Module | None = None,
        mask_loss: nn.Module | None = None,
        soft_label_loss: nn.Module | None = None,
        agreement_loss: nn.Module | None = None,
        size_weight: float = 1.0,
        potts_weight: float = 0.0,
        scribble_weight: float = 1.0,
        mask_weight: float = 1.0,
        soft_label_weight: float = 1.0,
        agreement_weight: float = 0.0,
        outside_weight: float = 0.0,
    ) -> None:
        super().__init__()
        self.size_loss: SizeLoss = SizeKLLoss() if size_loss is None else size_loss
        self.potts_loss = PottsLoss() if potts_loss is None else potts_loss
        self.mask_loss = DiceCELoss(softmax=True, to_onehot_y=True) if mask_loss is None else mask_loss
        self.soft_label_loss = DiceCELoss(softmax=True) if soft_label_loss is None else soft_label_loss
        self.agreement_loss = AgreementLoss() if agreement_loss is None else agreement_loss
        self.size_weight = size_weight
        self.potts_weight = potts_weight
        self.scribble_weight = scribble_weight
        self.mask_weight = mask_weight
        self.soft_label_weight = soft_label_weight
        self.agreement_weight = agreement_weight
        self.outside_weight = outside_weight
        for name, weight in vars(self).items():
            if name.endswith("_weight") and weight < 0:
                raise ValueError(f"{name} must not be negative, got {weight}.")
        self.terms: dict[str, torch.Tensor] = {}
        """The terms that the last call computed, by name: unweighted and detached."""

    def forward(self, logits: torch.Tensor, targets: Targets) -> torch.Tensor:
        """
        Compute the weighted sum of the terms.

        Args:
            logits: network output without activation, shape ``(B, K, *spatial)``.
            targets: the dictionary that :class:`medsize.engines.PrepareSizeBatch` makes, with any of

                - ``fraction``: ``(B, K)`` or ``(B, 2, K)`` intervals; [0, 1] for all classes where unknown,
                - ``group``: ``(B,)`` integers, items that share a ``fraction``,
                - ``image``: ``(B, C, *spatial)``, which the Potts term needs,
                - ``scribble``: ``(B, 1, *spatial)`` class indices, 255 where unlabelled,
                - ``label``: ``(B, 1, *spatial)`` class indices, 255 where unlabelled, as all of an item without a mask,
                - ``soft_label``: ``(B, K, *spatial)`` class probabilities,
                - ``view``: the view in which the second half of the batch sees the first, with a method ``undo``,
                - ``valid``: ``(B, 1, *spatial)``, the voxels that belong to Ω.

        Returns:
            the weighted sum, a scalar; zero for a batch whose labels all state nothing.

        Raises:
            TypeError: when ``targets`` is not a dictionary.
            ValueError: when the Potts term has a weight but ``targets`` has no ``image``, or the agreement but no
                ``view``; when ``targets`` has an unknown key or no label; or when a label does not fit (see the
                losses).
        """
        _check_keys(targets)
        terms = {}
        if self.uses_size(targets):
            terms["size"] = self._size(logits, targets)
        terms |= self.local_terms(logits, targets)
        self.terms = {name: term.detach() for name, term in terms.items()}
        if not terms:
            return logits.sum() * 0.0
        return torch.stack([self.weight_of(name) * term.float() for name, term in terms.items()]).sum()

    def weight_of(self, name: str) -> float:
        """Return the weight of a term, by its name in :attr:`terms`."""
        weight: float = getattr(self, f"{name}_weight")
        return weight

    def uses_size(self, targets: Targets) -> bool:
        """Return whether the size term has a weight, and any item carries a size."""
        return bool(self.size_weight) and "fraction" in targets and bool(_has_size(targets).any())

    def size_term(
        self, log_fraction: torch.Tensor, targets: Targets, count: torch.Tensor | None = None
    ) -> torch.Tensor:
        """
        Compute the size term alone, where S̄ is known already.

        Args:
            log_fraction: ``ln S̄`` of each item, shape ``(B, K)``.
            targets: ``fraction`` and, where items share one, ``group``.
            count: voxels of each item's Ω, shape ``(B,)``. Default: equally many.

        Returns:
            the term, unweighted: a mean over the items that carry a size. One at least must (see :meth:`uses_size`).

        Raises:
            ValueError: when a size is not a size target.
        """
        fraction, group = targets["fraction"], targets.get("group")
        stated = _has_size(targets)
        loss: torch.Tensor = self.size_loss.of_log_fraction(
            log_fraction[stated],
            fraction[stated],
            None if count is None else count[stated],
            group=None if group is None else group[stated],
        )
        return loss

    def local_terms(self, logits: torch.Tensor, targets: Targets) -> dict[str, torch.Tensor]:
        """
        Compute all terms but that of the size: they are sums over voxels, so a part of a region has them, too.

        Args:
            logits: as for the call.
            targets: as for the call. For a part of a scan, ``beta`` holds the Potts term's β of the whole scan.

        Returns:
            the terms that have a weight and a label, unweighted, by name.

        Raises:
            ValueError: as for the call.
        """
        terms: dict[str, torch.Tensor] = {}
        if self.potts_weight:
            if "image" not in targets:
                raise ValueError("the Potts term needs the image: targets must hold the key 'image'.")
            of_the_scan = {"beta": targets["beta"]} if "beta" in targets else {}
            terms["potts"] = self.potts_loss(logits, targets["image"], targets.get("valid"), **of_the_scan)
        if self.scribble_weight and "scribble" in targets:
            scribble = targets["scribble"].squeeze(1).long()
            if bool((scribble != IGNORE_INDEX).any()):
                _check_classes("scribble", scribble, logits.shape[1])
                terms["scribble"] = F.cross_entropy(logits, scribble, ignore_index=IGNORE_INDEX)
        if self.mask_weight and "label" in targets:
            present = _has_mask(targets["label"])
            _check_classes("label", targets["label"], logits.shape[1])
            if bool(present.all()):
                terms["mask"] = self.mask_loss(*_without_ignored(logits, targets["label"]))
            elif bool(present.any()):
                terms["mask"] = self.mask_loss(*_without_ignored(logits[present], targets["label"][present]))
        if self.soft_label_weight and "soft_label" in targets:
            terms["soft_label"] = self.soft_label_loss(logits, targets["soft_label"])
        if self.agreement_weight:
            if "view" not in targets:
                raise ValueError(
                    "the agreement needs a second view: targets must hold the key 'view'. Make it by "
                    "PrepareSizeBatch(two_views=True), or set agreement_weight to 0."
                )
            first, second = logits.chunk(2)
            inside = (targets["valid"].chunk(2)[0],) if "valid" in targets else ()
            terms["agreement"] = self.agreement_loss(first, targets["view"].undo(second), *inside)
        if self.outside_weight and "valid" in targets:
            outside = targets["valid"].squeeze(1) == 0
            if bool(outside.any()):
                terms["outside"] = -logits.movedim(1, -1)[outside].log_softmax(dim=-1)[:, 0].mean()
        return terms

    def amounts(self, targets: Targets) -> dict[str, float]:
        """
        Count what each local term is a mean over, so that the means over the parts of a scan can be joined.

        Args:
            targets: as for the call, with ``image``.

        Returns:
            labelled voxels for scribbles, voxels of the items with a mask for masks, voxels of Ω for the Potts term
            and the agreement, those outside of it for the background there, and all voxels for soft labels.
        """
        image, valid = targets["image"], targets.get("valid")
        per_item = image[0, 0].numel()
        voxels = float(len(image) * per_item if valid is None else (valid != 0).sum())
        everywhere = float(len(image) * per_item)
        amounts = {"potts": voxels, "agreement": voxels, "soft_label": everywhere, "outside": everywhere - voxels}
        if "scribble" in targets:
            amounts["scribble"] = float((targets["scribble"] != IGNORE_INDEX).sum())
        if "label" in targets:
            amounts["mask"] = float(_has_mask(targets["label"]).sum() * per_item)
        return amounts

    def _size(self, logits: torch.Tensor, targets: Targets) -> torch.Tensor:
        """Return the mean size loss over the items that carry a size."""
        fraction, group, valid = targets["fraction"], targets.get("group"), targets.get("valid")
        stated = _has_size(targets)
        if not bool(stated.all()):
            logits, fraction = logits[stated], fraction[stated]
            group = None if group is None else group[stated]
            valid = None if valid is None else valid[stated]
        loss: torch.Tensor = self.size_loss(logits, fraction, valid, group=group)
        return loss


def _check_keys(targets: Targets) -> None:
    """Refuse what is not a dictionary of targets: a misspelled key would leave out its term."""
    if not isinstance(targets, Mapping):
        raise TypeError(
            f"targets must be a dictionary with keys such as 'fraction', got {type(targets).__name__}. Make it by "
            "prepare_batch: medsize.engines.PrepareSizeBatch()."
        )
    if not any(key in targets for key in LABEL_KEYS):
        raise ValueError(f"targets holds {', '.join(targets) or 'nothing'}, expected one of {', '.join(LABEL_KEYS)}.")
    if unknown := [key for key in targets if key not in TARGET_KEYS]:
        raise ValueError(f"targets has the unknown key '{unknown[0]}'.{closest_or_all(unknown[0], TARGET_KEYS)}")


def _check_classes(name: str, label: torch.Tensor, num_classes: int) -> None:
    """Refuse a label that holds another class than those of the network."""
    wrong = (label != IGNORE_INDEX) & ((label < 0) | (label >= num_classes))
    if bool(wrong.any()):
        raise ValueError(
            f"{name} holds the class {label[wrong][0].item():g}, expected 0 to {num_classes - 1}, or {IGNORE_INDEX} "
            "where unlabelled."
        )


def _has_mask(label: torch.Tensor) -> torch.Tensor:
    """Return whether each item has a mask, shape ``(B,)``."""
    return (label != IGNORE_INDEX).flatten(1).any(dim=-1)


def _without_ignored(logits: torch.Tensor, label: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return logits and masks in which the unlabelled voxels are background, predicted with certainty."""
    ignored = label == IGNORE_INDEX
    if not bool(ignored.any()):
        return logits, label
    certain = logits.new_zeros(logits.shape[1])
    certain[0] = CERTAIN
    certain = certain.view(1, -1, *(1,) * (logits.ndim - 2))
    return torch.where(ignored, certain, logits), label.masked_fill(ignored, 0)


def _has_size(targets: Targets) -> torch.Tensor:
    """Return whether each item has an interval narrower than [0, 1], and a voxel of Ω, shape ``(B,)``."""
    fraction = targets["fraction"]
    stated = torch.ones(fraction.shape[0], dtype=torch.bool, device=fraction.device)
    if fraction.ndim == 3:
        stated = (fraction[:, 1] - fraction[:, 0] < 1).any(dim=-1)
    if "valid" in targets and "group" in targets:  # slices beside the organ, of which the scan's size says nothing
        stated = stated & (targets["valid"] != 0).flatten(1).any(dim=-1)
    return stated
