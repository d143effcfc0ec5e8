"""Volumes by point counting."""

from __future__ import annotations

import math

import numpy as np
import pytest

from medsize.sizes.point_counting import (
    cavalieri_volume,
    coefficient_of_error,
    point_counting_interval,
    section_areas_interval,
)


def test_the_volume_is_points_times_area_times_distance() -> None:
    assert cavalieri_volume([3, 10, 4], 25.0, 8.0) == 17 * 25 * 8


def test_the_error_by_hand() -> None:
    noise = 0.0724 * 5 * math.sqrt(3 * 17)
    variance = (3 * (9 + 100 + 16 - noise) - 4 * (30 + 40) + 12) / 12
    assert coefficient_of_error([3, 10, 4]) == pytest.approx(math.sqrt(noise + variance) / 17)
    assert coefficient_of_error([3, 10, 4], all_sections=True) == pytest.approx(math.sqrt(noise) / 17)


def test_no_point_inside_is_refused() -> None:
    with pytest.raises(ValueError, match="found no point inside"):
        coefficient_of_error([0, 0])


def test_what_few_points_hit_is_not_absent() -> None:
    low, high = point_counting_interval([1], 100.0, 10.0)
    assert 0 < low < 1000 < high < 10 * low


def test_the_interval_holds_the_volume_of_an_ellipsoid_nine_times_in_ten_at_least() -> None:
    rng = np.random.default_rng(0)
    radii = np.array([40.0, 30.0, 50.0])
    inside = []
    for _ in range(200):
        step, distance = 10.0, 12.0
        start = rng.uniform(0, (step, step, distance))
        x, y, z = (np.arange(-60 + offset, 60, by) for offset, by in zip(start, (step, step, distance), strict=True))
        distances = (x[:, None, None] / radii[0]) ** 2 + (y[:, None] / radii[1]) ** 2 + (z / radii[2]) ** 2
        counts = (distances < 1).sum(axis=(0, 1)).tolist()
        low, high = point_counting_interval(counts, step**2, distance)
        inside.append(low <= 4 / 3 * math.pi * radii.prod() <= high)
    assert np.mean(inside) >= 0.9


def test_areas_of_sections_have_the_error_of_the_reader_and_of_the_sections_between() -> None:
    volume = 2.0 * (30 + 100 + 40)
    variance = (3 * (30**2 + 100**2 + 40**2) - 4 * (30 * 100 + 100 * 40) + 30 * 40) / 12
    error = 2 * math.sqrt(variance) / 170
    assert section_areas_interval([30, 100, 40], 2.0, (1, 1)) == pytest.approx(
        (volume * (1 - error), volume * (1 + error))
    )
    whole = section_areas_interval([30, 100, 40], 2.0, (0.7, 1.4), all_sections=True)
    assert whole == pytest.approx((0.7 * volume, 1.4 * volume))
