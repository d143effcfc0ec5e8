"""A teacher that needs no training: the structure is what is bright."""

from __future__ import annotations

import torch
from torch import nn

__all__ = ["Brightness"]


class Brightness(nn.Module):
    """
    Logits of one structure from the intensity of each voxel alone: 0 for the background, ``scale`` · intensity.

    As a teacher (:class:`medsize.transforms.SoftLabeld`) it marks as many of the brightest voxels as the size has,
    for :class:`medsize.transforms.ShiftToSize` finds the threshold: tumours in PET, vessels in angiography, bone in CT.

    Args:
        in_channels: of the image; the first one counts.
        out_channels: 2, the background and the structure.
        scale: how sharp the threshold is, for intensities in [0, 1]; negative for a dark structure. Defaults to 20.

    Raises:
        ValueError: when ``out_channels`` is not 2.

    Example:
        >>> import torch
        >>> from medsize.networks import Brightness
        >>> Brightness(scale=10.0)(torch.tensor([[[[0.0, 0.5]]]])).tolist()
        [[[[0.0, 0.0]], [[0.0, 5.0]]]]
    """

    def __init__(self, in_channels: int = 1, out_channels: int = 2, scale: float = 20.0) -> None:
        super().__init__()
        if out_channels != 2:
            raise ValueError(
                f"Brightness tells one structure from the background, the cohort has {out_channels - 1}: use a trained "
                "teacher."
            )
        self.in_channels = in_channels
        self.scale = scale

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """
        Args:
            image: shape ``(B, C, *spatial)``.

        Returns:
            logits, shape ``(B, 2, *spatial)``.
        """
        bright = self.scale * image[:, :1]
        return torch.cat([torch.zeros_like(bright), bright], dim=1)
