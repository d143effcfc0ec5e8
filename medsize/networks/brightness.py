"""Teacher that needs no training: the bright voxels are the structure."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.networks.layers import gaussian_1d, separable_filtering
from torch import nn

__all__ = ["Brightness"]


class Brightness(nn.Module):
    """
    Logits of one structure from the intensity of each voxel alone: 0 for the background, ``scale`` · intensity.

    As a teacher (:class:`medsize.transforms.SoftLabeld`) it marks the brightest voxels, as many as fill the size, since
    :class:`medsize.transforms.ShiftToSize` finds the threshold: tumours in PET, vessels in angiography, bone in CT.

    Blur the image where the middle of a structure is dark, as in a necrotic tumour, or where smaller bright spots lie
    elsewhere.

    Args:
        in_channels: channels of the image; only the first one is used.
        out_channels: 2: the background and the structure.
        scale: sharpness of the threshold, for intensities in [0, 1]; negative for a dark structure. Defaults to 20.
        blur: standard deviation of a Gaussian along each spatial axis, in voxels; 0 along the axes that are left out.
            Default: none.

    Raises:
        ValueError: when ``out_channels`` is not 2, or ``blur`` is negative.

    Examples:
        >>> import torch
        >>> from medsize.networks import Brightness
        >>> Brightness(scale=10.0)(torch.tensor([[[[0.0, 0.5]]]])).tolist()
        [[[[0.0, 0.0]], [[0.0, 5.0]]]]
    """

    def __init__(
        self, in_channels: int = 1, out_channels: int = 2, scale: float = 20.0, blur: Sequence[float] = ()
    ) -> None:
        super().__init__()
        if out_channels != 2:
            raise ValueError(
                f"Brightness tells one structure from the background, the cohort has {out_channels - 1}: use a trained "
                "teacher."
            )
        if any(deviation < 0 for deviation in blur):
            raise ValueError(f"found blur {list(blur)}, expected standard deviations, which are not negative.")
        self.in_channels = in_channels
        self.scale = scale
        self.blur = tuple(blur)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """
        Return the logits of an image.

        Args:
            image: shape ``(B, C, *spatial)``.

        Returns:
            logits, shape ``(B, 2, *spatial)``.
        """
        bright = self.scale * image[:, :1]
        if any(self.blur):
            deviations = [*self.blur, *(0.0,) * (image.ndim - 2 - len(self.blur))]
            kernels = [gaussian_1d(torch.tensor(d), normalize=True) if d else torch.ones(1) for d in deviations]
            bright = separable_filtering(bright, kernels, mode="replicate")
        return torch.cat([torch.zeros_like(bright), bright], dim=1)
