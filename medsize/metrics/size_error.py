"""How far predicted volumes are from the given ones. No mask is needed."""

from __future__ import annotations

import torch
from monai.data import MetaTensor
from monai.metrics import CumulativeIterationMetric, do_metric_reduction
from monai.utils import MetricReduction

from medsize.transforms.voxel_size import voxel_size

__all__ = ["RelativeSizeError", "VolumeError", "volumes_of"]


def volumes_of(onehot: MetaTensor) -> torch.Tensor:
    """
    Physical sizes of the foreground classes.

    Args:
        onehot: MetaTensor, shape ``(B, K, *spatial)``, one affine for all of B.

    Returns:
        mm³ (mm² in 2D), float64, shape ``(B, K − 1)``.
    """
    voxel = voxel_size(onehot[0])
    return onehot.as_tensor()[:, 1:].double().flatten(2).sum(dim=-1) * voxel


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
            reduction: in place of the constructor's.
        """
        data = self.get_buffer()
        if not isinstance(data, torch.Tensor):
            raise ValueError(f"the data to aggregate must be a tensor, got {type(data).__name__}.")
        value, not_nans = do_metric_reduction(data, reduction or self.reduction)
        return (value, not_nans) if self.get_not_nans else value

    @staticmethod
    def _ends(y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        low, high = (y, y) if y.ndim == 2 else y.unbind(dim=1)
        return low.double(), high.double()


class RelativeSizeError(_SizeMetric):
    """
    Relative size error |v̂ − v| / v of each present structure; its mean is the mRE.

    For a size known as an interval, the distance to the interval over its middle. Structures that are absent
    (v = 0) or of unknown size give NaN and do not count.

    Call it with ``y_pred``, a one-hot MetaTensor ``(B, K, *spatial)`` or a list of ``(K, *spatial)``, and ``y``, the
    given sizes in mm³, ``(B, K − 1)`` or ``(B, 2, K − 1)``.

    Args:
        reduction: see MONAI's ``do_metric_reduction``. Defaults to ``"mean"``.
        get_not_nans: also return how many values counted. Defaults to False.
    """

    def _compute_tensor(self, y_pred: MetaTensor, y: torch.Tensor, **kwargs: object) -> torch.Tensor:
        low, high = self._ends(torch.as_tensor(y))
        volumes = volumes_of(y_pred).to(low)
        middle = (low + high) / 2
        error = ((low - volumes).relu() + (volumes - high).relu()) / middle
        return torch.where((middle > 0) & middle.isfinite(), error, torch.nan)


class VolumeError(_SizeMetric):
    """
    Signed volume error v̂ − v in mL of each structure, absent ones included; NaN where the size is unknown.

    For a size known as an interval, the signed distance to it. Called like :class:`RelativeSizeError`.

    Args:
        reduction: see MONAI's ``do_metric_reduction``. Defaults to ``"mean"``; ``"mean_batch"`` gives each structure's.
        get_not_nans: also return how many values counted. Defaults to False.
    """

    def _compute_tensor(self, y_pred: MetaTensor, y: torch.Tensor, **kwargs: object) -> torch.Tensor:
        low, high = self._ends(torch.as_tensor(y))
        volumes = volumes_of(y_pred).to(low)
        error = ((volumes - high).relu() - (low - volumes).relu()) / 1000
        return torch.where(high.isfinite(), error, torch.nan)
