"""From a folder of scans, masks and sizes to a training run: ``medsize init``."""

from medsize.cohort.init import InitOptions, init_cohort

__all__ = ["InitOptions", "init_cohort"]
