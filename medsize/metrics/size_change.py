"""
Change of a size between two scans of one patient, with an interval that follows from the intervals of both.

The interval of each scan holds its true size with a probability of 1 − α at least, taken by itself. Nothing is known of
how the errors of the two go together: both scans are of one patient, and the network may fail alike on both. By
Bonferroni's inequality both intervals hold at once with a probability of 1 − α₁ − α₂ at least, however the errors are
correlated. Then the change is between low₂ − high₁ and high₂ − low₁, the ratio between low₂ / high₁ and high₂ / low₁.
"""

from __future__ import annotations

import math
from typing import NamedTuple

__all__ = ["SizeChange", "Sized", "size_change"]


class Sized(NamedTuple):
    """Predicted size of a structure in a scan; NaN where there is no interval."""

    size: float
    low: float
    high: float
    level: float


class SizeChange(NamedTuple):
    """Change of a size, in its unit and in percent of the earlier size; NaN where it is not known."""

    change: float
    low: float
    high: float
    percent: float
    low_percent: float
    high_percent: float
    level: float
    """Probability with which the interval holds the true change, at least."""

    @property
    def is_beyond_noise(self) -> bool:
        """True if the interval leaves no change out: the intervals of both scans do not meet."""
        return self.low > 0 or self.high < 0


def size_change(earlier: Sized, later: Sized) -> SizeChange:
    """
    Return the change from an earlier to a later size.

    Args:
        earlier: size in the earlier scan.
        later: size in the later scan.
    """
    level = earlier.level + later.level - 1
    if not level > 0:  # NaN, too: at a level of 0 any interval would do
        level = math.nan
        earlier, later = (scan._replace(low=math.nan, high=math.nan) for scan in (earlier, later))
    return SizeChange(
        change=later.size - earlier.size,
        low=later.low - earlier.high,
        high=later.high - earlier.low,
        percent=_percent(later.size, earlier.size),
        low_percent=_percent(later.low, earlier.high),
        high_percent=_percent(later.high, earlier.low),
        level=level,
    )


def _percent(later: float, earlier: float) -> float:
    """Return the change in percent; NaN if the earlier size may be 0, for which there is none."""
    return 100 * (later / earlier - 1) if earlier > 0 else math.nan
