"""
Errors of sizes: the relative size error, whose mean is the mRE, and the signed volume error.

They need no mask. A true size is a number, an interval where only bounds are known, or unknown.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from monai.data import MetaTensor
from monai.metrics import CumulativeIterationMetric, do_metric_reduction
from monai.utils import MetricReduction

from medsize.transforms.voxel_size import voxel_size
from medsize.units import MM3_PER_ML

__all__ = [
    "RelativeSizeError",
    "VolumeError",
    "mean_relative_error",
    "relative_size_error",
    "volume_error",
    "volumes_of",
]

Sizes = torch.Tensor | np.ndarray | Sequence[float] | float


def volume_error(size: Sizes, low: Sizes, high: Sizes | None = None) -> torch.Tensor:
    """
    Return the signed error of sizes, v̂ − v: above 0 where they are too large.

    For an interval it is the signed distance: v̂ − high above it, v̂ − low below it, 0 within. A structure that is absent
    (v = 0) has an error, too. One of unknown size, without a finite high end, has NaN.

    Args:
        size: v̂.
        low: v, or the low end of its interval, of the same shape and unit.
        high: the high end. Default: ``low``, an exact size.

    Returns:
        the errors in that unit, float64, of the same shape.
    """
    found, low, high = _tensors(size, low, high)
    error = (found - high).relu() - (low - found).relu()
    return torch.where(high.isfinite(), error, torch.nan)


def relative_size_error(size: Sizes, low: Sizes, high: Sizes | None = None) -> torch.Tensor:
    """
    Return the relative error of sizes, |v̂ − v| / v.

    For an interval it is the distance to the interval over its middle. A structure that is absent (v = 0) or of unknown
    size has NaN.

    Args:
        size: see :func:`volume_error`.
        low: see :func:`volume_error`.
        high: see :func:`volume_error`.

    Returns:
        the errors, float64, of the same shape.
    """
    found, low, high = _tensors(size, low, high)
    middle = (low + high) / 2
    return torch.where(middle > 0, volume_error(found, low, high).abs() / middle, torch.nan)


def mean_relative_error(size: Sizes, low: Sizes, high: Sizes | None = None) -> float | None:
    """
    Return the mRE: the mean of :func:`relative_size_error` over the structures that are present and of known size.

    Args:
        size: see :func:`volume_error`. A size that is not finite is unknown.
        low: see :func:`volume_error`.
        high: see :func:`volume_error`.

    Returns:
        the mean; ``None`` where no structure can be compared.
    """
    errors = relative_size_error(size, low, high)
    known = errors[errors.isfinite()]
    return float(known.mean()) if len(known) else None


def _tensors(size: Sizes, low: Sizes, high: Sizes | None) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    found, low = (torch.as_tensor(x, dtype=torch.float64) for x in (size, low))
    return found, low, low if high is None else torch.as_tensor(high, dtype=torch.float64)


def volumes_of(onehot: MetaTensor) -> torch.Tensor:
    """
    Return the physical sizes of the foreground classes.

    Args:
        onehot: MetaTensor, shape ``(B, K, *spatial)``, one affine for all of B.

    Returns:
        mm³ (mm² in 2D), float64, shape ``(B, K − 1)``.
    """
    voxel = voxel_size(onehot[0])
    return onehot.as_tensor()[:, 1:].flatten(2).sum(dim=-1, dtype=torch.float64) * voxel


class _SizeMetric(CumulativeIterationMetric):
    """Base of the metrics that compare predicted volumes with given ones."""

    def __init__(self, reduction: MetricReduction | str = MetricReduction.MEAN, get_not_nans: bool = False) -> None:
        super().__init__()
        self.reduction = reduction
        self.get_not_nans = get_not_nans

    def aggregate(
        self, reduction: MetricReduction | str | None = None
    ) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        """
        Reduce the values of all cases so far, shape ``(cases, K − 1)``; NaN values do not count.

        Args:
            reduction: overrides the constructor's.

        Returns:
            the reduced values, NaN where nothing could be compared; with ``get_not_nans`` also the number of values.
        """
        data = self.get_buffer()
        if not isinstance(data, torch.Tensor):
            raise ValueError(f"the data to aggregate must be a tensor, got {type(data).__name__}.")
        reduction = MetricReduction(reduction or self.reduction)
        value, not_nans = do_metric_reduction(data, reduction)
        if reduction != MetricReduction.NONE:  # MONAI's mean of nothing is 0, the best error
            value = value.masked_fill(not_nans == 0, torch.nan)
        return (value, not_nans) if self.get_not_nans else value

    @staticmethod
    def _compared(y_pred: MetaTensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return the predicted sizes, and the low and high ends of the given ones, each ``(B, K − 1)``."""
        if not isinstance(y, torch.Tensor):
            raise ValueError(f"y must be a tensor of given sizes, got {type(y).__name__}.")
        found = volumes_of(y_pred)
        num_items, num_structures = found.shape
        if y.shape not in ((num_items, num_structures), (num_items, 2, num_structures)):
            raise ValueError(
                f"y must have the shape (B, K − 1) = {(num_items, num_structures)} or, for intervals, (B, 2, K − 1) = "
                f"{(num_items, 2, num_structures)}, as y_pred is one-hot with K = {num_structures + 1} classes, got "
                f"{tuple(y.shape)}."
            )
        low, high = (y, y) if y.ndim == 2 else y.unbind(dim=1)
        return found.to(low.device), low.double(), high.double()


class RelativeSizeError(_SizeMetric):
    """
    Relative size error of each structure, |v̂ − v| / v; its mean is the mRE. NaN values do not count.

    Call it with ``y_pred`` and ``y``. ``y_pred`` is a one-hot MetaTensor ``(B, K, *spatial)`` or a list of
    ``(K, *spatial)``. ``y`` holds the given sizes in mm³, ``(B, K − 1)`` or ``(B, 2, K − 1)``.

    Args:
        reduction: see MONAI's ``do_metric_reduction``. Defaults to ``"mean"``.
        get_not_nans: also return the number of values that counted. Defaults to False.

    Raises:
        ValueError: when ``y`` has another shape, or ``y_pred`` carries no affine.
    """

    def _compute_tensor(self, y_pred: MetaTensor, y: torch.Tensor, **kwargs: object) -> torch.Tensor:
        return relative_size_error(*self._compared(y_pred, y))


class VolumeError(_SizeMetric):
    """
    Signed volume error of each structure, v̂ − v in mL, also of absent ones; called like :class:`RelativeSizeError`.

    Args:
        reduction: see MONAI's ``do_metric_reduction``. Defaults to ``"mean"``; ``"mean_batch"``: over the cases only.
        get_not_nans: also return the number of values that counted. Defaults to False.
    """

    def _compute_tensor(self, y_pred: MetaTensor, y: torch.Tensor, **kwargs: object) -> torch.Tensor:
        return volume_error(*self._compared(y_pred, y)) / MM3_PER_ML
