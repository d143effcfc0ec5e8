"""Separability of structures: whether the sizes of a cohort tell them apart, before anything is trained."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch

from medsize.first_labels.mixture import fit_mixture, starting_fractions

__all__ = ["alike_pairs", "rank_of_fractions", "separability", "separability_of_pairs"]


def separability(
    histograms: torch.Tensor,
    low: torch.Tensor,
    high: torch.Tensor,
    shuffles: int = 19,
    iterations: int = 50,
    seed: int = 0,
) -> torch.Tensor:
    """
    Return how much better each structure's sizes explain the scans than the same sizes dealt out at random.

    The sizes of one structure are shuffled among the regions, and the mixture is fitted again. The result is the
    distance of the true likelihood from the shuffled ones, in their standard deviations. Below about 2 the sizes do not
    tell this structure from the rest: they hardly differ, follow another structure's, or are of too few scans.

    Source: Good. "Permutation, Parametric and Bootstrap Tests of Hypotheses" 2005.

    Args:
        histograms: see :func:`medsize.first_labels.fit_mixture`.
        low: see :func:`medsize.first_labels.fit_mixture`.
        high: see :func:`medsize.first_labels.fit_mixture`.
        shuffles: number of shuffles for each structure. Defaults to 19.
        iterations: EM iterations of each fit. Defaults to 50.
        seed: of the shuffles. Defaults to 0.

    Returns:
        a number for each structure, ``(K − 1,)``; NaN for one that is absent or unknown everywhere.
    """
    deals = []
    for k in range(1, low.shape[1]):
        known = (high[:, k] - low[:, k]) < 1
        is_present = bool((high[known, k] > 0).any())
        deals.append(partial(_deal_sizes, low, high, k, known) if is_present else None)
    return _permutation_test(histograms, low, high, deals, shuffles, iterations, seed)


def separability_of_pairs(
    histograms: torch.Tensor,
    low: torch.Tensor,
    high: torch.Tensor,
    pairs: Sequence[tuple[int, int]],
    shuffles: int = 19,
    iterations: int = 50,
    seed: int = 0,
) -> torch.Tensor:
    """
    Return how much better the sizes of two structures explain the scans than others with the same sum.

    Each structure of a pair has a share of their sum. These shares are shuffled among the regions, and the mixture is
    fitted again, as for :func:`separability`. That of two kidneys may be high for each, since their sum is told from
    the rest, and yet nothing tells one from the other: they look alike, and their sizes rise and fall together.

    Args:
        histograms: see :func:`medsize.first_labels.fit_mixture`.
        low: see :func:`medsize.first_labels.fit_mixture`.
        high: see :func:`medsize.first_labels.fit_mixture`.
        pairs: indices of two classes each.
        shuffles: number of shuffles for each pair. Defaults to 19.
        iterations: EM iterations of each fit. Defaults to 50.
        seed: of the shuffles. Defaults to 0.

    Returns:
        a number for each pair; NaN where fewer than two regions have both with a known size.
    """
    deals = []
    for pair in pairs:
        known = _both_known(low, high, pair)
        deals.append(partial(_deal_shares, low, high, list(pair), known) if len(known) > 1 else None)
    return _permutation_test(histograms, low, high, deals, shuffles, iterations, seed)


def alike_pairs(low: torch.Tensor, high: torch.Tensor, least: float = 0.5) -> list[tuple[int, int, float]]:
    """
    Return the structures whose sizes rise and fall together, each with the one that its sizes follow most.

    Args:
        low: see :func:`medsize.first_labels.fit_mixture`.
        high: see :func:`medsize.first_labels.fit_mixture`.
        least: least correlation of the logarithms of both sizes. Defaults to 0.5.

    Returns:
        indices of both classes, and the correlation. Three regions at least must have both with a known size.
    """
    found: dict[tuple[int, int], float] = {}
    for one in range(1, low.shape[1]):
        closest = (least, (0, 0))
        for other in range(1, low.shape[1]):
            known = _both_known(low, high, [one, other])
            if one == other or len(known) < 3:
                continue
            sizes = (low + high)[known][:, [one, other]].double().log().T
            correlation = float(torch.corrcoef(sizes)[0, 1]) if bool((sizes.std(dim=1) > 1e-6).all()) else 0.0
            closest = max(closest, (correlation, (min(one, other), max(one, other))))
        if closest[1] != (0, 0):
            found[closest[1]] = closest[0]
    return [(*pair, correlation) for pair, correlation in found.items()]


def rank_of_fractions(low: torch.Tensor, high: torch.Tensor) -> int:
    """
    Return the rank of the regions' fractions, with each class in units of its own size.

    Below the number of classes that are present somewhere, no data tell all of them apart: all sizes are equal, two
    structures grow together, or there are fewer regions than classes.

    Args:
        low: see :func:`medsize.first_labels.fit_mixture`.
        high: see :func:`medsize.first_labels.fit_mixture`.
    """
    if not len(low):
        return 0
    fractions = starting_fractions(low.double(), high.double())
    length = fractions.norm(dim=0)
    return int(torch.linalg.matrix_rank(fractions[:, length > 0] / length[length > 0], rtol=1e-3))


Deal = Callable[[torch.Generator], tuple[torch.Tensor, torch.Tensor]]
"""Function that returns the low and high ends of fractions that were dealt out at random."""


def _permutation_test(
    histograms: torch.Tensor,
    low: torch.Tensor,
    high: torch.Tensor,
    deals: Sequence[Deal | None],
    shuffles: int,
    iterations: int,
    seed: int,
) -> torch.Tensor:
    """Return the distance of the likelihood from that of dealt sizes, in its standard deviations; NaN for None."""

    def likelihood(low: torch.Tensor, high: torch.Tensor) -> torch.Tensor:
        return fit_mixture(histograms, low, high, iterations=iterations).log_likelihood[-1]

    generator = torch.Generator().manual_seed(seed)
    result = torch.full((len(deals),), torch.nan)
    true = likelihood(low, high) if any(deals) else torch.tensor(torch.nan)
    for number, deal in enumerate(deals):
        if deal is not None:
            dealt = torch.stack([likelihood(*deal(generator)) for _ in range(shuffles)])
            result[number] = (true - dealt.mean()) / dealt.std().clamp_min(1e-9)
    return result


def _deal_sizes(
    low: torch.Tensor, high: torch.Tensor, k: int, known: torch.Tensor, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Shuffle the sizes of class k among the regions where it is known, ``(R,)``."""
    order = torch.arange(len(low))
    order[known] = order[known][torch.randperm(int(known.sum()), generator=generator)]
    dealt_low, dealt_high = low.clone(), high.clone()
    dealt_low[:, k], dealt_high[:, k] = low[order, k], high[order, k]
    room = dealt_low[:, 1:].sum(dim=1, keepdim=True).clamp_min(1)  # large structures must stay possible
    dealt_low[:, 1:] /= room
    dealt_high[:, 1:] /= room
    dealt_low[:, 0] = (1 - dealt_high[:, 1:].sum(1)).clamp_min(0)
    dealt_high[:, 0] = (1 - dealt_low[:, 1:].sum(1)).clamp_min(1e-6)
    return dealt_low, dealt_high


def _deal_shares(
    low: torch.Tensor, high: torch.Tensor, pair: Sequence[int], known: torch.Tensor, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Shuffle the shares that two classes have of their sum among the regions of these numbers."""
    lows, highs = low[known][:, pair], high[known][:, pair]
    shares = (lows + highs) / (lows + highs).sum(dim=1, keepdim=True)
    dealt = shares[torch.randperm(len(known), generator=generator)]
    dealt_low, dealt_high = low.clone(), high.clone()
    dealt_low[known[:, None], pair] = lows.sum(dim=1, keepdim=True) * dealt
    dealt_high[known[:, None], pair] = highs.sum(dim=1, keepdim=True) * dealt
    return dealt_low, dealt_high


def _both_known(low: torch.Tensor, high: torch.Tensor, index: Sequence[int]) -> torch.Tensor:
    """Return the regions in which all of these classes are present, with known sizes."""
    columns = list(index)
    return (((high - low)[:, columns] < 1) & (low[:, columns] > 0)).all(dim=1).nonzero().flatten()
