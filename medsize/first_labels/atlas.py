"""Rounds of an atlas: where each class lies, what it looks like, and its sizes, made to agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional as F

from medsize.first_labels.features import blur_slices
from medsize.first_labels.neighbours import mean_of_neighbours
from medsize.first_labels.own_intensities import level_likelihood
from medsize.losses.size_target import nearest_in_box
from medsize.transforms.soft_label import ABSENT

__all__ = ["AtlasScan", "atlas_rounds", "best_offset"]

FEW = 1e-3
"""Count that is added to each word of each class, so that no word is impossible."""
SMOOTHNESS = 4.0
"""Weight of the neighbours of a point."""
FIRST_MOVE = 3
"""Round from which on the atlas is moved: before, it does not show enough."""


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
    inside: torch.Tensor | None = None
    """Points whose words count, bool, ``(Z, h, w)``. Default: all."""
    levels: torch.Tensor | None = None
    """Level of intensity of each point, see :func:`medsize.first_labels.intensity_levels`. Default: not used."""


def atlas_rounds(
    scans: Sequence[AtlasScan],
    words: Sequence[torch.Tensor],
    rounds: int = 8,
    trust: float = 0.7,
    smoothness: float = SMOOTHNESS,
    bands: int = 8,
    position_blur: float = 1.5,
    own_weight: float = 1.0,
    reach: float = 0.2,
    shift_steps: int = 10,
    learn_positions: bool = True,
) -> list[torch.Tensor]:
    """
    Alternate between the labels of all scans and the atlas that follows from them.

    The class at a point follows from its words (φ), its position (ψ), its intensity (ι), its neighbours and clicks:
    ln p_k = trust · (ln φ_kw + ln ψ_k + own_weight · ln ι_k + smoothness · q̄_k + evidence_k). ln φ is
    the mean over the vocabularies, q̄ the mean of the last round's labels at the neighbours, see
    :func:`medsize.first_labels.mean_of_neighbours`; without levels of intensity they are blurred within the slice. It
    is shifted so that each region has its sizes.
    φ and ψ are then counted anew from the labels of all scans, q, and ι from those of the scan itself. Positions are
    relative to the scan, and from the third round on to where its structures lie: the atlas is moved within the slice
    to the place where it fits the scan best.

    Source: Van Leemput et al. "Automated model-based tissue classification of MR images of the brain" 1999 (EM with an
    atlas, neighbours, and each scan's own intensities); here the atlas is made from the scans at hand, and the sizes
    are given.

    Args:
        scans: the training scans.
        words: φ of each vocabulary to start from, ``(K, W)``, see :func:`medsize.first_labels.fit_mixture`.
        rounds: number of alternations. Defaults to 8: with many more, errors of the first rounds confirm themselves.
        trust: factor of the log-probabilities, below 1 since neighbours are not independent. Defaults to 0.7.
        smoothness: weight of the neighbours. Defaults to 4.
        bands: parts of the last axis with a position map each; slices between two of them have a mix. Defaults to 8.
        position_blur: standard deviation of the blur of ψ, points of the grid. Defaults to 1.5.
        own_weight: weight of the scan's own intensities, where the scan has levels of them. Defaults to 1.
        reach: how far the atlas may be moved, as a part of the grid's extent. 0 holds it in place. Defaults to 0.2.
        shift_steps: steps towards the sizes in each round. Defaults to 10.
        learn_positions: learn ψ; without it, classes follow from words, neighbours and clicks. Defaults to True.

    Returns:
        q, the soft label of each scan on its grid, float16, ``(K, Z, h, w)``.
    """
    num_classes = words[0].shape[0]
    size = _common_size(scans)
    positions: torch.Tensor | None = None
    labels = [torch.empty(0)] * len(scans)
    biases: list[torch.Tensor | None] = [None] * len(scans)
    offsets = [(0, 0)] * len(scans)
    for done in range(rounds + 1):
        log_words = [phi.clamp_min(1e-8).log() for phi in words]
        counts = [torch.zeros_like(phi) for phi in words]
        mass, depth = torch.zeros(num_classes, bands, *size), torch.zeros(bands)
        for number, scan in enumerate(scans):
            parts = _parts_of_bands(scan.words[0].shape[0], bands)
            if scan.label is not None:
                q = scan.label.float()
            else:
                score = _appearance(scan, log_words)
                if done:
                    before = labels[number].float()
                    near = blur_slices(before, 1.0) if scan.levels is None else mean_of_neighbours(before, scan.levels)
                    score = score + smoothness * near
                    if scan.levels is not None:
                        score = score + own_weight * level_likelihood(scan.levels, _counted(before, scan))
                if positions is not None:
                    here = torch.einsum("kbhw,zb->kzhw", _resized(positions, scan.words[0].shape[1:]), parts)
                    if reach > 0 and done >= FIRST_MOVE:
                        seen, _ = shift_on_grid(trust * score, scan.fraction, steps=3)
                        offsets[number] = best_offset(seen, here, reach)
                    score = score + _moved(here, offsets[number])
                q, biases[number] = shift_on_grid(trust * score, scan.fraction, biases[number], shift_steps)
            counted = _counted(q, scan)
            for count, word in zip(counts, scan.words, strict=True):
                count.index_add_(1, word.reshape(-1).long(), counted.reshape(num_classes, -1))
            back = _moved(q, (-offsets[number][0], -offsets[number][1]))
            mass += torch.einsum("kzhw,zb->kbhw", _resized(back, size), parts)
            depth += parts.sum(dim=0)
            labels[number] = q.half()
        if done < rounds:
            words = [(count + FEW) / (count + FEW).sum(dim=1, keepdim=True) for count in counts]
            if not learn_positions:
                continue
            average = blur_slices(mass / depth.clamp_min(1e-9).view(-1, 1, 1), position_blur)
            average = average / average.mean(dim=(1, 2, 3), keepdim=True).clamp_min(1e-9)
            positions = average.clamp_min(1e-6).log()
    return labels


def _appearance(scan: AtlasScan, log_words: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return what words, as the mean over the vocabularies, and clicks say of each point, ``(K, Z, h, w)``."""
    parts = [log_phi[:, word.long()] for log_phi, word in zip(log_words, scan.words, strict=True)]
    score = torch.stack(parts).mean(dim=0)
    return score if scan.evidence is None else score + scan.evidence


def _counted(labels: torch.Tensor, scan: AtlasScan) -> torch.Tensor:
    """Return labels without the points that do not count."""
    return labels if scan.inside is None else labels * scan.inside


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


def best_offset(labels: torch.Tensor, positions: torch.Tensor, reach: float) -> tuple[int, int]:
    """
    Return the move of an atlas, in points along both axes of a slice, that makes the labels most likely.

    All moves are tried at once, by Fourier transforms.

    Args:
        labels: soft labels without the atlas, ``(K, Z, h, w)``.
        positions: log-probabilities ψ of the atlas, likewise. Beyond its border the atlas repeats.
        reach: largest move as a part of h and of w.
    """
    height, width = labels.shape[-2:]
    down, across = int(reach * height), int(reach * width)
    around = F.pad(positions, (across, across, down, down), mode="replicate")
    full = list(around.shape[-2:])
    spectrum = torch.fft.rfft2(around) * torch.fft.rfft2(labels, s=full).conj()
    fit = torch.fft.irfft2(spectrum.sum(dim=(0, 1)), s=full)[: 2 * down + 1, : 2 * across + 1]
    best = int(fit.argmax())
    return down - best // fit.shape[1], across - best % fit.shape[1]


def _moved(maps: torch.Tensor, offset: tuple[int, int]) -> torch.Tensor:
    """Return maps ``(…, h, w)`` moved by points along both axes; borders repeat."""
    if offset == (0, 0):
        return maps
    height, width = maps.shape[-2:]
    rows = (torch.arange(height) - offset[0]).clamp(0, height - 1)
    columns = (torch.arange(width) - offset[1]).clamp(0, width - 1)
    return maps[..., rows[:, None], columns]


def _common_size(scans: Sequence[AtlasScan]) -> list[int]:
    """Return the median size of the scans' grids, within a slice."""
    sizes = torch.tensor([scan.words[0].shape[1:] for scan in scans])
    return [int(n) for n in sizes.median(dim=0).values]


def _resized(maps: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    if list(maps.shape[2:]) == list(size):
        return maps
    return F.interpolate(maps, size=list(size), mode="bilinear")


def _parts_of_bands(num_slices: int, bands: int) -> torch.Tensor:
    """Return the part of each band in each slice, ``(Z, bands)``: a slice lies between the middles of two bands."""
    place = ((torch.arange(num_slices) + 0.5) / num_slices * bands - 0.5).clamp(0, bands - 1)
    return (1 - (place.unsqueeze(1) - torch.arange(bands)).abs()).clamp_min(0)
