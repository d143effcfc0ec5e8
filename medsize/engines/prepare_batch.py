"""Preparation of a batch: the input of the network and the targets of the loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, cast, get_args

import torch
from monai.data import MetaTensor
from monai.engines import PrepareBatch

from medsize.engines.view import View
from medsize.items import Targets

__all__ = ["PrepareSizeBatch", "append_view"]

VoxelKey = Literal["image", "scribble", "label", "soft_label", "valid"]
VOXEL_KEYS: tuple[VoxelKey, ...] = get_args(VoxelKey)
TARGET_KEYS = ("fraction", "group", "scribble", "label", "soft_label", "valid")


class PrepareSizeBatch(PrepareBatch):
    """
    ``prepare_batch`` of MONAI's ``SupervisedTrainer`` for :class:`medsize.losses.CompositeLoss`.

    The targets are a dictionary with the ``image``, which the Potts term needs. It also has ``fraction``, ``group``,
    ``scribble``, ``label``, ``soft_label`` and ``valid``, as far as the batch holds them. Masks of organs, ``region``,
    become ``valid``: their union. A trainer with two views needs ``decollate=False``, as a view is of a whole batch:

        SupervisedTrainer(..., loss_function=CompositeLoss(agreement_weight=0.3),
                          prepare_batch=PrepareSizeBatch(two_views=True), decollate=False)

    Args:
        channels_last: give the network the image in channels-last memory format, in which convolutions are faster on
            GPUs with tensor cores. Convert the network likewise: ``network.to(memory_format=torch.channels_last)``.
            Defaults to False.
        two_views: append every item once more, seen in a :class:`View` that is drawn anew for each batch. The targets
            hold it as ``view``. Defaults to False.
        spacing: voxel size along each spatial axis, so that a view does not exchange unlike axes. Default: all alike.
        fixed_axis: spatial axis that a view neither flips nor exchanges. Default: none.
        image_key: key of the image. Defaults to ``"image"``.
    """

    def __init__(
        self,
        channels_last: bool = False,
        two_views: bool = False,
        spacing: Sequence[float] | None = None,
        fixed_axis: int | None = None,
        image_key: str = "image",
    ) -> None:
        self.channels_last = channels_last
        self.two_views = two_views
        self.spacing = spacing
        self.fixed_axis = fixed_axis
        self.image_key = image_key

    def __call__(
        self,
        batchdata: Mapping[str, torch.Tensor],
        device: str | torch.device | None = None,
        non_blocking: bool = False,
        **kwargs: Any,
    ) -> tuple[torch.Tensor, Targets]:
        """
        Prepare a batch.

        Args:
            batchdata: a collated batch, ``image`` of shape ``(B, C, *spatial)``.
            device: device to copy to.
            non_blocking: copy from pinned memory while the computation goes on.
            kwargs: further arguments of ``Tensor.to`` for the image.

        Returns:
            the image ``(B, C, *spatial)``, and the targets by name; 2B in place of B with two views.
        """
        image = batchdata[self.image_key].to(device=device, non_blocking=non_blocking, **kwargs)
        found: dict[str, Any] = {"image": image} | {
            key: batchdata[key].to(device=device, non_blocking=non_blocking) for key in TARGET_KEYS if key in batchdata
        }
        if "region" in batchdata:
            organs = batchdata["region"].to(device=device, non_blocking=non_blocking)
            found["valid"] = (organs != 0).any(dim=1, keepdim=True).to(torch.uint8)
        # What follows needs no affines, and is slower with them.
        found = {key: x.as_tensor() if isinstance(x, MetaTensor) else x for key, x in found.items()}
        image = found["image"]
        if self.two_views:
            view = View.random(image.shape[2:], self.spacing, fixed_axis=self.fixed_axis)
            found = {key: append_view(key, x, view) for key, x in found.items()} | {"view": view}
        targets = cast("Targets", found)
        if self.channels_last:
            memory_format = torch.channels_last if image.ndim == 4 else torch.channels_last_3d
            targets["image"] = targets["image"].contiguous(memory_format=memory_format)
        return targets["image"], targets


def append_view(key: str, target: torch.Tensor, view: View) -> torch.Tensor:
    """Return the target of the items as they are, followed by the target of the items in the view."""
    if key in VOXEL_KEYS:
        return torch.cat([target, view.apply(target)])
    if key == "group":  # the slices of a scan are averaged within a view
        return torch.cat([target, target + target.max() + 1])
    return torch.cat([target, target])
