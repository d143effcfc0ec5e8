"""Noise in sizes, like the errors of readers and reports."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.optimize import brentq
from scipy.stats import norm

from medsize.items import TrainingItem, size_key
from medsize.metrics.size_error import mean_relative_error, relative_size_error
from medsize.sizes.error_model import ErrorModel
from medsize.sizes.region import fit_into_region

__all__ = [
    "MEASURED",
    "SIZE_NOISES",
    "SIZE_NOISE_KINDS",
    "SizeNoise",
    "expected_size_change",
    "find_size_noise",
    "relative_size_change",
    "with_size_noise",
]

SMALLEST_FACTOR = 0.05
"""Smallest factor of a size, as a size of 0 would mean an absent structure."""


def gaussian(sizes: np.ndarray, scans: np.ndarray, level: float, rng: np.random.Generator) -> np.ndarray:
    """
    Draw normal errors: the factors are max(1 + σ·ε, 0.05), ε standard normal, with the level as the expected mRE.

        mRE = σ·√(2/π) − σ·φ(a/σ) + a·Φ(−a/σ),  a = 0.95
    """
    a = 1 - SMALLEST_FACTOR

    def expected(sigma: float) -> float:
        return float(sigma * np.sqrt(2 / np.pi) - sigma * norm.pdf(a / sigma) + a * norm.cdf(-a / sigma))

    sigma = brentq(lambda s: expected(s) - level, 1e-6, 1e3)
    return np.maximum(1 + sigma * rng.standard_normal(len(sizes)), SMALLEST_FACTOR)


def log_normal(sizes: np.ndarray, scans: np.ndarray, level: float, rng: np.random.Generator) -> np.ndarray:
    """
    Draw log-normal errors, as likely half as double: the factors are exp(σ·ε), with the level as the expected mRE.

        mRE = exp(σ²/2)·(2·Φ(σ) − 1)
    """
    return np.exp(_log_normal_sigma(level) * rng.standard_normal(len(sizes)))


def diameters(sizes: np.ndarray, scans: np.ndarray, level: float, rng: np.random.Generator) -> np.ndarray:
    """
    Draw errors of volumes from three diameters, the same factor for all slices of a scan.

    See :func:`medsize.sizes.ellipsoid.ellipsoid_volume`.

    Each diameter is misread by a factor exp(σ·ε). The structure differs from its ellipsoid by such a factor, too. All
    are independent. Together the factor is exp(2σ·ε), with the mRE of log-normal errors: at 0.1, 0.3, 0.5 and 0.8, σ
    is 0.06, 0.18, 0.28 and 0.40.
    """
    found, index = np.unique(scans, return_inverse=True)
    sigma = _log_normal_sigma(level) / 2
    return np.exp(sigma * rng.standard_normal((len(found), 4)).sum(axis=1))[index]


def too_large(sizes: np.ndarray, scans: np.ndarray, level: float, rng: np.random.Generator) -> np.ndarray:
    """Return the factors of a reader who always measures too much: 1 + level. The mRE is the level."""
    return np.full(len(sizes), 1 + level)


def too_small(sizes: np.ndarray, scans: np.ndarray, level: float, rng: np.random.Generator) -> np.ndarray:
    """Return the factors of a reader who always measures too little: 1 − level, at least 0.05. The mRE is the level."""
    return np.full(len(sizes), max(1 - level, SMALLEST_FACTOR))


def rounded(sizes: np.ndarray, scans: np.ndarray, level: float, rng: np.random.Generator) -> np.ndarray:
    """Round sizes to multiples of ``level`` times the cohort's median, to one multiple at least."""
    step = level * np.median(sizes)
    return np.maximum(np.round(sizes / step), 1) * step / sizes


def terciles(sizes: np.ndarray, scans: np.ndarray, level: float, rng: np.random.Generator) -> np.ndarray:
    """Replace a size, as "small", "medium" or "large", by the mean of its third of the cohort, at any level."""
    third = np.searchsorted(np.quantile(sizes, [1 / 3, 2 / 3]), sizes, side="left")
    means = np.array([sizes[third == t].mean() if (third == t).any() else np.nan for t in range(3)])
    return means[third] / sizes


def swapped(sizes: np.ndarray, scans: np.ndarray, level: float, rng: np.random.Generator) -> np.ndarray:
    """Exchange the share ``level`` of all sizes for others, as if reports were mixed up."""
    chosen = rng.permutation(np.flatnonzero(rng.random(len(sizes)) < level))
    mixed = sizes.copy()
    mixed[chosen] = sizes[np.roll(chosen, 1)]
    return mixed / sizes


def missing(sizes: np.ndarray, scans: np.ndarray, level: float, rng: np.random.Generator) -> np.ndarray:
    """Make the share ``level`` of all sizes unknown (NaN)."""
    return np.where(rng.random(len(sizes)) < level, np.nan, 1.0)


def _log_normal_sigma(level: float) -> float:
    return float(brentq(lambda s: np.exp(s**2 / 2) * (2 * norm.cdf(s) - 1) - level, 1e-6, 5))


def _expect_level(sizes: np.ndarray, level: float) -> float:
    return level


def _expect_swaps(sizes: np.ndarray, level: float) -> float:
    """Return level · mean over i and j ≠ i of |sⱼ − sᵢ| / sᵢ."""
    ordered, count = np.sort(sizes), len(sizes)
    rank, below = np.arange(count), np.cumsum(ordered) - ordered
    distances = rank * ordered - below + (ordered.sum() - below - ordered) - (count - 1 - rank) * ordered
    return float(level * (distances / ordered).mean() / max(count - 1, 1))


@dataclass(frozen=True)
class SizeNoise:
    """A kind of noise in sizes."""

    factors: Callable[[np.ndarray, np.ndarray, float, np.random.Generator], np.ndarray]
    """
    Function that returns the factors to multiply the sizes with.

    Its first argument has the known sizes of a structure in all scans (or slices) that show it, shape ``(N,)``. The
    others are the index of each size's scan, the level and a source of randomness.
    """
    expectation: Callable[[np.ndarray, float], float] | None = None
    """Function that returns the expected mRE for sizes and a level. ``None``: the sizes determine the errors."""

    def expected_mre(self, sizes: np.ndarray, level: float) -> float:
        """
        Return the expected mRE.

        Args:
            sizes: sizes of a structure, shape ``(N,)``.
            level: strength of the noise.
        """
        if self.expectation is not None:
            return self.expectation(sizes, level)
        factors = self.factors(sizes, np.arange(len(sizes)), level, np.random.default_rng(0))
        return float(relative_size_error(factors * sizes, sizes).mean())


SIZE_NOISES = {
    "gaussian": SizeNoise(gaussian, _expect_level),
    "log-normal": SizeNoise(log_normal, _expect_level),
    "diameters": SizeNoise(diameters, _expect_level),
    "too large": SizeNoise(too_large),
    "too small": SizeNoise(too_small),
    "rounded": SizeNoise(rounded),
    "terciles": SizeNoise(terciles),
    "swapped": SizeNoise(swapped, _expect_swaps),
    "missing": SizeNoise(missing, lambda sizes, level: 0.0),  # of the sizes that are left
}
MEASURED = "measured"
"""Kind of noise that is drawn from a model of readers' errors, at any level."""
SIZE_NOISE_KINDS = (*SIZE_NOISES, MEASURED)


def measured(model: ErrorModel) -> SizeNoise:
    """
    Return the noise of measured readers, the same factor for all slices of a scan.

    Args:
        model: model of their errors.
    """

    def factors(sizes: np.ndarray, scans: np.ndarray, level: float, rng: np.random.Generator) -> np.ndarray:
        found, index = np.unique(scans, return_inverse=True)
        return model.factors(len(found), rng)[index]

    return SizeNoise(factors, lambda sizes, level: model.expected_mre)


def find_size_noise(noise: str, file: str | Path | None = None) -> SizeNoise:
    """
    Return a kind of noise by its name.

    Args:
        noise: one of :data:`SIZE_NOISE_KINDS`.
        file: model of errors for "measured", as ``medsize readers`` writes it; other kinds take no notice of it.

    Raises:
        ValueError: when there is no such kind, or the file is missing or malformed.
    """
    if noise not in SIZE_NOISE_KINDS:
        raise ValueError(f"size_noise is '{noise}', expected null or one of {', '.join(SIZE_NOISE_KINDS)}.")
    if noise != MEASURED:
        return SIZE_NOISES[noise]
    if file is None:
        raise ValueError(
            f"size_noise_file is null, expected a model of errors for '{MEASURED}'. Write one with medsize readers."
        )
    return measured(ErrorModel.read(Path(file)))


def with_size_noise(
    items: Sequence[TrainingItem],
    noise: str | None,
    level: float = 0.0,
    seed: int = 0,
    region_mm: Sequence[float] | None = None,
    file: str | Path | None = None,
    stated: bool = False,
) -> list[TrainingItem]:
    """
    Replace the sizes of training items by wrong ones, for studies of robustness.

    The same items, level and seed give the same errors. Sizes of slices have errors of their own, other than those
    from diameters and of measured readers.
    An absent structure (size 0) stays absent, and an unknown size stays unknown. Both ends of an interval change alike.

    Args:
        items: training items; those with a size all have ``volume_mm3``, or all ``slice_area_mm2``.
        noise: one of :data:`SIZE_NOISE_KINDS`; ``None`` keeps the sizes.
        level: strength of the noise, see there. 0 changes nothing. Defaults to 0.
        seed: seed of the errors. Defaults to 0.
        region_mm: extent of the region given to the network along each axis, mm; negative for all of an axis. Wrong
            sizes that fill more than 0.7 of it together are made smaller, as nobody measures more than the scan shows.
            Default: no limit.
        file: model of errors, for "measured".
        stated: state the level as the error: both ends become (1 ∓ level) times the wrong size. Defaults to False.

    Returns:
        new items.

    Raises:
        ValueError: when ``noise`` is not one of these, the level is negative, or the file is missing or malformed.
    """
    kind = None if noise is None else find_size_noise(noise, file)
    if level < 0:
        raise ValueError(f"the level of the noise is {level}: it must not be negative.")
    sized = [(index, key) for index, item in enumerate(items) if (key := size_key(item))]
    if kind is None or level == 0 or not sized:
        return list(items)
    sizes = [torch.as_tensor(items[index][key], dtype=torch.float64) for index, key in sized]
    # One row for each structure, the slices of all scans in a row.
    columns = torch.cat([size.reshape(*size.shape[:2], -1) for size in sizes], dim=-1)
    scans = torch.repeat_interleave(torch.tensor([size[0, 0].numel() for size in sizes]))
    low, high = columns.clone()
    for k in range(columns.shape[1]):
        shown = (high[k] > 0) & high[k].isfinite()
        if not bool(shown.any()):
            continue
        rng = np.random.default_rng([seed, k])
        middle = columns[:, k, shown].mean(dim=0).numpy()
        factor = torch.as_tensor(kind.factors(middle, scans[shown].numpy(), level, rng))
        error = level if stated else 0.0
        low[k, shown] = torch.where(factor.isnan(), 0.0, low[k, shown] * factor * max(1 - error, 0.0))
        high[k, shown] = torch.where(factor.isnan(), torch.inf, high[k, shown] * factor * (1 + error))
    parts = torch.stack([low, high]).split([size[0, 0].numel() for size in sizes], dim=-1)
    noisy = list(items)
    for (index, key), size, part in zip(sized, sizes, parts, strict=True):
        noisy[index] = items[index].copy()
        noisy[index][key] = part.reshape(size.shape).clone()
        if region_mm is not None:
            noisy[index][key] = fit_into_region(noisy[index], key, region_mm)
    return noisy


def relative_size_change(items: Sequence[TrainingItem], noisy: Sequence[TrainingItem]) -> float | None:
    """
    Return the mRE of noisy sizes, see :func:`medsize.metrics.mean_relative_error`. Intervals count by their middles.

    Args:
        items: items before :func:`with_size_noise`.
        noisy: items after it.

    Returns:
        the mean over all structures, scans and slices; ``None`` if nothing can be compared.
    """
    middles: tuple[list[torch.Tensor], list[torch.Tensor]] = ([], [])
    for pair in zip(items, noisy, strict=True):
        if key := size_key(pair[0]):
            for item, of_all in zip(pair, middles, strict=True):
                of_all.append(torch.as_tensor(item[key], dtype=torch.float64).mean(dim=0).flatten())
    true, wrong = (torch.cat(of_all) if of_all else torch.empty(0) for of_all in middles)
    return mean_relative_error(wrong, true)


def expected_size_change(
    items: Sequence[TrainingItem], noise: str | None, level: float = 0.0, file: str | Path | None = None
) -> float | None:
    """
    Return the expected mRE of a noise over all seeds, for comparison with :func:`relative_size_change`.

    Args:
        items: items before :func:`with_size_noise`.
        noise: see there.
        level: see there.
        file: see there.

    Returns:
        the mean over all structures, scans and slices; ``None`` if no size is known.
    """
    sized = [torch.as_tensor(i[key], dtype=torch.float64).mean(dim=0) for i in items if (key := size_key(i))]
    if not sized:
        return None
    columns = torch.cat([size.reshape(len(size), -1) for size in sized], dim=-1).numpy()
    known = [row[(row > 0) & np.isfinite(row)] for row in columns]
    known = [sizes for sizes in known if len(sizes)]
    if not known:
        return None
    if noise is None or level == 0:
        return 0.0
    kind = find_size_noise(noise, file)
    expected = [kind.expected_mre(sizes, level) for sizes in known]
    return float(np.average(expected, weights=[len(sizes) for sizes in known]))
