"""
Units of size and place: the package keeps mm³ (mm² for a slice) and RAS+; people write mL, and DICOM has LPS.

The items' keys name their unit, see :mod:`medsize.items`. Sizes become fractions of the network's region in
:mod:`medsize.transforms.size_to_fraction`.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["MM2_PER_UM2", "MM3_PER_ML", "lps_to_ras"]

MM3_PER_ML = 1000.0
"""mm³ in 1 mL, which is 1 cm³."""
MM2_PER_UM2 = 1e-6
"""mm² in 1 µm²."""


def lps_to_ras(point: Sequence[float]) -> tuple[float, float, float]:
    """Return a point in scanner mm of DICOM (LPS) as NIfTI has it (RAS+), or the other way round."""
    x, y, z = point
    return -x, -y, z
