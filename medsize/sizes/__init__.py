"""Sizes of structures: stated by people, measured in masks, or made wrong for studies."""

from medsize.sizes.likely_sizes import with_likely_sizes
from medsize.sizes.mask_sizes import describe_mask
from medsize.sizes.mean_fractions import mean_fractions
from medsize.sizes.size_detail import with_size_detail
from medsize.sizes.size_noise import expected_size_change, relative_size_change, with_size_noise

__all__ = [
    "describe_mask",
    "expected_size_change",
    "mean_fractions",
    "relative_size_change",
    "with_likely_sizes",
    "with_size_detail",
    "with_size_noise",
]
