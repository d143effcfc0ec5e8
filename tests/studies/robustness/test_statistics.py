"""The statistics equal closed forms and those of scipy and statsmodels on their own."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import bootstrap, linregress, wilcoxon

from medsize.studies.robustness.analysis import overtaking
from medsize.studies.robustness.statistics import agreement, holm, mean_interval, paired_difference, subjects_by_seeds


def matrix(values: object) -> pd.DataFrame:
    return pd.DataFrame(np.asarray(values, dtype=float))


def test_a_subject_counts_once_whatever_its_scans_and_structures() -> None:
    rows = [
        ("A", "a1", "liver", 0, 0.9),
        ("A", "a1", "kidney", 0, 0.7),
        ("A", "a2", "liver", 0, 0.6),
        ("B", "b1", "liver", 0, 0.5),
        ("B", "b1", "liver", 1, 0.3),
    ]
    cases = pd.DataFrame(rows, columns=["subject", "image", "structure", "seed", "dice"])
    found = subjects_by_seeds(cases, "dice")
    assert found.loc["A", 0] == pytest.approx((0.8 + 0.6) / 2)
    assert found.loc["B", 1] == pytest.approx(0.3)
    assert np.isnan(found.loc["A", 1])
    assert subjects_by_seeds(cases, "dice", "kidney").loc["A", 0] == pytest.approx(0.7)


def test_the_interval_of_one_seed_is_scipys() -> None:
    values = np.random.default_rng(1).normal(0.8, 0.1, 20)
    found = mean_interval(matrix(values[:, None]))
    expected = bootstrap((values,), np.mean, n_resamples=4999, method="percentile", rng=np.random.default_rng(0))
    assert found["mean"] == pytest.approx(values.mean())
    assert (found["low"], found["high"]) == pytest.approx(tuple(expected.confidence_interval), abs=0.003)


def test_seeds_that_differ_widen_the_interval_as_their_variance_says() -> None:
    rng = np.random.default_rng(2)
    subjects, seeds = rng.normal(0, 0.05, (40, 1)), rng.normal(0, 0.05, (1, 40))
    found = mean_interval(matrix(0.8 + subjects + seeds))
    # Of rows and columns that are drawn independently the variances of the means add up.
    spread = np.sqrt(subjects.var() / 40 + seeds.var() / 40)
    assert found["high"] - found["low"] == pytest.approx(2 * 1.96 * spread, rel=0.08)


def test_of_one_subject_there_is_a_mean_and_no_interval() -> None:
    found = mean_interval(matrix([[0.5, 0.7]]))
    assert found["mean"] == pytest.approx(0.6)
    assert np.isnan(found["low"])
    assert found["subjects"] == 1
    assert np.isnan(mean_interval(matrix([[np.nan]]))["mean"])


@pytest.mark.filterwarnings("error")
def test_of_a_few_values_that_a_resample_can_miss_there_is_a_mean_and_no_interval() -> None:
    found = mean_interval(matrix([[1.0, np.nan, np.nan], [np.nan, 2.0, np.nan], [np.nan, np.nan, 6.0]]))
    assert found["mean"] == pytest.approx(3.0)
    assert np.isnan([found["low"], found["high"]]).all()


def test_paired_differences_are_tested_by_wilcoxon() -> None:
    rng = np.random.default_rng(3)
    first = rng.normal(0.7, 0.1, (15, 3))
    second = first + rng.normal(0.03, 0.04, (15, 3))
    found = paired_difference(matrix(second), matrix(first))
    differences = (second - first).mean(axis=1)
    assert found["mean"] == pytest.approx(differences.mean())
    assert found["p"] == pytest.approx(wilcoxon(differences).pvalue)
    ranks = pd.Series(np.abs(differences)).rank()
    assert found["effect"] == pytest.approx((ranks * np.sign(differences)).sum() / ranks.sum())


@pytest.mark.parametrize(("gain", "effect"), [(0.1, 1), (-0.1, -1), (0.0, 0)])
def test_the_effect_is_1_where_all_gain_and_minus_1_where_all_lose(gain: float, effect: float) -> None:
    values = matrix(np.linspace(0.5, 0.9, 8)[:, None])
    found = paired_difference(values + gain * np.arange(1, 9)[:, None], values)
    assert found["effect"] == pytest.approx(effect)
    assert found["p"] == pytest.approx(1 if gain == 0 else 2 / 2**8)


def test_only_seeds_of_both_are_paired() -> None:
    first = pd.DataFrame({0: [0.5, 0.6], 1: [0.9, 0.9]})
    second = pd.DataFrame({1: [0.8, 0.7], 2: [0.1, 0.1]})
    assert paired_difference(first, second)["mean"] == pytest.approx(0.15)


def test_holm_multiplies_the_smallest_p_by_their_number() -> None:
    corrected = holm(pd.Series([0.04, np.nan, 0.01, 0.03]))
    assert corrected.tolist() == pytest.approx([0.06, np.nan, 0.03, 0.06], nan_ok=True)


def test_agreement_of_volumes() -> None:
    rng = np.random.default_rng(4)
    true = np.linspace(20, 200, 30)
    predicted = 1.1 * true + 5 + rng.normal(0, 4, 30)
    cases = pd.DataFrame(
        {
            "subject": [f"S{i // 2}" for i in range(30)],
            "image": [f"{i}.nii" for i in range(30)],
            "volume_ml": predicted,
            "true_volume_ml": true,
        }
    )
    found = agreement(pd.concat([cases, cases]))  # two equal seeds are one
    difference = predicted - true
    assert found["scans"] == 30
    assert found["bias_ml"] == pytest.approx(difference.mean())
    assert found["high_limit_ml"] - found["bias_ml"] == pytest.approx(1.959964 * difference.std(ddof=1))
    line = linregress(predicted, true)
    assert found["slope"] == pytest.approx(line.slope)
    assert found["intercept_ml"] == pytest.approx(line.intercept)
    assert found["slope_low"] < 1 / 1.1 < found["slope_high"]


def test_limits_of_agreement_are_those_of_a_single_network() -> None:
    rng = np.random.default_rng(1)
    images = [f"{i}.nii" for i in range(400)]
    seeds = [
        pd.DataFrame(
            {"subject": images, "image": images, "true_volume_ml": 100.0, "volume_ml": 100 + rng.normal(0, 10, 400)}
        )
        for _ in range(3)
    ]
    found = agreement(pd.concat(seeds))
    assert found["scans"] == 400
    assert found["high_limit_ml"] == pytest.approx(19.6, rel=0.06)
    assert found["low_limit_ml"] == pytest.approx(-19.6, rel=0.06)


@pytest.mark.parametrize(
    ("difference", "expected"),
    [([-0.2, -0.1, 0.1], 0.2), ([0.1, 0.2, 0.0], 0.0), ([-0.1, -0.1, -0.1], np.nan), ([0.1, -0.1, 0.1], 0.2)],
)
def test_sizes_overtake_masks_where_they_lead_for_good(difference: list[float], expected: float) -> None:
    found = overtaking(np.array([0.0, 0.1, 0.3]), np.array(difference))
    assert found == pytest.approx(expected, nan_ok=True)
