"""Levels of a network halve an axis of thick slices later than the others."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medsize.data.strides import strides_of


@pytest.mark.parametrize(
    ("spacing", "roi_size", "strides"),
    [
        ((1.0, 1.0, 1.0), (40, 56, 40), [[2, 2, 2]] * 3),
        ((1.25, 1.25, 7.7), (256, 256, 40), [[2, 2, 1], [2, 2, 1], [2, 2, 2]]),
        ((3.0, 3.0, 7.7), (128, 128, 40), [[2, 2, 1], [2, 2, 2], [2, 2, 2]]),
        ((3.0, 1.0, 1.0), (40, 56, 40), [[1, 2, 2], [2, 2, 2], [2, 2, 2]]),
        ((1.0, 1.0, 1.0), (96, 96, 6), [[2, 2, 2], [2, 2, 1], [2, 2, 1]]),
        ((1.0, 1.0, 3.0), (4, 4, 32), [[2, 2, 1], [1, 1, 2], [1, 1, 2]]),
        ((1.0, 1.0), (9, 9), [[1, 1]] * 3),
    ],
    ids=["equal", "thick slices", "less thick", "first axis", "few slices", "narrow", "odd"],
)
def test_an_axis_waits_until_the_others_have_caught_up(
    spacing: tuple[float, ...], roi_size: tuple[int, ...], strides: list[list[int]]
) -> None:
    assert strides_of(spacing, roi_size, 3) == strides


@given(
    st.lists(st.tuples(st.floats(0.1, 20), st.integers(1, 300)), min_size=2, max_size=3),
    st.integers(1, 5),
)
def test_every_window_fits_its_strides(axes: list[tuple[float, int]], levels: int) -> None:
    spacing, roi_size = zip(*axes, strict=True)
    strides = strides_of(spacing, roi_size, levels)
    assert len(strides) == levels
    for side, along_axis in zip(roi_size, zip(*strides, strict=True), strict=True):
        assert side % math.prod(along_axis) == 0
