"""Sizes are written as people write them."""

from __future__ import annotations

import math

import pytest

from medsize.units import size_text


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (51_123, "51,120"),
        (1509.96, "1,510"),
        (999.96, "1,000"),
        (34.5, "34.5"),
        (0, "0"),
        (5e-5, "0.00005"),
        (-1234.0, "-1,234"),
        (math.nan, "nan"),
        (math.inf, "inf"),
    ],
)
def test_a_size_has_no_exponent(size: float, expected: str) -> None:
    assert size_text(size) == expected
