"""Measurements of one structure in one scan: its lesions, and those that were measured more than once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from medsize.measurements.measurement import Measurement
from medsize.units import MM3_PER_ML, size_text

__all__ = ["SAME", "SIMILAR", "disagreement", "lesions", "with_crossing_lines"]

SAME = 1.1
"""Ratio up to which two volumes, or two ellipsoids, are the same size: exports round."""
SIMILAR = 3.0
"""Ratio up to which an ellipsoid of diameters may be that of a volume."""
STEEPEST = 60.0
"""Angle from which lines that cross are two diameters of one structure."""


def with_crossing_lines(measurements: Sequence[Measurement]) -> list[Measurement]:
    """
    Join lines that cross at right angles: viewers without a tool for two diameters take two lines.

    Lines cross if the middle of one is within half the length of the other, and they enclose at least 60 degrees. Up to
    three become the diameters of one measurement.
    """
    kept: list[Measurement] = []
    for one in measurements:
        partner = next((i for i, other in enumerate(kept) if _cross(one, other)), None)
        if partner is None:
            kept.append(one)
        else:
            other = kept[partner]
            kept[partner] = replace(
                other,
                diameters_mm=tuple(sorted((*other.diameters_mm, *one.diameters_mm), reverse=True)),
                places=(*other.places, *one.places),
                where=f"{other.where} and {one.where}",
            )
    return kept


def lesions(measurements: Sequence[Measurement]) -> list[list[Measurement]]:
    """
    Divide the measurements of a structure into those of each lesion.

    Two are of one lesion if their identifiers are equal, or the place of one is within the other; or without places, if
    they have the same two or three diameters. One without identifier and place is of the only lesion that there is.

    Raises:
        ValueError: when such a one stands beside several lesions.
    """
    named = [m for m in measurements if m.lesion or m.places]
    groups: list[list[Measurement]] = []
    for one in named:
        same = [number for number, group in enumerate(groups) if any(_is_same(one, other) for other in group)]
        joined = [*(member for number in same for member in groups[number]), one]
        groups = [joined if number in same[:1] else g for number, g in enumerate(groups) if number not in same[1:]]
        groups += [] if same else [joined]
    whole = [m for m in measurements if not (m.lesion or m.places)]
    if len(groups) > 1 and whole:
        raise ValueError(
            f"{whole[0]}: found {len(groups)} lesions of '{whole[0].structure}' in this scan, and this size without a "
            "place or an identifier, expected one or the other. Is it the size of all? Leave out either."
        )
    return [[*groups[0], *whole]] if groups and whole else groups or [whole]


def disagreement(measurements: Sequence[Measurement]) -> str:
    """Return a problem if the sizes that were measured of one lesion differ; else an empty text."""
    sized = [(m.mm3, "diameters" if m.volume_mm3 is None else "volume", m) for m in measurements if m.mm3 is not None]
    for kinds, most in ((("volume",), SAME), (("diameters",), SAME), (("volume", "diameters"), SIMILAR)):
        compared = sorted(((mm3, m) for mm3, kind, m in sized if kind in kinds), key=lambda pair: pair[0])
        if compared and compared[-1][0] > most * compared[0][0]:
            (low, one), (high, other) = compared[0], compared[-1]
            return (
                f"{other}: found '{other.structure}' of {size_text(high / MM3_PER_ML)} mL, but "
                f"{size_text(low / MM3_PER_ML)} mL in {one}, expected one size. Leave one out, name lesions apart, or "
                "take both as bounds: --between."
            )
    return ""


def _cross(one: Measurement, other: Measurement) -> bool:
    if one.volume_mm3 is not None or other.volume_mm3 is not None:
        return False
    if len(one.diameters_mm) != 1 or not 1 <= len(other.diameters_mm) <= 2:
        return False
    lines = [np.array(place.points) for m in (one, other) for place in m.places]
    if len(lines) != 1 + len(other.diameters_mm) or any(len(line) != 2 for line in lines):
        return False
    first, *others = lines
    return all(
        np.linalg.norm(first.mean(axis=0) - line.mean(axis=0)) <= max(_length(first), _length(line)) / 2
        and _angle(first, line) >= STEEPEST
        for line in others
    )


def _is_same(one: Measurement, other: Measurement) -> bool:
    if one.lesion and one.lesion.casefold() == other.lesion.casefold():
        return True
    if not (one.places and other.places):
        # A report repeats its findings in its impression, in other words.
        return len(one.diameters_mm) > 1 and sorted(one.diameters_mm) == sorted(other.diameters_mm)
    radius = min((m.mm3 * 3 / (4 * math.pi)) ** (1 / 3) for m in (one, other) if m.mm3) if one.mm3 and other.mm3 else 0
    middles = [np.mean([np.mean(place.points, axis=0) for place in m.places], axis=0) for m in (one, other)]
    return bool(np.linalg.norm(middles[0] - middles[1]) <= radius)


def _length(line: np.ndarray) -> float:
    return float(np.linalg.norm(line[1] - line[0]))


def _angle(one: np.ndarray, other: np.ndarray) -> float:
    """Return the angle between two lines, up to 90 degrees."""
    lengths = _length(one) * _length(other)
    cosine = abs(float(np.dot(one[1] - one[0], other[1] - other[0]))) / lengths if lengths else 1.0
    return math.degrees(math.acos(min(cosine, 1.0)))
