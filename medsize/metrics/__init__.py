"""Metrics that need no mask."""

from medsize.metrics.conformal import SizeCalibration, calibrate
from medsize.metrics.size_error import (
    RelativeSizeError,
    VolumeError,
    mean_relative_error,
    relative_size_error,
    volume_error,
    volumes_of,
)

__all__ = [
    "RelativeSizeError",
    "SizeCalibration",
    "VolumeError",
    "calibrate",
    "mean_relative_error",
    "relative_size_error",
    "volume_error",
    "volumes_of",
]
