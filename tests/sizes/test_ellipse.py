"""Areas of ellipses from what a reader measures in a slice or picture."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import ellipe

from medsize.sizes.ellipse import circumference_area, ellipse_area, ellipse_circumference


def exact_circumference(long: float, short: float) -> float:
    return 2 * long * ellipe(1 - (short / long) ** 2)


@pytest.mark.parametrize(
    ("diameters", "area"),
    [([20.0], math.pi * 10**2), ([40.0, 20.0], math.pi * 20 * 10), ([20.0, 40.0], math.pi * 20 * 10)],
)
def test_an_area_is_that_of_the_semi_axes(diameters: list[float], area: float) -> None:
    assert ellipse_area(diameters) == pytest.approx(area, rel=1e-12)


@pytest.mark.parametrize("count", [0, 3])
def test_no_and_too_many_diameters_are_refused(count: int) -> None:
    with pytest.raises(ValueError, match=f"found {count} diameters, expected 1 or 2"):
        ellipse_area([10.0] * count)


lengths = st.floats(0.1, 1000)


@given(long=lengths, ratio=st.floats(0, 1))
def test_a_circumference_is_that_of_the_elliptic_integral(long: float, ratio: float) -> None:
    tolerance = 1e-5 if ratio > 0.25 else 5e-4
    exact = exact_circumference(long, long * ratio)
    assert ellipse_circumference(long, long * ratio) == pytest.approx(exact, rel=tolerance)


@given(long=lengths, ratio=st.floats(0.5, 1))
def test_a_circumference_alone_holds_every_ellipse_up_to_the_bound(long: float, ratio: float) -> None:
    low, high = circumference_area(exact_circumference(long, long * ratio))
    assert low * (1 - 1e-5) <= ellipse_area([long, long * ratio]) <= high * (1 + 1e-9)


def test_a_circumference_alone_is_a_circles_at_most() -> None:
    low, high = circumference_area(2 * math.pi * 10)
    assert high == pytest.approx(math.pi * 10**2, rel=1e-12)
    assert low == pytest.approx(0.841 * high, rel=1e-3)
    assert circumference_area(100, smallest_axis_ratio=0.7)[0] == pytest.approx(
        0.954 * 100**2 / (4 * math.pi), rel=1e-3
    )
    assert circumference_area(100, smallest_axis_ratio=1) == pytest.approx([100**2 / (4 * math.pi)] * 2, rel=1e-12)


@given(long=lengths, ratio=st.floats(0.25, 1), which=st.integers(0, 1))
def test_a_circumference_and_a_diameter_are_one_ellipse(long: float, ratio: float, which: int) -> None:
    diameters = [long, long * ratio]
    low, high = circumference_area(exact_circumference(*diameters), [diameters[which]])
    assert low == high == pytest.approx(ellipse_area(diameters), rel=1e-3)


@given(long=lengths, ratio=st.floats(0.25, 1), error=st.floats(-0.09, 0.09))
def test_two_diameters_and_a_circumference_span_both_areas(long: float, ratio: float, error: float) -> None:
    area = ellipse_area([long, long * ratio])
    low, high = circumference_area(exact_circumference(long, long * ratio) * (1 + error), [long, long * ratio])
    assert [low, high] == pytest.approx(sorted([area, area * (1 + error) ** 2]), rel=1e-4)


@pytest.mark.parametrize(
    ("measures", "message"),
    [
        ((120, [40, 20]), "circumference is 120, but diameters of 40 and 20 have one of 96.88. Correct one of them"),
        ((100, [60]), "circumference is 100, but with a diameter of 60 it is above 120. Correct one of them"),
        ((300, [9.5]), "with a diameter of 9.5, the other one is 149. Correct one of them, or its unit"),
        ((100, [30, 30, 30]), "found 3 diameters, expected at most 2"),
        ((100, [], 0), "the smallest axis ratio is 0, expected above 0"),
    ],
)
def test_measures_of_no_ellipse_are_refused(measures: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        circumference_area(*measures)
