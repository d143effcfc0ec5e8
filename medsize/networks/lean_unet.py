"""A pretrained encoder with a decoder small enough to be led by sizes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.networks.nets.flexible_unet import FLEXUNET_BACKBONE
from torch import nn
from torch.nn import functional as F

import medsize.networks.efficientnet_lite  # noqa: F401 (registers the backbone)

__all__ = ["LeanUNet"]


class LeanUNet(nn.Module):
    """
    A backbone of MONAI's ``FlexibleUNet`` with a lean decoder, 2D.

    Every scale's features go through a 1 × 1 convolution to ``width`` channels and are summed upwards; two
    convolutions follow at half the resolution, and a 1 × 1 convolution to the classes, whose logits are interpolated
    to the input's resolution.

    The encoder's batch norms keep their pretrained statistics, in training, too: batches of a few scans, from which
    crops of one organ are drawn, would give statistics that differ between training and use, and a network that is
    led by sizes alone can satisfy them through that difference.

    The decoder's convolutions repeat the border instead of padding zeros, which would tell the position in the image.

    Args:
        in_channels: channels of the scans, with intensities in [0, 1].
        out_channels: classes, with the background.
        backbone: name in ``monai.networks.nets.flexible_unet.FLEXUNET_BACKBONE``, or ``efficientnet-lite0``.
        pretrained: start from ImageNet weights. Defaults to False.
        width: channels of the decoder. Defaults to 48.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        backbone: str = "efficientnet-lite0",
        pretrained: bool = False,
        width: int = 48,
        freeze_norm: bool = True,
    ) -> None:
        super().__init__()
        entry = FLEXUNET_BACKBONE.register_dict[backbone]
        parameters = {**entry["parameter"], "spatial_dims": 2, "in_channels": in_channels, "pretrained": pretrained}
        self.encoder = entry["type"](**parameters)
        self.freeze_norm = freeze_norm
        self.laterals = nn.ModuleList(nn.Conv2d(c, width, 1) for c in entry["feature_channel"])
        self.norms = nn.ModuleList(nn.GroupNorm(1, width) for _ in entry["feature_channel"])
        self.decoder = nn.Sequential(
            *(layer for _ in range(2) for layer in self._block(width)),
        )
        self.head = nn.Conv2d(width, out_channels, 1)

    @staticmethod
    def _block(width: int) -> list[nn.Module]:
        return [
            nn.Conv2d(width, width, 3, padding=1, padding_mode="replicate", bias=False),
            nn.GroupNorm(8, width),
            nn.ReLU(inplace=True),
        ]

    def train(self, mode: bool = True) -> LeanUNet:
        """Set the training mode; the encoder's batch norms stay as they are."""
        super().train(mode)
        if self.freeze_norm:
            for module in self.encoder.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        return self

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """
        Args:
            x: scans ``(B, C, H, W)``; H and W multiples of 32.

        Returns:
            logits ``(B, K, H, W)``.
        """
        features: Sequence[torch.Tensor] = self.encoder(x)
        merged: torch.Tensor | None = None
        for lateral, norm, feature in zip(
            reversed(self.laterals), reversed(self.norms), reversed(features), strict=True
        ):
            here = norm(lateral(feature))
            merged = here if merged is None else here + F.interpolate(merged, size=here.shape[2:], mode="bilinear")
        logits = self.head(self.decoder(merged))
        return F.interpolate(logits, size=x.shape[2:], mode="bilinear")
