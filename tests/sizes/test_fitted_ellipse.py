"""Tests of ellipses that fit structures."""

from __future__ import annotations

import math

import numpy as np
import pytest

from medsize.sizes.ellipse import ellipse_circumference
from medsize.sizes.fitted_ellipse import fitted_circumference, fitted_diameters


def ellipse(long: float, short: float, degrees: float, spacing: tuple[float, float]) -> np.ndarray:
    """Return the mask of an ellipse in the middle of 160 × 120 pixels."""
    x, y = (n * side for n, side in zip(np.mgrid[-80:80, -60:60], spacing, strict=True))
    turn = math.radians(degrees)
    along, across = x * math.cos(turn) + y * math.sin(turn), y * math.cos(turn) - x * math.sin(turn)
    return np.asarray((2 * along / long) ** 2 + (2 * across / short) ** 2 <= 1)


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (0.5, 0.8)])
def test_a_drawn_ellipse_has_its_own_diameters(spacing: tuple[float, float]) -> None:
    mask = ellipse(50, 30, 25, spacing)
    assert fitted_diameters(mask, spacing) == pytest.approx((50, 30), rel=0.01)
    assert fitted_circumference(mask, spacing) == pytest.approx(ellipse_circumference(50, 30), rel=0.01)


def test_crumbs_and_holes_do_not_count() -> None:
    mask = ellipse(50, 30, 0, (1, 1))
    mask[78:82, 58:62] = False
    mask[:3, :3] = True
    assert fitted_diameters(mask) == pytest.approx((50, 30), rel=0.01)


def test_nothing_has_no_circumference_and_a_pixel_has_one() -> None:
    assert math.isnan(fitted_circumference(np.zeros((4, 4), dtype=bool)))
    assert fitted_circumference(np.ones((1, 1), dtype=bool)) == pytest.approx(math.pi * 2 / math.sqrt(3))
