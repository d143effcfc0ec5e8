"""From a batch to the input of the network and the targets of the loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from monai.engines import PrepareBatch

__all__ = ["PrepareSizeBatch"]

TARGET_KEYS = ("size", "group", "scribble", "label", "soft_label", "valid")


class PrepareSizeBatch(PrepareBatch):
    """
    ``prepare_batch`` of MONAI's ``SupervisedTrainer`` for :class:`medsize.losses.CompositeLoss`.

    The targets are a dictionary of what the batch holds of ``size``, ``group``, ``scribble``, ``label``,
    ``soft_label`` and ``valid``, with the ``image`` for the Potts term.

    Args:
        channels_last: give the image to the network in channels-last memory format, which convolutions on GPUs with
            tensor cores prefer; convert the network likewise, ``network.to(memory_format=torch.channels_last)``.
            Defaults to False.
        image_key: key of the image. Defaults to ``"image"``.
    """

    def __init__(self, channels_last: bool = False, image_key: str = "image") -> None:
        self.channels_last = channels_last
        self.image_key = image_key

    def __call__(
        self,
        batchdata: Mapping[str, torch.Tensor],
        device: str | torch.device | None = None,
        non_blocking: bool = False,
        **kwargs: Any,
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """
        Args:
            batchdata: a collated batch, ``image`` of shape ``(B, C, *spatial)``.
            device: device to copy to.
            non_blocking: let copies from pinned memory run beside the computation.
            kwargs: further arguments of ``Tensor.to`` for the image.

        Returns:
            the image ``(B, C, *spatial)``, and the targets by name.
        """
        image = batchdata[self.image_key]
        if self.channels_last:
            kwargs["memory_format"] = torch.channels_last if image.ndim == 4 else torch.channels_last_3d
        image = image.to(device=device, non_blocking=non_blocking, **kwargs)
        targets = {
            key: batchdata[key].to(device=device, non_blocking=non_blocking) for key in TARGET_KEYS if key in batchdata
        }
        return image, {"image": image, **targets}
