"""
Intervals of predicted sizes, calibrated by given sizes of scans that were not trained on.

The score of a scan is the logarithm of predicted over given size, r = ln(v̂ / v). Its distance to the median of all
scans' scores, the new one among them, has exchangeable ranks: the ⌈(n + 1)(1 − α)⌉-th smallest distance bounds that of
the new scan with a probability of 1 − α at least. The median takes a network's bias out, and n = 9 scans allow 90 %, as
without it. Where v is given as an interval, so is the score, and the distance is that of its farther end: then the
bound holds wherever in the given interval the true size is. Sources: Vovk, Gammerman, Shafer, "Algorithmic Learning in
a Random World", 2005; Lei, G'Sell, Rinaldo, Tibshirani, Wasserman, "Distribution-Free Predictive Inference for
Regression", 2018.

Scans of one subject are alike, so that subjects are counted: each has a weight of 1 / (n + 1), which its scans share,
as in Lee, Barber, Willett, "Distribution-Free Inference with Hierarchical Data", arXiv 2306.06342. With one scan each
this is the rule above.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "LEVEL",
    "SizeCalibration",
    "calibrate",
    "largest_level",
    "log_ratio",
    "rounded",
    "score_interval",
    "whole_percent",
]

LEVEL = 0.9
"""Probability with which an interval shall hold the size of a new scan."""
LEAST_SHARE = 0.01
"""Least size over the median of the given ones: smaller sizes count as equal."""
WIDE = 10.0
"""Ratio of an interval's ends above which it hardly tells a size."""
ROUNDING = 1e-9

Values = NDArray[np.float64]


@dataclass(frozen=True)
class SizeCalibration:
    """
    Calibration of a structure's predicted sizes: plain numbers, as ``summary.json`` and ``inference.json`` hold them.

    The interval of a predicted volume v̂ is ``low`` · max(v̂, ``least_ml``) to ``high`` · max(v̂, ``least_ml``). A low end
    at or below ``least_ml`` is 0, and a high end below it is ``least_ml``. No end is larger than the scan.
    """

    low: float | None = None
    """Factor of the low end; ``None``: there is no interval, and ``note`` says why."""
    high: float | None = None
    """Factor of the high end."""
    least_ml: float | None = None
    """Least volume that is told from an absent structure."""
    level: float | None = None
    """Probability with which the interval holds the volume of a new scan that is like those of the calibration."""
    subjects: int = 0
    """Number of subjects that calibrate."""
    scans: int = 0
    """Number of their scans."""
    note: str = ""
    """A reason why the level is not the one asked for, or there is no interval; or what the interval means."""

    @property
    def tells_little(self) -> bool:
        """True if the ends of an interval are so far apart that it hardly tells a size."""
        return self.low is not None and self.high is not None and self.high > WIDE * self.low

    def interval(self, volume_ml: float, scan_ml: float = math.inf) -> tuple[float, float] | None:
        """
        Return both ends of the interval of a predicted volume, mL; ``None`` if there is none.

        Args:
            volume_ml: v̂.
            scan_ml: volume of the whole scan, which no structure exceeds.
        """
        if self.low is None or self.high is None or self.least_ml is None:
            return None
        size = max(volume_ml, self.least_ml)
        low, high = self.low * size, self.high * size
        return min(low, scan_ml) if low > self.least_ml else 0.0, min(max(high, self.least_ml), scan_ml)


def calibrate(
    found: ArrayLike, low: ArrayLike, high: ArrayLike, subjects: Sequence[Hashable], level: float = LEVEL
) -> SizeCalibration:
    """
    Calibrate the predicted sizes of one structure.

    Args:
        found: v̂ of each scan, mL.
        low: its given size, or the low end of an interval of it; a scan without a finite one does not count.
        high: the same, or the high end.
        subjects: its subject.
        level: 1 − α. Where there are too few subjects, the largest level that they allow is taken, and noted.

    Raises:
        ValueError: when the level is not between 0 and 1, or the numbers of values differ.
    """
    if not 0 < level < 1:
        raise ValueError(f"level is {level}, expected a probability between 0 and 1.")
    lengths = [np.size(found), np.size(low), np.size(high), len(subjects)]
    if len(set(lengths)) > 1:
        names = "found, low, high and subjects"
        raise ValueError(
            f"{names} have {', '.join(map(str, lengths))} values, expected as many of each, one for a scan."
        )
    sizes = np.array([found, low, high], dtype=np.float64)
    known = np.asarray(np.isfinite(sizes).all(axis=0))
    predicted, smallest, largest = sizes[:, known]
    groups = [subject for subject, is_known in zip(subjects, known, strict=True) if is_known]
    n = len(set(groups))
    none = partial(SizeCalibration, subjects=n, scans=len(groups))
    if n == 0:
        return none(note="no scan has a known size of it: no interval")
    if not (largest > 0).any():
        return none(note="absent in all scans that calibrate: no interval")
    if n == 1:
        return none(note="one subject allows no interval")
    notes = []
    if (allowed := largest_level(n)) + ROUNDING < level:
        notes.append(f"{n} subjects allow {100 * n // (n + 1)} %, not {100 * level:g} %")
        level = allowed
    if (smallest < largest).any():
        notes.append("given as intervals: wide enough for any size within them")
    middle = (smallest + largest) / 2
    least = LEAST_SHARE * float(np.median(middle[middle > 0]))
    bottom, top = score_interval(
        log_ratio(predicted, largest, least), log_ratio(predicted, smallest, least), groups, level
    )
    return SizeCalibration(
        low=rounded(np.exp(-top)),
        high=rounded(np.exp(-bottom)),
        least_ml=rounded(least),
        level=rounded(level),
        subjects=n,
        scans=len(groups),
        note="; ".join(notes),
    )


def largest_level(n: int) -> float:
    """Return the largest level that n subjects allow, n / (n + 1)."""
    return n / (n + 1)


def whole_percent(level: float) -> int:
    """Return a level in whole percent, rounded down: no more is promised than is held."""
    return math.floor(100 * level + 1e-6)


def log_ratio(found: ArrayLike, size: ArrayLike, least: float) -> Values:
    """
    Return the scores of sizes, ln(v̂ / v).

    Args:
        found: v̂.
        size: v.
        least: size above 0; smaller ones count as equal to it, so that an absent structure has a score.
    """
    predicted, true = np.log(np.maximum(np.array([found, size], dtype=np.float64), least))
    return np.asarray(predicted - true)


def score_interval(low: ArrayLike, high: ArrayLike, subjects: Sequence[Hashable], level: float) -> tuple[float, float]:
    """
    Return the interval that holds the score of a scan of a new subject.

    Args:
        low: score of each scan that calibrates, or the low end of an interval of it.
        high: the same, or the high end.
        subjects: subject of each.
        level: probability; infinite ends, if there are too few subjects for it.
    """
    smallest, largest = np.array([low, high], dtype=np.float64)
    _, index, counts = np.unique([str(subject) for subject in subjects], return_inverse=True, return_counts=True)
    weights = 1 / ((len(counts) + 1) * counts[index])
    # A new score far above the others moves the median as one at +∞ would.
    above = _upper_end(smallest, largest, weights, level)
    below = -_upper_end(-largest, -smallest, weights, level)
    return below, above


def _upper_end(smallest: Values, largest: Values, weights: Values, level: float) -> float:
    middle = (smallest + largest) / 2
    order = np.argsort(middle)
    share = np.cumsum(weights[order])
    # With the new score, whose weight is that of a subject, the weights add up to 1.
    ends = [_first(middle[order], share >= 0.5 - ROUNDING), _first(middle[order], share > 0.5 + ROUNDING)]
    median = sum(ends) / 2
    if not np.isfinite(median):
        return np.inf
    distances = np.maximum(np.abs(smallest - median), np.abs(largest - median))
    order = np.argsort(distances)
    return median + _first(distances[order], np.cumsum(weights[order]) >= level - ROUNDING)


def _first(values: Values, chosen: NDArray[np.bool_]) -> float:
    return float(values[chosen.argmax()]) if chosen.any() else np.inf


def rounded(value: float) -> float:
    """Return a number of six digits, as a run records it."""
    return float(f"{value:.6g}")
