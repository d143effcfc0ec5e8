"""Rounds of an atlas: where each class lies, what it looks like, and its sizes, made to agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional as F

from medsize.first_labels.features import blur_slices
from medsize.losses.size_target import nearest_in_box
from medsize.transforms.soft_label import ABSENT

__all__ = ["AtlasScan", "atlas_rounds"]

FEW = 1e-3
"""Count that is added to each word of each class, so that no word is impossible."""


@dataclass(frozen=True)
class AtlasScan:
    """A scan as the atlas sees it."""

    words: Sequence[torch.Tensor]
    """Word at each point for each vocabulary, integers, ``(Z, h, w)``."""
    fraction: torch.Tensor
    """Low and high ends of the classes' fractions, ``(2, K)``, or ``(2, K, Z)`` of each slice."""
    evidence: torch.Tensor | None = None
    """Evidence of clicks, added to the log-probabilities: ``(K, Z, h, w)``."""
    label: torch.Tensor | None = None
    """Share of each class at each point, where a mask is known: ``(K, Z, h, w)``."""


def atlas_rounds(
    scans: Sequence[AtlasScan],
    words: Sequence[torch.Tensor],
    rounds: int = 10,
    trust: float = 0.7,
    smoothness: float = 5.0,
    bands: int = 8,
    position_blur: float = 1.5,
    shift_steps: int = 10,
) -> list[torch.Tensor]:
    """
    Alternate between the labels of all scans and the atlas that follows from them.

    The class at a point follows from its words (φ), its position (ψ), its neighbours and clicks: ln p_k = trust ·
    (ln φ_kw + ln ψ_k + smoothness · q̄_k + evidence_k). ln φ is the mean over the vocabularies, q̄ the last round's
    labels, blurred within the slice. It is shifted so that each region has its sizes. φ and ψ are then counted anew
    from the result, q. Positions are relative to the scan.

    Source: Van Leemput et al. "Automated model-based tissue classification of MR images of the brain" 1999 (EM with an
    atlas and neighbours); here the atlas is made from the scans at hand, and the sizes are given.

    Args:
        scans: the training scans.
        words: φ of each vocabulary to start from, ``(K, W)``, see :func:`medsize.first_labels.fit_mixture`.
        rounds: number of alternations. Defaults to 10.
        trust: factor of the log-probabilities, below 1 since neighbours are not independent. Defaults to 0.7.
        smoothness: weight of the neighbours. Defaults to 5.
        bands: parts of the last axis with a position map each. Defaults to 8.
        position_blur: standard deviation of the blur of ψ, points of the grid. Defaults to 1.5.
        shift_steps: steps towards the sizes in each round. Defaults to 10.

    Returns:
        q, the soft label of each scan on its grid, float16, ``(K, Z, h, w)``.
    """
    num_classes = words[0].shape[0]
    size = _common_size(scans)
    positions: torch.Tensor | None = None
    labels = [torch.empty(0)] * len(scans)
    biases: list[torch.Tensor | None] = [None] * len(scans)
    for done in range(rounds + 1):
        log_words = [phi.clamp_min(1e-8).log() for phi in words]
        counts = [torch.zeros_like(phi) for phi in words]
        mass, depth = torch.zeros(num_classes, bands, *size), torch.zeros(bands)
        for number, scan in enumerate(scans):
            band = _band(scan.words[0].shape[0], bands)
            if scan.label is not None:
                q = scan.label.float()
            else:
                parts = [log_phi[:, word.long()] for log_phi, word in zip(log_words, scan.words, strict=True)]
                score = torch.stack(parts).mean(dim=0)
                if positions is not None:
                    score = score + _resized(positions, scan.words[0].shape[1:])[:, band]
                if done:
                    score = score + smoothness * blur_slices(labels[number].float(), 1.0)
                if scan.evidence is not None:
                    score = score + scan.evidence
                q, biases[number] = shift_on_grid(trust * score, scan.fraction, biases[number], shift_steps)
            for count, word in zip(counts, scan.words, strict=True):
                count.index_add_(1, word.reshape(-1).long(), q.reshape(num_classes, -1))
            mass.index_add_(1, band, _resized(q, size))
            depth.index_add_(0, band, torch.ones(len(band)))
            labels[number] = q.half()
        if done < rounds:
            words = [(count + FEW) / (count + FEW).sum(dim=1, keepdim=True) for count in counts]
            average = blur_slices(mass / depth.clamp_min(1).view(-1, 1, 1), position_blur)
            average = average / average.mean(dim=(1, 2, 3), keepdim=True).clamp_min(1e-9)
            positions = average.clamp_min(1e-6).log()
    return labels


def shift_on_grid(
    score: torch.Tensor, fraction: torch.Tensor, bias: torch.Tensor | None = None, steps: int = 10
) -> tuple[torch.Tensor, torch.Tensor]:
    """
    Shift scores to the sizes by iterative scaling, which is cheap where it starts near the solution.

    Args:
        score: log-probabilities ``(K, Z, h, w)``.
        fraction: ``(2, K)`` of the scan, or ``(2, K, Z)`` of each slice.
        bias: biases to start from, ``(R, K)``. Default: zeros.
        steps: number of steps; twice as many without ``bias``.

    Returns:
        soft labels ``(K, Z, h, w)``, and the biases: R is 1, or Z for slices.
    """
    per_slice = fraction.ndim == 3
    regions = score.movedim(1, 0).flatten(2) if per_slice else score.flatten(1).unsqueeze(0)  # (R, K, N)
    low, high = (fraction.movedim(-1, 0) if per_slice else fraction.unsqueeze(0)).unbind(dim=1)
    regions = regions.masked_fill((high <= 0).unsqueeze(-1), ABSENT)
    shift = torch.zeros_like(low) if bias is None else bias
    exact = bool((high - low).abs().max() < 1e-9)
    for _ in range(steps if bias is not None else 2 * steps):
        log_average = (regions + shift.unsqueeze(-1)).softmax(dim=1).mean(dim=2).clamp_min(1e-12).log()
        target = low if exact else nearest_in_box(log_average, low, high).float()
        shift = (shift + target.clamp_min(1e-12).log() - log_average).masked_fill(high <= 0, 0)
        shift = shift - shift.mean(dim=1, keepdim=True)
    soft = (regions + shift.unsqueeze(-1)).softmax(dim=1)
    if per_slice:
        return soft.reshape(score.shape[1], score.shape[0], *score.shape[2:]).movedim(0, 1), shift
    return soft[0].reshape(score.shape), shift


def _common_size(scans: Sequence[AtlasScan]) -> list[int]:
    """Return the median size of the scans' grids, within a slice."""
    sizes = torch.tensor([scan.words[0].shape[1:] for scan in scans])
    return [int(n) for n in sizes.median(dim=0).values]


def _resized(maps: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    if list(maps.shape[2:]) == list(size):
        return maps
    return F.interpolate(maps, size=list(size), mode="bilinear")


def _band(num_slices: int, bands: int) -> torch.Tensor:
    """Return the band of each slice."""
    return ((torch.arange(num_slices) + 0.5) / num_slices * bands).long().clamp_max(bands - 1)
