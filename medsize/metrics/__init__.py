"""Metrics that need no mask."""

from medsize.metrics.size_error import RelativeSizeError, VolumeError, volumes_of

__all__ = ["RelativeSizeError", "VolumeError", "volumes_of"]
