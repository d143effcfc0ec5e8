"""
Units of size and place: the package keeps mm³ (mm² for a slice) and RAS+; people write mL, and DICOM has LPS.

The items' keys name their unit, see :mod:`medsize.items`. Sizes become fractions of the network's region in
:mod:`medsize.transforms.size_to_fraction`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal

__all__ = ["FARTHEST_MM", "MM2_PER_UM2", "MM3_PER_ML", "lps_to_ras", "size_text"]

MM3_PER_ML = 1000.0
"""mm³ in 1 mL, which is 1 cm³."""
MM2_PER_UM2 = 1e-6
"""mm² in 1 µm²."""
FARTHEST_MM = 1e5
"""Largest scanner coordinate: no scan is 100 m wide, and a line to a place beyond would take all memory."""


def lps_to_ras(point: Sequence[float]) -> tuple[float, float, float]:
    """Return a point in scanner mm of DICOM (LPS) as NIfTI has it (RAS+), or the other way round."""
    x, y, z = point
    return -x, -y, z


def size_text(size: float, digits: int = 4) -> str:
    """
    Return a size as people write it: 51,100 in place of 5.11e+04.

    Args:
        size: in any unit.
        digits: number of digits that count. Defaults to 4.
    """
    return f"{Decimal(f'{size:.{digits}g}'):,f}" if math.isfinite(size) else f"{size:g}"
