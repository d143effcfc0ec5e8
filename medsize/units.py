"""
Units of size: this package keeps mm³ (mm² of a slice), and people read and write mL.

The items' keys name their unit, see :mod:`medsize.items`. Sizes become fractions of the network's region in
:mod:`medsize.transforms.size_to_fraction`.
"""

from __future__ import annotations

__all__ = ["MM3_PER_ML"]

MM3_PER_ML = 1000.0
"""1 mL is 1 cm³."""
