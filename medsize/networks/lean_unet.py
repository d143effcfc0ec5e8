"""Pretrained encoder with a decoder that is small enough to be trained from sizes."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from medsize.networks.efficientnet_lite import EfficientNetLiteEncoder, lite0_weights

__all__ = ["LeanUNet"]


class LeanUNet(nn.Module):
    """
    EfficientNet-Lite0 with a lean decoder, 2D.

    The features of every scale go through a 1 × 1 convolution to ``width`` channels and are summed upwards. Two
    convolutions follow at half the resolution, then a 1 × 1 convolution to the classes. The logits are interpolated to
    the input's resolution.

    Once trained weights are loaded (:meth:`load_imagenet_weights`, :func:`medsize.networks.initialise`), the encoder's
    batch norms keep their statistics, also during training. A batch holds a few slices of a few scans, so its
    statistics would differ from those in use. A network trained from sizes alone can exploit that difference. From
    random weights the statistics are learnt: without that, hardly any signal would pass.

    The decoder's convolutions repeat the border. Zero padding would reveal the position in the image.

    Args:
        in_channels: channels of the scans, with intensities in [0, 1].
        out_channels: classes, with the background.
        width: channels of the decoder, a multiple of 8. Defaults to 48.
        spatial_dims: number of spatial dimensions, as MONAI's networks state it: 2.

    Raises:
        ValueError: when ``spatial_dims`` is not 2.
    """

    def __init__(self, in_channels: int, out_channels: int, width: int = 48, spatial_dims: int = 2) -> None:
        super().__init__()
        if spatial_dims != 2:
            raise ValueError(f"a LeanUNet has 2 spatial dimensions, got spatial_dims={spatial_dims}.")
        self.in_channels = in_channels
        self.encoder = EfficientNetLiteEncoder(spatial_dims=2, in_channels=in_channels)
        (channels,) = EfficientNetLiteEncoder.num_channels_per_output()
        self.laterals = nn.ModuleList(
            nn.Sequential(nn.Conv2d(c, width, kernel_size=1), nn.GroupNorm(1, width)) for c in channels
        )
        self.decoder = nn.Sequential(*self._block(width), *self._block(width))
        self.head = nn.Conv2d(width, out_channels, kernel_size=1)
        self.keeps_statistics = False

    @staticmethod
    def _block(width: int) -> list[nn.Module]:
        return [
            nn.Conv2d(width, width, kernel_size=3, padding=1, padding_mode="replicate", bias=False),
            nn.GroupNorm(8, width),
            nn.ReLU(inplace=True),
        ]

    def load_imagenet_weights(self) -> None:
        """
        Load the encoder's ImageNet weights.

        Raises:
            FileNotFoundError: when the package that holds them is not installed.
        """
        self.encoder.load_state_dict(lite0_weights(self.in_channels))
        self.keep_statistics()

    def keep_statistics(self) -> None:
        """Keep the statistics of the encoder's batch norms from now on."""
        self.keeps_statistics = True
        self.train(self.training)

    def train(self, mode: bool = True) -> LeanUNet:
        """Set the training mode; batch norms with kept statistics stay in evaluation mode."""
        super().train(mode)
        if not self.keeps_statistics:
            return self
        for module in self.encoder.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()
        return self

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """
        Return the logits of scans.

        Args:
            x: scans ``(B, C, H, W)``; H and W 32 or more, best multiples of 32.

        Returns:
            logits ``(B, K, H, W)``.
        """
        features = self.encoder(x)
        scales: list[torch.Tensor] = []
        for number, lateral in enumerate(self.laterals):  # in words that TorchScript knows, too
            scales.append(lateral(features[number]))
        merged = scales[-1]
        for here in scales[-2::-1]:
            merged = here + F.interpolate(merged, size=here.shape[2:], mode="bilinear")
        return F.interpolate(self.head(self.decoder(merged)), size=x.shape[2:], mode="bilinear")
