"""Size metrics as Ignite metrics."""

from __future__ import annotations

from collections.abc import Callable

from monai.handlers import IgniteMetricHandler
from monai.utils import MetricReduction

from medsize.metrics.size_error import RelativeSizeError, VolumeError

__all__ = ["MeanRelativeSizeError", "MeanVolumeError"]


class _MeanSizeError(IgniteMetricHandler):
    """Ignite metric around one of the size metrics."""

    metric: type[RelativeSizeError | VolumeError]

    def __init__(
        self,
        output_transform: Callable,
        reduction: MetricReduction | str = MetricReduction.MEAN,
        save_details: bool = True,
    ) -> None:
        super().__init__(self.metric(reduction), output_transform=output_transform, save_details=save_details)


class MeanRelativeSizeError(_MeanSizeError):
    """
    mRE, the mean of |v̂ − v| / v over the present structures, averaged over the cases. Lower is better.

    It can be the key metric without any mask.

    Args:
        output_transform: takes ``(y_pred, y)`` from ``engine.state.output``, see
            :class:`medsize.metrics.RelativeSizeError`; for example
            ``monai.handlers.from_engine(["pred", "given_volume_mm3"])``, where the evaluator's postprocessing ends with
            ``CopyItemsd("volume_mm3", names="given_volume_mm3")``: an output has no sizes else.
        reduction: see :class:`medsize.metrics.RelativeSizeError`.
        save_details: keep each case's values in ``engine.state.metric_details``. Defaults to True.
    """

    metric = RelativeSizeError


class MeanVolumeError(_MeanSizeError):
    """
    Mean signed volume error v̂ − v in mL, over cases and structures.

    Args:
        output_transform: see :class:`MeanRelativeSizeError`.
        reduction: see :class:`medsize.metrics.VolumeError`.
        save_details: keep each case's values in ``engine.state.metric_details``. Defaults to True.
    """

    metric = VolumeError
