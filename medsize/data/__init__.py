"""Data lists, their checks, and the phantom cohort."""

from medsize.data.data_list import Cohort, DataListError, load_cohort
from medsize.data.describe import assign_folds, describe_mask, describe_scans, write_clicks, write_data_list
from medsize.data.mean_fractions import mean_fractions
from medsize.data.persistent_cache_dataset import PersistentCacheDataset
from medsize.data.phantom import PHANTOM_CLASSES, make_phantom, write_phantom_cohort
from medsize.data.preflight import check_run, open_cohort
from medsize.data.sampling import mixed_label_sampler
from medsize.data.scan_check import check_scans
from medsize.data.size_detail import with_size_detail
from medsize.data.size_noise import expected_size_change, relative_size_change, with_size_noise

__all__ = [
    "PHANTOM_CLASSES",
    "Cohort",
    "DataListError",
    "PersistentCacheDataset",
    "assign_folds",
    "check_run",
    "check_scans",
    "describe_mask",
    "describe_scans",
    "expected_size_change",
    "load_cohort",
    "make_phantom",
    "mean_fractions",
    "mixed_label_sampler",
    "open_cohort",
    "relative_size_change",
    "with_size_detail",
    "with_size_noise",
    "write_clicks",
    "write_data_list",
    "write_phantom_cohort",
]
