"""From a folder of scans, masks and sizes to a training run: ``medsize init``."""

from medsize.cohort.init import init_cohort
from medsize.cohort.init_options import InitOptions

__all__ = ["InitOptions", "init_cohort"]
