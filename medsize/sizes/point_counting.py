"""Volume of a structure by point counting, after Cavalieri, with its standard error."""

from __future__ import annotations

import math
from collections.abc import Sequence

__all__ = ["cavalieri_volume", "coefficient_of_error", "point_counting_interval", "section_areas_interval"]

SHAPE_FACTOR = 5.0
"""Boundary over the square root of the area of a section: 3.5 for a disc, 5 for a moderately elongated shape."""
NOISE = 0.0724
"""Gundersen and Jensen's constant of the error by counting points on a square grid."""
LEAST = 0.25
"""Least lower end of an interval, over the volume: what a point has hit is there, however few they are."""
BETWEEN_SECTIONS = 12.0
"""Divisor of the variance between sections of any shape; 240 holds for smooth ones."""


def cavalieri_volume(counts: Sequence[float], point_area_mm2: float, distance_mm: float) -> float:
    """
    Return the volume by the points inside on parallel sections at equal distances, the first at a random place.

        V = d · a · Σ Pᵢ

    Source: Gundersen, Jensen. "The efficiency of systematic sampling in stereology and its prediction". Journal of
    Microscopy 1987.

    Args:
        counts: points inside the structure on each section; or areas, with a point area of 1.
        point_area_mm2: area that a point of the grid stands for.
        distance_mm: distance of two sections.
    """
    return distance_mm * point_area_mm2 * sum(counts)


def coefficient_of_error(
    counts: Sequence[float], shape_factor: float = SHAPE_FACTOR, all_sections: bool = False
) -> float:
    """
    Return the standard error of the volume, over the volume.

        Noise = 0.0724 · b/√a · √(n · ΣPᵢ),  Var = (3 (ΣPᵢ² − Noise) − 4 ΣPᵢPᵢ₊₁ + ΣPᵢPᵢ₊₂) / 12
        CE = √(Noise + Var) / ΣPᵢ

    Source: Gundersen, Jensen 1987; Gundersen, Jensen, Kiêu, Nielsen. "The efficiency of systematic sampling in
    stereology, reconsidered". Journal of Microscopy 1999.

    Args:
        counts: points inside on each section, in the order of the sections; or areas, with a shape factor of 0.
        shape_factor: mean boundary over the square root of the area of a section, b/√a. 0: counting has no error.
        all_sections: whether the sections are all that there are, as all slices of a scan. Then none are between them.

    Raises:
        ValueError: when no point is inside.
    """
    total = sum(counts)
    if total <= 0:
        raise ValueError("found no point inside, expected one at least. Use a finer grid, or state that it is absent.")
    inside = sum(count > 0 for count in counts)
    noise = NOISE * shape_factor * math.sqrt(inside * total)
    variance = 0.0
    if not all_sections:
        squares, next_ones, second_next = (
            sum(one * other for one, other in zip(counts, counts[lag:], strict=False)) for lag in range(3)
        )
        variance = max(3 * (squares - noise) - 4 * next_ones + second_next, 0.0) / BETWEEN_SECTIONS
    return math.sqrt(noise + variance) / total


def point_counting_interval(
    counts: Sequence[int], point_area_mm2: float, distance_mm: float, all_sections: bool = False
) -> tuple[float, float]:
    """
    Return the ends of the volume's interval, two standard errors to each side, at least a quarter: about 95 %.

    Args:
        counts: see :func:`coefficient_of_error`.
        point_area_mm2: see :func:`cavalieri_volume`.
        distance_mm: see :func:`cavalieri_volume`.
        all_sections: see :func:`coefficient_of_error`.

    Raises:
        ValueError: when no point is inside.
    """
    volume = cavalieri_volume(counts, point_area_mm2, distance_mm)
    error = 2 * coefficient_of_error(counts, all_sections=all_sections)
    return volume * max(1 - error, LEAST), volume * (1 + error)


def section_areas_interval(
    areas_mm2: Sequence[float], distance_mm: float, area_error: tuple[float, float], all_sections: bool = False
) -> tuple[float, float]:
    """
    Return the ends of the volume's interval by the areas of parallel sections, which may all be wrong alike.

    Two standard errors of the sections' choice are added to the error of the areas.

    Args:
        areas_mm2: area of the structure on each section, in the order of the sections.
        distance_mm: see :func:`cavalieri_volume`.
        area_error: lowest and highest true area, over the one that was read.
        all_sections: see :func:`coefficient_of_error`.

    Raises:
        ValueError: when all areas are 0.
    """
    error = 2 * coefficient_of_error(areas_mm2, shape_factor=0.0, all_sections=all_sections)
    volume, (least, most) = cavalieri_volume(areas_mm2, 1.0, distance_mm), area_error
    return volume * least * max(1 - error, LEAST), volume * most * (1 + error)
