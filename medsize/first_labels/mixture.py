"""Mixture of word distributions with known proportions: what each class looks like, from sizes alone."""

from __future__ import annotations

import itertools
import math
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass

import torch

from medsize.losses.size_target import TOLERANCE, nearest_in_box

__all__ = ["Mixture", "choose_iterations", "fit_mixture", "starting_fractions"]

TINY = 1e-12
OWN = 0.05
"""Part of a group's background that is its own, where groups are given."""


@dataclass(frozen=True)
class Mixture:
    """Result of :func:`fit_mixture`."""

    words: torch.Tensor
    """φ: distribution of words of each class, ``(K, W)``; each row sums to 1."""
    fractions: torch.Tensor
    """v: fractions of the classes in each region, within their intervals, ``(R, K)``."""
    log_likelihood: torch.Tensor
    """Mean log-likelihood of a point after each iteration, float64, ``(iterations + 1,)``. Without groups it never
    falls."""


def fit_mixture(
    histograms: torch.Tensor,
    low: torch.Tensor,
    high: torch.Tensor,
    certain: torch.Tensor | None = None,
    iterations: int = 300,
    groups: Sequence[Hashable] | None = None,
) -> Mixture:
    """
    Find the word distributions of the classes by EM, given the classes' fractions in each region.

    It maximises Σ_r Σ_w h_rw ln Σ_k v_rk φ_kw over φ and over each v_r in its box, starting from the classes' weighted
    mean histograms. With exact fractions the problem is convex. The M-step of v_r is v_rk = clip(c · n_rk, low, high),
    with n the expected counts (see :func:`medsize.losses.size_target.nearest_in_box`).

    People differ in their surroundings more than in their organs. With ``groups``, the background of a group is a mix
    of what all groups share and, to a part of :data:`OWN`, of what was found in the group itself.

    Source: Quadrianto et al. "Estimating labels from label proportions" 2009 (the problem); Hofmann. "Probabilistic
    latent semantic analysis" 1999 (the mixture, there with unknown proportions).

    Args:
        histograms: share of each word in each region, ``(R, W)``, each row with sum 1.
        low: low ends of the classes' fractions, ``(R, K)``.
        high: high ends, likewise; equal to ``low`` where exact, [0, 1] where unknown.
        certain: counts of words whose class is certain, as from masks and clicks, in units of a region: ``(K, W)``.
        iterations: number of EM iterations. Defaults to 300.
        groups: group of each region, such as its subject. Default: all regions have one background.

    Returns:
        the distributions, and the likelihood of each iteration. That of the background is what all groups share.

    Raises:
        ValueError: when the shapes do not fit each other, a histogram is negative or not finite, or a region has no
            fractions between its low and high ends.
    """
    _check(histograms, low, high)
    histograms, low, high = histograms.double(), low.double(), high.double()
    known = None if certain is None else certain.double()
    likelihood = []
    for state in itertools.islice(_em(histograms, low, high, known, groups), iterations + 1):
        words, fractions, mixed = state
        log_likelihood = (histograms * mixed.clamp_min(TINY).log()).sum()
        total = histograms.sum()
        if known is not None:
            log_likelihood, total = log_likelihood + torch.xlogy(known, words).sum(), total + known.sum()
        likelihood.append(log_likelihood / total)
    return Mixture(words.float(), fractions.float(), torch.stack(likelihood))


def _check(histograms: torch.Tensor, low: torch.Tensor, high: torch.Tensor) -> None:
    """Refuse what EM would make numbers of that look right."""
    shapes = [tuple(x.shape) for x in (histograms, low, high)]
    if [len(shape) for shape in shapes] != [2, 2, 2] or shapes[1] != shapes[2] or shapes[0][0] != shapes[1][0]:
        raise ValueError(
            "histograms must have the shape (R, W), low and high the shape (R, K), with one row for each region, got "
            f"{shapes[0]}, {shapes[1]} and {shapes[2]}."
        )
    if not bool((histograms.isfinite() & (histograms >= 0)).all()):
        raise ValueError("histograms must be finite and 0 or more, with the share of each word in each region.")
    possible = (low.sum(dim=1) <= 1 + TOLERANCE) & (high.sum(dim=1) >= 1 - TOLERANCE)
    possible &= ((low >= 0) & (low <= high + TOLERANCE) & high.isfinite()).all(dim=1)
    if not bool(possible.all()):
        region = int((~possible).nonzero()[0])
        raise ValueError(
            f"the fractions of region {region} lie between {low[region].tolist()} and {high[region].tolist()}, "
            "expected numbers between which some sum to 1, the background first."
        )


def _em(
    histograms: torch.Tensor,
    low: torch.Tensor,
    high: torch.Tensor,
    known: torch.Tensor | None = None,
    groups: Sequence[Hashable] | None = None,
) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Yield φ ``(K, W)``, v ``(R, K)`` and Σ_k v φ ``(R, W)`` at the start and after each iteration, without an end."""
    exact = bool((high - low).abs().amax() < 1e-9) if len(low) else True
    fractions = starting_fractions(low, high)
    extra = torch.zeros(low.shape[1], histograms.shape[1], dtype=torch.float64) if known is None else known
    words = _normalised(fractions.T @ histograms + extra)
    group = torch.tensor([0] * len(low) if groups is None else _numbered(groups, len(low)), dtype=torch.long)
    own = OWN if groups is not None else 0.0
    behind = words[:1].expand(max(group.tolist(), default=0) + 1, -1)  # background of each group
    while True:
        mixed = fractions[:, 1:] @ words[1:] + fractions[:, :1] * behind[group]
        yield words, fractions, mixed
        ratio = histograms / mixed.clamp_min(TINY)
        found = behind * torch.zeros_like(behind).index_add_(0, group, fractions[:, :1] * ratio)
        counts = torch.cat([found.sum(dim=0, keepdim=True), words[1:] * (fractions[:, 1:].T @ ratio)]) + extra
        if not exact:
            background = (ratio * behind[group]).sum(dim=1, keepdim=True)
            expected = fractions * torch.cat([background, ratio @ words[1:].T], dim=1)
            fractions = nearest_in_box(expected.clamp_min(1e-30).log(), low, high)
        words = _normalised(counts)
        behind = (1 - own) * words[:1] + own * _normalised(found)


def _numbered(groups: Sequence[Hashable], number: int) -> list[int]:
    """Return the number of each region's group, in order of appearance."""
    if len(groups) != number:
        raise ValueError(f"groups has {len(groups)} entries, expected one for each of {number} regions.")
    numbers = {group: n for n, group in enumerate(dict.fromkeys(groups))}
    return [numbers[group] for group in groups]


def choose_iterations(
    histograms: Sequence[torch.Tensor],
    low: torch.Tensor,
    high: torch.Tensor,
    groups: Sequence[Hashable] | None = None,
    most: int = 100,
    folds: int = 5,
) -> int:
    """
    Choose the number of EM iterations by the likelihood of regions that were left out.

    With few regions and many words, EM fits what is by chance. The choice is the least number whose held-out likelihood
    is within one standard error of the best. Regions of a group, such as slices of a scan, count as dependent.

    Source: Breiman et al. "Classification and Regression Trees" 1984, chapter 3.4.3 (the rule of one standard error).

    Args:
        histograms: of each vocabulary, see :func:`fit_mixture`; their mean likelihood decides.
        low: see :func:`fit_mixture`.
        high: see :func:`fit_mixture`.
        groups: group of each region, such as its subject; a group is left out as a whole. Default: each its own.
        most: largest number. Defaults to 100.
        folds: number of parts that are left out in turn. Defaults to 5.

    Returns:
        the number of iterations; ``most`` for fewer groups than folds.
    """
    numbers = _numbered(range(len(low)) if groups is None else groups, len(low))
    if len(set(numbers)) < folds:
        return most
    group = torch.tensor(numbers)
    fold = group % folds
    held_out = torch.zeros(len(low), most + 1, dtype=torch.float64)
    expected = starting_fractions(low, high)
    for part in range(folds):
        out = fold == part
        for histogram in histograms:
            left = histogram[out].double()
            steps = _em(histogram[~out].double(), low[~out].double(), high[~out].double())
            for number, (words, *_) in enumerate(itertools.islice(steps, most + 1)):
                held_out[out, number] += (left * (expected[out] @ words).clamp_min(1e-9).log()).sum(dim=1)
    best = int(held_out.mean(dim=0).argmax())
    shortfall = held_out[:, best : best + 1] - held_out
    off = shortfall - shortfall.mean(dim=0)
    of_groups = torch.zeros(len(set(numbers)), most + 1, dtype=torch.float64).index_add_(0, group, off)
    error = of_groups.std(dim=0) * math.sqrt(len(of_groups)) / len(low)
    return int((shortfall.mean(dim=0) <= error).nonzero()[0])


def starting_fractions(low: torch.Tensor, high: torch.Tensor) -> torch.Tensor:
    """
    Return fractions to start from: the middle of each interval, the cohort's mean where unknown, with sum 1.

    Args:
        low: see :func:`fit_mixture`.
        high: see :func:`fit_mixture`.

    Returns:
        fractions within their intervals, ``(R, K)``.
    """
    if not len(low):
        return low
    known = (high - low) < 1
    middle = torch.where(known, (low + high) / 2, 0.0)
    mean = middle.sum(0) / known.sum(0).clamp_min(1)
    start = torch.where(known, middle, mean.clamp_min(1e-6)).clamp_min(1e-30)
    return nearest_in_box(start.log(), low, high)


def _normalised(counts: torch.Tensor) -> torch.Tensor:
    total = counts.sum(dim=1, keepdim=True)
    uniform = torch.full_like(counts, 1 / counts.shape[1])
    return torch.where(total > TINY, counts / total.clamp_min(TINY), uniform)
