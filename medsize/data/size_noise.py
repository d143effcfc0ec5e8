"""Sizes that are as wrong as readers and reports make them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from scipy.optimize import brentq
from scipy.stats import norm

__all__ = ["SIZE_NOISES", "relative_size_change", "with_size_noise"]

SMALLEST_FACTOR = 0.05
"""No size is measured as smaller than this part of it: 0 would say that the structure is absent."""


def gaussian(sizes: np.ndarray, level: float, rng: np.random.Generator) -> np.ndarray:
    """
    Random errors: the factors are max(1 + σ·ε, 0.05), ε standard normal, σ such that the expected mRE is the level.

        mRE = σ·√(2/π) − σ·φ(a/σ) + a·Φ(−a/σ),  a = 0.95
    """
    a = 1 - SMALLEST_FACTOR

    def expected(sigma: float) -> float:
        return float(sigma * np.sqrt(2 / np.pi) - sigma * norm.pdf(a / sigma) + a * norm.cdf(-a / sigma))

    sigma = brentq(lambda s: expected(s) - level, 1e-6, 1e3)
    return np.maximum(1 + sigma * rng.standard_normal(len(sizes)), SMALLEST_FACTOR)


def log_normal(sizes: np.ndarray, level: float, rng: np.random.Generator) -> np.ndarray:
    """
    Random errors, as likely half as double: the factors are exp(σ·ε), σ such that the expected mRE is the level.

        mRE = exp(σ²/2)·(2·Φ(σ) − 1)
    """
    sigma = brentq(lambda s: np.exp(s**2 / 2) * (2 * norm.cdf(s) - 1) - level, 1e-6, 5)
    return np.exp(sigma * rng.standard_normal(len(sizes)))


def too_large(sizes: np.ndarray, level: float, rng: np.random.Generator) -> np.ndarray:
    """A reader who always measures too much: the factors are 1 + level, which is the mRE."""
    return np.full(len(sizes), 1 + level)


def too_small(sizes: np.ndarray, level: float, rng: np.random.Generator) -> np.ndarray:
    """A reader who always measures too little: the factors are 1 − level, which is the mRE; 0.05 at least."""
    return np.full(len(sizes), max(1 - level, SMALLEST_FACTOR))


def rounded(sizes: np.ndarray, level: float, rng: np.random.Generator) -> np.ndarray:
    """Sizes rounded to multiples of ``level`` times the cohort's median, one multiple at least."""
    step = level * np.median(sizes)
    return np.maximum(np.round(sizes / step), 1) * step / sizes


def terciles(sizes: np.ndarray, level: float, rng: np.random.Generator) -> np.ndarray:
    """As "small", "medium" or "large": the mean of the third of the cohort that a size is in, at any level."""
    third = np.searchsorted(np.quantile(sizes, [1 / 3, 2 / 3]), sizes, side="left")
    means = np.array([sizes[third == t].mean() if (third == t).any() else np.nan for t in range(3)])
    return means[third] / sizes


def swapped(sizes: np.ndarray, level: float, rng: np.random.Generator) -> np.ndarray:
    """The size of another one, for the share ``level`` of all: reports mixed up."""
    chosen = rng.permutation(np.flatnonzero(rng.random(len(sizes)) < level))
    mixed = sizes.copy()
    mixed[chosen] = sizes[np.roll(chosen, 1)]
    return mixed / sizes


def missing(sizes: np.ndarray, level: float, rng: np.random.Generator) -> np.ndarray:
    """Unknown (NaN) for the share ``level`` of all."""
    return np.where(rng.random(len(sizes)) < level, np.nan, 1.0)


Noise = Callable[[np.ndarray, float, np.random.Generator], np.ndarray]
SIZE_NOISES: dict[str, Noise] = {
    "gaussian": gaussian,
    "log-normal": log_normal,
    "too large": too_large,
    "too small": too_small,
    "rounded": rounded,
    "terciles": terciles,
    "swapped": swapped,
    "missing": missing,
}
"""Each takes the known sizes of a structure in all scans (or slices) that show it, shape ``(N,)``, the level and a
source of randomness, and gives the factors to multiply them with, shape ``(N,)``."""


def with_size_noise(
    items: Sequence[dict[str, Any]], noise: str | None, level: float = 0.0, seed: int = 0
) -> list[dict[str, Any]]:
    """
    Replace the sizes of training items by wrong ones, for studies of robustness.

    The same items, level and seed give the same errors. Every slice has errors of its own where sizes are of slices.
    What is absent (size 0) stays absent, what is unknown stays unknown; both ends of an interval change alike.

    Args:
        items: training items; their ``size`` is mm² of slices ``(2, K − 1, Z)`` or mm³ of scans ``(2, K − 1)``.
        noise: one of :data:`SIZE_NOISES`; ``None`` for the sizes as they are.
        level: how much of it: see there. 0 changes nothing. Defaults to 0.
        seed: seed of the errors. Defaults to 0.

    Returns:
        new items.

    Raises:
        ValueError: when ``noise`` is none of these, or the level is negative.
    """
    if noise is not None and noise not in SIZE_NOISES:
        raise ValueError(f"size_noise is '{noise}': it must be null or one of {', '.join(SIZE_NOISES)}.")
    if level < 0:
        raise ValueError(f"the level of the noise is {level}: it must not be negative.")
    sized = [index for index, item in enumerate(items) if "size" in item]
    if noise is None or level == 0 or not sized:
        return list(items)
    sizes = [torch.as_tensor(items[index]["size"], dtype=torch.float64) for index in sized]
    # One row for each structure, the slices of all scans in a row.
    columns = torch.cat([size.reshape(*size.shape[:2], -1) for size in sizes], dim=-1)
    low, high = columns.clone()
    for k in range(columns.shape[1]):
        shown = (high[k] > 0) & high[k].isfinite()
        if not bool(shown.any()):
            continue
        rng = np.random.default_rng([seed, k])
        middle = columns[:, k, shown].mean(dim=0).numpy()
        factor = torch.as_tensor(SIZE_NOISES[noise](middle, level, rng))
        low[k, shown] = torch.where(factor.isnan(), 0.0, low[k, shown] * factor)
        high[k, shown] = torch.where(factor.isnan(), torch.inf, high[k, shown] * factor)
    parts = torch.stack([low, high]).split([size[0, 0].numel() for size in sizes], dim=-1)
    noisy = list(items)
    for index, size, part in zip(sized, sizes, parts, strict=True):
        noisy[index] = items[index] | {"size": part.reshape(size.shape).clone()}
    return noisy


def relative_size_change(items: Sequence[dict[str, Any]], noisy: Sequence[dict[str, Any]]) -> float | None:
    """
    The mRE that a noise really made: mean of |v′ − v| / v over the present structures whose size is known in both.

    Args:
        items: as :func:`with_size_noise` takes them.
        noisy: as it returns them.

    Returns:
        the mean over all structures, scans and slices; ``None`` where nothing can be compared.
    """
    changes = [torch.empty(0, dtype=torch.float64)]
    for item, other in zip(items, noisy, strict=True):
        if "size" in item:
            true, wrong = (torch.as_tensor(i["size"], dtype=torch.float64).mean(dim=0) for i in (item, other))
            known = (true > 0) & true.isfinite() & wrong.isfinite()
            changes.append(((wrong - true).abs() / true)[known])
    compared = torch.cat(changes)
    return float(compared.mean()) if len(compared) else None
