"""Area of an ellipse in a slice or picture, from its diameters, its circumference, or both."""

from __future__ import annotations

import math
from collections.abc import Sequence

from scipy.optimize import brentq

__all__ = ["LARGEST_DISAGREEMENT", "SMALLEST_AXIS_RATIO", "circumference_area", "ellipse_area", "ellipse_circumference"]

SMALLEST_AXIS_RATIO = 0.5
"""Short over long diameter of the flattest ellipse that a circumference alone may be of."""
NEEDLE = 0.1
"""Axis ratio below which a diameter beside a circumference is taken for a mistake, such as cm for mm."""
LARGEST_DISAGREEMENT = 0.1
"""Part by which a circumference may differ from that of the ellipse that has the stated diameters."""


def ellipse_area(diameters: Sequence[float]) -> float:
    """
    Return the area of the ellipse that has these diameters.

        A = π/4 · d₁ · d₂

    One diameter is that of a circle, A = π/4 · d².

    Args:
        diameters: one or two, in any order; mm give mm².

    Raises:
        ValueError: when there are no diameters, or more than two.
    """
    if not 1 <= len(diameters) <= 2:
        raise ValueError(f"found {len(diameters)} diameters, expected 1 or 2. Give one or two.")
    return math.pi / 4 * diameters[0] * diameters[-1]


def ellipse_circumference(long: float, short: float) -> float:
    """
    Return the circumference of the ellipse that has these diameters.

        C ≈ π/2 · (d₁ + d₂) · (1 + 3h / (10 + √(4 − 3h))), h = ((d₁ − d₂) / (d₁ + d₂))²

    It is exact to 0.04 %, and to 0.001 % above an axis ratio of 0.25.

    Source: Ramanujan. "Modular equations and approximations to π". Quarterly Journal of Mathematics 1914, his second
    formula.

    Args:
        long: a diameter above 0.
        short: the other one, in any order.
    """
    h = ((long - short) / (long + short)) ** 2
    return math.pi / 2 * (long + short) * (1 + 3 * h / (10 + math.sqrt(4 - 3 * h)))


def circumference_area(
    circumference: float, diameters: Sequence[float] = (), smallest_axis_ratio: float = SMALLEST_AXIS_RATIO
) -> tuple[float, float]:
    """
    Return the least and the largest area of an ellipse that has this circumference.

    - Alone, it is at most that of a circle, C² / 4π, whatever the shape (isoperimetric inequality). It is at least that
      of the flattest ellipse: 84 % of the circle for an axis ratio of 0.5, 95 % for one of 0.7.
    - With one diameter, the ellipse is known, and both ends are equal.
    - With two, there is a number too many. Both ends are the area by the diameters, and that of an ellipse of the same
      axis ratio by the circumference.

    Args:
        circumference: above 0; mm give mm².
        diameters: none, one or two of the ellipse's diameters, in any order.
        smallest_axis_ratio: short over long diameter of the flattest ellipse; used if no diameter is given.

    Raises:
        ValueError: when no ellipse has these measures, or when two diameters and the circumference differ by more than
            10 %.
    """
    if len(diameters) > 2:
        raise ValueError(f"found {len(diameters)} diameters, expected at most 2. Give those in the plane.")
    if not diameters:
        if not 0 < smallest_axis_ratio <= 1:
            raise ValueError(f"the smallest axis ratio is {smallest_axis_ratio}, expected above 0 and at most 1.")
        flattest = ellipse_area([1, smallest_axis_ratio]) / ellipse_circumference(1, smallest_axis_ratio) ** 2
        return flattest * circumference**2, circumference**2 / (4 * math.pi)
    if len(diameters) == 1:
        area = ellipse_area([diameters[0], _other_diameter(circumference, diameters[0])])
        return area, area
    expected = ellipse_circumference(*diameters)
    if abs(circumference / expected - 1) > LARGEST_DISAGREEMENT:
        raise ValueError(
            f"the circumference is {circumference:g}, but diameters of {diameters[0]:g} and {diameters[1]:g} have one "
            f"of {expected:.4g}. Correct one of them"
        )
    by_diameters = ellipse_area(diameters)
    by_circumference = by_diameters * (circumference / expected) ** 2
    return min(by_diameters, by_circumference), max(by_diameters, by_circumference)


def _other_diameter(circumference: float, diameter: float) -> float:
    """Return the second diameter of an ellipse."""
    if circumference <= ellipse_circumference(diameter, 0):
        raise ValueError(
            f"the circumference is {circumference:g}, but with a diameter of {diameter:g} it is above "
            f"{2 * diameter:g}. Correct one of them"
        )
    largest = circumference / 2  # of a flat ellipse
    other = float(brentq(lambda other: ellipse_circumference(diameter, other) - circumference, 0, largest))
    if min(diameter, other) < NEEDLE * max(diameter, other):
        raise ValueError(
            f"the circumference is {circumference:g}: with a diameter of {diameter:g}, the other one is {other:.3g}. "
            "Correct one of them, or its unit"
        )
    return other
