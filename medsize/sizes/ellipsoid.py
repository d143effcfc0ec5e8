"""Volume of an ellipsoid, from its diameters."""

from __future__ import annotations

import math
from collections.abc import Sequence

__all__ = ["ELLIPSOID_ERROR", "ellipsoid_volume"]

ELLIPSOID_ERROR = {1: (0.15, 1.5), 2: (0.4, 2.0), 3: (0.39, 1.1)}
"""
Volume over that of the ellipsoid of one, two and three diameters: nine in ten of 540 organs of ACDC, CHAOS and the
hippocampi of the Decathlon, measured in their masks; the upper end of three diameters leaves 8 % to the reader.
"""


def ellipsoid_volume(diameters: Sequence[float]) -> float:
    """
    Return the volume of the ellipsoid that has these diameters.

        V = π/6 · d₁ · d₂ · d₃

    One diameter is that of a sphere, V = π/6 · d³; two are those of a prolate spheroid, V = π/6 · long · short².

    Source: 4/3 · π · abc with the semi-axes a, b and c. Radiologists use it for organs and lesions, see Terris, Stamey.
    "Determination of prostate volume by transrectal ultrasound". Journal of Urology 1991.

    Args:
        diameters: one to three, in any order; mm give mm³.

    Raises:
        ValueError: when there are no diameters, or more than three.
    """
    if not 1 <= len(diameters) <= 3:
        raise ValueError(f"found {len(diameters)} diameters, expected 1 to 3. Give one to three.")
    long_to_short = sorted(diameters, reverse=True)
    return math.pi / 6 * math.prod((long_to_short + 2 * long_to_short[-1:])[:3])
