"""Measurements that hospitals and viewers already have: each reader takes one format, :func:`read_measurements` any."""

from medsize.measurements.measurement import Measurement, Place, Readings, ReadOptions
from medsize.measurements.read import find_measurements, read_measurements

__all__ = ["Measurement", "Place", "ReadOptions", "Readings", "find_measurements", "read_measurements"]
