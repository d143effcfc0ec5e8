"""Intervals of sizes hold as many new sizes as they say, whatever the unit."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medsize.metrics import SizeCalibration, calibrate
from medsize.metrics.conformal import log_ratio, score_interval

sizes = st.floats(0.1, 1000.0)
cohorts = st.lists(st.tuples(sizes, sizes), min_size=2, max_size=40)


def calibrated(pairs: list[tuple[float, float]], level: float = 0.9, scale: float = 1.0) -> SizeCalibration:
    found, true = scale * np.array(pairs).T
    return calibrate(found, true, true, range(len(pairs)), level)


@pytest.mark.parametrize(("subjects", "scans"), [(5, 1), (9, 1), (9, 2), (20, 1), (40, 3)])
def test_intervals_hold_the_sizes_of_new_subjects_as_often_as_they_say(subjects: int, scans: int) -> None:
    rng, held = np.random.default_rng(0), []
    for _ in range(600):
        # A biased network, heavy tails, and subjects whose scans are alike.
        error = 0.4 + 0.2 * rng.normal(size=(subjects + 1, 1)) + 0.1 * rng.standard_t(3, size=(subjects + 1, scans))
        true = rng.lognormal(3, 1, size=error.shape)
        found = true * np.exp(error)
        of = np.arange(subjects).repeat(scans)
        made = calibrate(found[:-1].ravel(), true[:-1].ravel(), true[:-1].ravel(), list(of))
        ends = [made.interval(volume) for volume in found[-1]]
        held += [low <= volume <= high for (low, high), volume in zip(ends, true[-1], strict=True)]
    promised = min(0.9, subjects / (subjects + 1))
    # At least as often; scans of one subject and few subjects make it more often, by two subjects' shares at most.
    assert promised - 0.03 < np.mean(held) < promised + 0.03 + 2 * (scans > 1) / (subjects + 1)


@given(pairs=cohorts, levels=st.tuples(st.floats(0.05, 0.99), st.floats(0.05, 0.99)))
@settings(max_examples=60, deadline=None)
def test_a_higher_level_has_a_wider_interval(pairs: list[tuple[float, float]], levels: tuple[float, float]) -> None:
    inner, outer = (calibrated(pairs, level) for level in sorted(levels))
    assert outer.low <= inner.low <= inner.high <= outer.high
    assert inner.level <= outer.level


@given(pairs=cohorts, scale=st.floats(1e-3, 1e3), volume=sizes)
@settings(max_examples=60, deadline=None)
def test_another_unit_scales_the_interval(pairs: list[tuple[float, float]], scale: float, volume: float) -> None:
    one, other = calibrated(pairs), calibrated(pairs, scale=scale)
    assert (other.low, other.high) == pytest.approx((one.low, one.high), rel=1e-4)
    scaled = [scale * end for end in one.interval(volume)]
    assert other.interval(scale * volume) == pytest.approx(scaled, rel=1e-4, abs=1e-4 * scale)


def test_nine_subjects_allow_90_percent_and_the_bias_is_taken_out() -> None:
    found = [150, 120, 140, 130, 135, 145, 155, 125, 160]
    made = calibrate(found, [100] * 9, [100] * 9, "abcdefghi")
    assert (made.level, made.subjects, made.note) == (0.9, 9, "")
    low, high = made.interval(140)
    assert 80 < low < 100 < high < 130


@pytest.mark.parametrize(("level", "note"), [(0.9, "8 subjects allow 88 %, not 90 %"), (0.8, "")])
def test_too_few_subjects_get_the_largest_level_that_they_allow(level: float, note: str) -> None:
    made = calibrated([(10.0 + n, 10.0) for n in range(8)], level)
    assert made.level == pytest.approx(min(level, 8 / 9), rel=1e-5)
    assert made.note == note


@pytest.mark.parametrize(
    ("found", "true", "subjects", "note"),
    [
        ([10, 12], [11, 11], ["a", "a"], "one subject allows no interval"),
        ([0, 0.5, 0], [0, 0, 0], "abc", "absent in all scans that calibrate: no interval"),
        ([10, 12], [math.nan, math.inf], "ab", "no scan has a known size of it: no interval"),
        ([], [], "", "no scan has a known size of it: no interval"),
    ],
)
def test_without_a_calibration_there_is_no_interval(found: list, true: list, subjects: str, note: str) -> None:
    made = calibrate(found, true, true, subjects)
    assert (made.low, made.high, made.level, made.note) == (None, None, None, note)
    assert made.interval(10.0) is None


def test_absent_structures_have_intervals_down_to_nothing() -> None:
    found = [100, 110, 0, 0, 90, 105, 95, 0, 102, 98]
    true = [100, 100, 0, 0, 100, 100, 100, 0.2, 100, 100]
    made = calibrate(found, true, true, range(10), level=0.8)
    assert made.least_ml == pytest.approx(1.0)
    low, high = made.interval(0.0)
    assert low == 0
    assert 1.0 <= high < 1.2


@pytest.mark.parametrize("width", [1.1, 2.0, 10.0])
def test_given_intervals_make_room_for_any_size_within_them(width: float) -> None:
    rng, held = np.random.default_rng(0), []
    for _ in range(400):
        true = rng.lognormal(3, 1, size=21)
        found = true * np.exp(0.2 * rng.normal(size=21))
        # Whoever gives an interval may have the true size anywhere in it, here at the low end.
        made = calibrate(found[:-1], true[:-1], width * true[:-1], range(20))
        low, high = made.interval(found[-1])
        held.append(low <= true[-1] <= high)
        assert high >= width * low
    assert np.mean(held) > 0.87
    assert made.note == "given as intervals: wide enough for any size within them"


def test_predictions_within_wide_given_intervals_do_not_make_a_sure_one() -> None:
    found = np.array([5.0, 12, 15, 18, 40, 11, 14, 19, 16, 13])
    made = calibrate(found, 0.1 * found, 20 * found, range(10))
    low, high = made.interval(10.0)
    assert low <= 1
    assert high >= 200
    assert made.tells_little


def test_exact_sizes_have_no_note_on_intervals() -> None:
    assert calibrate([10.0, 12, 14], [10, 11, 12], [10, 11, 12], range(3), level=0.5).note == ""


def test_a_score_is_the_logarithm_of_the_ratio_and_absence_has_one() -> None:
    assert log_ratio([5, 10, 0], [10, 10, 10], 0.1) == pytest.approx([math.log(0.5), 0, math.log(0.01)])


def test_a_level_that_is_not_a_probability_is_refused() -> None:
    with pytest.raises(ValueError, match=r"level is 90, expected a probability between 0 and 1"):
        calibrate([1], [1], [1], "a", 90)


def test_values_that_are_not_of_the_same_scans_are_refused() -> None:
    with pytest.raises(ValueError, match=r"found, low, high and subjects have 2, 1, 1, 2 values, expected as many"):
        calibrate([1, 2], [1], [1], "ab")
    assert score_interval([1.0, 2.0], [1.0, 2.0], ["a", "b"], 0.9)[1] == math.inf
