"""Starting bias of a network's output."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

__all__ = ["start_at_fractions"]

CONVOLUTIONS = (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d)


def start_at_fractions(network: nn.Module, fractions: Sequence[float], damping: float = 0.1) -> nn.Module:
    """
    Make an untrained network start by predicting about these fractions.

    The biases of the last convolution become ln of the fractions, and its weights are damped. From its usual start a
    network first has to learn that most voxels are background, and any difference between voxels serves for that. If
    the convolution is the whole output, every voxel starts alike. MONAI's UNet with residual units adds a residual,
    which is not damped.

    Args:
        network: changed in place; its last convolution has one channel for each class.
        fractions: K fractions that sum to 1, such as those of :func:`medsize.sizes.mean_fractions`.
        damping: factor for the weights of the last convolution. Defaults to 0.1.

    Returns:
        the same network.

    Raises:
        ValueError: when the network's last convolution has no bias, or not one channel for each class, or a fraction
            is not positive.
    """
    if min(fractions) <= 0:
        raise ValueError(f"fractions must be positive, got {list(fractions)}.")
    convolutions = [m for m in network.modules() if isinstance(m, CONVOLUTIONS)]
    last = convolutions[-1] if convolutions else None
    if last is None or last.bias is None or last.out_channels != len(fractions):
        raise ValueError(f"the network's last convolution must have a bias and {len(fractions)} channels, got {last}.")
    with torch.no_grad():
        last.weight.mul_(damping)
        last.bias.copy_(torch.tensor(fractions).log())
    return network
