"""
Units of size: the package keeps mm³ (mm² for a slice); people read and write mL.

The items' keys name their unit, see :mod:`medsize.items`. Sizes become fractions of the network's region in
:mod:`medsize.transforms.size_to_fraction`.
"""

from __future__ import annotations

__all__ = ["MM3_PER_ML"]

MM3_PER_ML = 1000.0
"""mm³ in 1 mL, which is 1 cm³."""
