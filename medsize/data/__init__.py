"""Data lists, folds, caches, proposed settings and the phantom cohort."""

from medsize.data.cohort import Cohort
from medsize.data.data_list import DataListError, write_data_list
from medsize.data.describe_scans import describe_scans, write_clicks
from medsize.data.folds import assign_folds, stratified_folds
from medsize.data.load_cohort import load_cohort
from medsize.data.persistent_cache_dataset import PersistentCacheDataset
from medsize.data.phantom import PHANTOM_CLASSES, make_phantom, write_phantom_cohort
from medsize.data.proposal import Proposal
from medsize.data.sampling import enough_epochs, mixed_label_sampler

__all__ = [
    "PHANTOM_CLASSES",
    "Cohort",
    "DataListError",
    "PersistentCacheDataset",
    "Proposal",
    "assign_folds",
    "describe_scans",
    "enough_epochs",
    "load_cohort",
    "make_phantom",
    "mixed_label_sampler",
    "stratified_folds",
    "write_clicks",
    "write_data_list",
    "write_phantom_cohort",
]
