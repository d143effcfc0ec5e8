"""Statistics of a study: intervals, paired comparisons, agreement of volumes."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import DegenerateDataWarning, bootstrap, norm, wilcoxon
from statsmodels.api import OLS, add_constant
from statsmodels.stats.multitest import multipletests

__all__ = ["ALL", "agreement", "holm", "mean_interval", "paired_difference", "subjects_by_seeds"]

ALL = "mean"
"""Name in place of a structure: the mean over all of them."""
RESAMPLES = 4999
CONFIDENCE = 0.95


def subjects_by_seeds(cases: pd.DataFrame, metric: str, structure: str = ALL) -> pd.DataFrame:
    """
    Return the mean of a metric for every subject (rows) and seed (columns).

    Args:
        cases: rows of one condition, with ``subject``, ``image``, ``structure``, ``seed`` and the metric.
        metric: column to average.
        structure: a structure, or :data:`ALL` for all, which count alike within a scan.
    """
    rows = cases if structure == ALL else cases[cases["structure"] == structure]
    of_scans = rows.groupby(["subject", "image", "seed"])[metric].mean()
    return of_scans.groupby(["subject", "seed"]).mean().unstack("seed")


def mean_interval(values: pd.DataFrame) -> dict[str, float]:
    """
    Return the mean with its 95 % interval over subjects and seeds.

    Subjects and seeds are drawn independently of each other, with replacement (the pigeonhole bootstrap: Owen, Annals
    of Applied Statistics 2007), by scipy's bootstrap, percentile method; for a single seed, only subjects.

    Args:
        values: subjects × seeds; NaN where undefined.

    Returns:
        ``mean``, ``low``, ``high`` and the number of ``subjects`` with a value. ``low`` and ``high`` are NaN for fewer
        than two subjects, and if a resample can miss all defined values.
    """
    matrix = values.dropna(how="all").dropna(how="all", axis="columns").to_numpy(dtype=float)
    result = {"mean": np.nan, "low": np.nan, "high": np.nan, "subjects": len(matrix)}
    if not len(matrix):
        return result
    result["mean"] = float(np.nanmean(matrix))
    if len(matrix) < 2:
        return result
    indices = [np.arange(n) for n in matrix.shape if n > 1]

    def mean(rows: np.ndarray, columns: np.ndarray | None = None, axis: int = -1) -> np.ndarray:
        columns = np.zeros(1, dtype=int) if columns is None else columns
        drawn = matrix[rows[..., :, None].astype(int), columns[..., None, :].astype(int)]
        defined = np.isfinite(drawn).sum(axis=(-2, -1))
        return np.asarray(np.nansum(drawn, axis=(-2, -1)) / np.where(defined, defined, np.nan))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DegenerateDataWarning)  # an interval that is NaN says so itself
        found = bootstrap(
            indices,
            mean,
            n_resamples=RESAMPLES,
            confidence_level=CONFIDENCE,
            method="percentile",
            vectorized=True,
            axis=-1,
            rng=np.random.default_rng(0),
        )
    return result | {"low": float(found.confidence_interval.low), "high": float(found.confidence_interval.high)}


def paired_difference(values: pd.DataFrame, reference: pd.DataFrame) -> dict[str, float]:
    """
    Compare a metric with the reference's in the same subjects.

    Args:
        values: subjects × seeds.
        reference: subjects × seeds of the reference; the seeds that both have are compared.

    Returns:
        ``mean``, ``low``, ``high`` and ``subjects`` of the differences, see :func:`mean_interval`; ``p``, of
        Wilcoxon's signed-rank test over the subjects' means, two-sided; and ``effect``, the matched-pairs rank-biserial
        correlation: 1 if every subject gains, −1 if every one loses.
    """
    differences = (values - reference)[values.columns.intersection(reference.columns)]
    result = mean_interval(differences) | {"p": np.nan, "effect": np.nan}
    of_subjects = differences.mean(axis="columns").dropna().to_numpy()
    if len(of_subjects) < 2:
        return result
    if not of_subjects.any():
        return result | {"p": 1.0, "effect": 0.0}
    p = wilcoxon(of_subjects, zero_method="zsplit").pvalue
    rank_sum = wilcoxon(of_subjects, zero_method="zsplit", alternative="greater").statistic
    pairs = len(of_subjects) * (len(of_subjects) + 1) / 2
    return result | {"p": float(p), "effect": float(2 * rank_sum / pairs - 1)}


def holm(p: pd.Series) -> pd.Series:
    """Correct p values for their number by Holm's method; NaN stay NaN and do not count."""
    known = p.dropna()
    corrected = pd.Series(np.nan, index=p.index)
    if len(known):
        corrected[known.index] = multipletests(known, method="holm")[1]
    return corrected


def agreement(cases: pd.DataFrame) -> dict[str, Any]:
    """
    Compare predicted with true volumes of one structure: Bland and Altman's limits, and calibration.

    Calibration is the line true = intercept + slope · predicted by least squares: slope 1 and intercept 0 for
    exact predictions. Its interval holds the scans of a subject together (cluster-robust).

    Args:
        cases: rows with ``subject``, ``image``, ``volume_ml`` and ``true_volume_ml``; a row for each seed, since
            the limits are those of a single network.

    Returns:
        ``scans``; ``bias_ml``, mean of predicted − true, ``low_limit_ml`` and ``high_limit_ml``, bias ± 1.96 standard
        deviations over scans and seeds; ``slope``, ``slope_low``, ``slope_high`` and ``intercept_ml``. NaN if there are
        too few scans.
    """
    volumes = cases[["subject", "image", "volume_ml", "true_volume_ml"]].dropna()
    difference = volumes["volume_ml"] - volumes["true_volume_ml"]
    scans = len(volumes[["subject", "image"]].drop_duplicates())
    # Seeds add to the spread, but not to the degrees of freedom.
    variance = difference.var(ddof=0) * scans / (scans - 1) if scans > 1 else np.nan
    spread = norm.ppf((1 + CONFIDENCE) / 2) * np.sqrt(variance)
    result = {
        "scans": scans,
        "bias_ml": difference.mean(),
        "low_limit_ml": difference.mean() - spread,
        "high_limit_ml": difference.mean() + spread,
        **dict.fromkeys(("slope", "slope_low", "slope_high", "intercept_ml"), np.nan),
    }
    subjects = volumes["subject"]
    if subjects.nunique() < 3 or volumes["volume_ml"].nunique() < 2:
        return result
    line = OLS(volumes["true_volume_ml"], add_constant(volumes["volume_ml"])).fit(
        cov_type="cluster", cov_kwds={"groups": subjects.factorize()[0]}
    )
    low, high = line.conf_int(1 - CONFIDENCE).loc["volume_ml"]
    intercept, slope = line.params["const"], line.params["volume_ml"]
    return result | {"slope": slope, "slope_low": low, "slope_high": high, "intercept_ml": intercept}
