"""Potts regulariser: neighbouring voxels of similar intensity should belong to one class."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

import torch
from monai.utils import LossReduction

from medsize.losses.reduced_loss import ReducedLoss

__all__ = ["PottsLoss"]


class PottsLoss(ReducedLoss):
    """
    Bilinear relaxation of the Potts model over a local window, weighted by intensity contrast and distance:

        L = Σ_{pq} w_pq · (1 − S_p · S_q) / Σ_{pq} 1/|p − q|,
        w_pq = exp(−‖I_p − I_q‖² / (2 · contrast² · β)) / |p − q|,

    over the pairs pq of voxels of Ω that lie within ``radius`` of each other along every axis. β is the mean of
    ‖I_p − I_q‖² over the directly adjacent voxels of the same image. So the loss does not depend on the intensity
    scale of a scan. L lies in [0, 1].

    The bilinear form penalises a uniform uncertain prediction (S_p · S_q < 1 unless S is one-hot), which size losses
    permit; the quadratic form ‖S_p − S_q‖² would not.

    Time is linear in voxels × neighbours. Memory does not grow with the window: the weighted sum over neighbours,
    M_p = Σ_q w_pq S_q, is accumulated neighbour by neighbour, and as w is symmetric, the gradient is −2M. The loss
    therefore has first derivatives only.

    Source: Boykov, Jolly. "Interactive graph cuts" ICCV 2001 (contrast weights); Tang et al. "On regularized losses
    for weakly-supervised CNN segmentation" ECCV 2018 (relaxations).

    Args:
        radius: reach of the window in voxels along every axis: ``(2 · radius + 1)^d − 1`` neighbours. Defaults to 1.
        contrast: scale of the contrast, relative to √β of the image. The smaller, the cheaper a boundary along a faint
            edge. Defaults to 1.
        spacing: voxel size along each axis, in any one unit, for distances in anisotropic images.
            Defaults to 1 along every axis.
        reduction: {``"none"``, ``"mean"``, ``"sum"``}. Reduction over the items. Defaults to ``"mean"``.

    Raises:
        ValueError: when ``radius`` is not a whole number from 1 on, or ``contrast`` or ``spacing`` is not positive.

    Examples:
        >>> import torch
        >>> from medsize.losses import PottsLoss
        >>> image = torch.rand(1, 1, 16, 16)
        >>> one_class = torch.tensor([30.0, -30.0]).view(1, 2, 1, 1).expand(1, 2, 16, 16)
        >>> PottsLoss()(one_class, image).item()
        0.0
    """

    def __init__(
        self,
        radius: int = 1,
        contrast: float = 1.0,
        spacing: Sequence[float] | None = None,
        reduction: LossReduction | str = LossReduction.MEAN,
    ) -> None:
        super().__init__(reduction)
        if radius < 1 or radius != int(radius):
            raise ValueError(f"radius must be a whole number, at least 1, got {radius}.")
        if contrast <= 0:
            raise ValueError(f"contrast must be positive, got {contrast}.")
        if spacing is not None and min(spacing) <= 0:
            raise ValueError(f"spacing must be positive, got {tuple(spacing)}.")
        self.radius = int(radius)
        self.contrast = contrast
        self.spacing = spacing

    def forward(
        self,
        logits: torch.Tensor,
        image: torch.Tensor,
        mask: torch.Tensor | None = None,
        beta: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """
        Compute the regulariser.

        Args:
            logits: network output without activation, shape ``(B, K, *spatial)``, 2 or 3 spatial dimensions.
            image: intensities, any number of channels, shape ``(B, C, *spatial)``.
            mask: voxels that belong to Ω (non-zero), shape ``(B, 1, *spatial)``. Default: all of them.
            beta: β of each item, shape ``(B,)``, where the image is a part of a scan. Default: the β of ``image``.

        Returns:
            the loss: a scalar, or for ``reduction="none"`` shape ``(B,)``.

        Raises:
            ValueError: when the shapes do not fit each other, or ``spacing`` has another number of axes.
        """
        spatial = logits.shape[2:]
        if not logits.numel():
            raise ValueError(f"logits must have the shape (B, K, *spatial), none of them 0, got {tuple(logits.shape)}.")
        if image.shape[0] != logits.shape[0] or image.shape[2:] != spatial:
            raise ValueError(
                f"image must have the shape (B, C, *spatial) with B = {logits.shape[0]}, spatial = {tuple(spatial)}, "
                f"got {tuple(image.shape)}."
            )
        if mask is not None and mask.shape != (logits.shape[0], 1, *spatial):
            raise ValueError(
                f"mask must have the shape (B, 1, *spatial) = {(logits.shape[0], 1, *spatial)}, "
                f"got {tuple(mask.shape)}."
            )
        if self.spacing is not None and len(self.spacing) != len(spatial):
            raise ValueError(f"spacing has {len(self.spacing)} axes, logits have {len(spatial)} spatial ones.")

        softmax = logits.to(torch.promote_types(logits.dtype, torch.float32)).softmax(dim=1)
        with torch.no_grad():
            constant = softmax.detach()
            neighbour_sum, weight_sum, pair_sum = self._aggregate(constant, image.to(softmax), mask, beta)
            # Value and gradient of −S·M with M linear in S: adding the constant restores the value.
            offset = weight_sum + (constant * neighbour_sum).flatten(1).sum(dim=-1)
        return self.reduced((offset - 2 * (softmax * neighbour_sum).flatten(1).sum(dim=-1)) / pair_sum)

    def _aggregate(
        self, softmax: torch.Tensor, image: torch.Tensor, mask: torch.Tensor | None, beta: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """
        Sum the softmax over the neighbours of each voxel.

        Returns:
            M_p = Σ_q w_pq S_q of shape ``(B, K, *spatial)``, and Σ w and Σ 1/|p−q| over the pairs, of shape ``(B,)``.
        """
        spacing = self.spacing or (1.0,) * (softmax.ndim - 2)
        if beta is None:
            total, count = self.contrast_sums(image, mask)
            beta = total / count.clamp_min(1)
        # 1 / √(2 · contrast² · β); 0 for an image without contrast
        inverse = torch.where(beta > 0, (2 * self.contrast**2 * beta).rsqrt(), 0.0).to(image)
        scaled = image * inverse.view(-1, *(1,) * (image.ndim - 1))
        inside = None if mask is None else (mask != 0).to(softmax)
        neighbour_sum = torch.zeros_like(softmax)
        weight_sum = softmax.new_zeros(softmax.shape[0])
        pair_sum = softmax.new_zeros(softmax.shape[0])
        for offset in self._half_window(softmax.ndim - 2):
            here, there = _shifted(offset)
            distance = math.sqrt(sum((o * s) ** 2 for o, s in zip(offset, spacing, strict=True)))
            weight = (scaled[here] - scaled[there]).square().sum(dim=1, keepdim=True).neg_().exp_().div_(distance)
            if inside is None:
                pair_sum += 2 * weight[0].numel() / distance
            else:
                both = inside[here] * inside[there]
                weight.mul_(both)
                pair_sum += 2 * both.flatten(1).sum(dim=-1) / distance
            weight_sum += 2 * weight.flatten(1).sum(dim=-1)
            neighbour_sum[here].addcmul_(weight, softmax[there])
            neighbour_sum[there].addcmul_(weight, softmax[here])
        return neighbour_sum, weight_sum, pair_sum.clamp_min(1e-12)

    @staticmethod
    def contrast_sums(image: torch.Tensor, mask: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """
        Sum ‖I_p − I_q‖² over the pairs of directly adjacent voxels, and count these: β is the quotient.

        Args:
            image: intensities, shape ``(B, C, *spatial)``.
            mask: voxels that belong to Ω (non-zero), shape ``(B, 1, *spatial)``. Default: all of them.

        Returns:
            sum and number of each item, shape ``(B,)``.
        """
        total = image.new_zeros(image.shape[0])
        count = image.new_zeros(image.shape[0])
        for axis in range(image.ndim - 2):
            here, there = _shifted(tuple(int(a == axis) for a in range(image.ndim - 2)))
            difference = (image[here] - image[there]).square().sum(dim=1, keepdim=True)
            if mask is None:
                count += difference[0].numel()
            else:
                both = (mask[here] != 0) & (mask[there] != 0)
                difference = difference.masked_fill(~both, 0)
                count += both.flatten(1).sum(dim=-1)
            total += difference.flatten(1).sum(dim=-1)
        return total, count

    def _half_window(self, num_axes: int) -> Iterator[tuple[int, ...]]:
        """Yield the offset of one neighbour of each opposite pair."""
        reach = range(-self.radius, self.radius + 1)
        return (offset for offset in itertools.product(reach, repeat=num_axes) if offset > (0,) * num_axes)


def _shifted(offset: Sequence[int]) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Return indices of ``(B, C, *spatial)`` such that ``x[here]`` and ``x[there]`` lie ``offset`` voxels apart."""
    everything = (slice(None), slice(None))
    here = tuple(slice(max(-o, 0), -o if o > 0 else None) for o in offset)
    there = tuple(slice(max(o, 0), o if o < 0 else None) for o in offset)
    return everything + here, everything + there
