"""First labels from the sizes of training scans, in seconds and without a network's training."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from medsize.first_labels.atlas import SMOOTHNESS, AtlasScan, atlas_rounds
from medsize.first_labels.clicks import CERTAIN, FAR, click_evidence
from medsize.first_labels.features import PICTURE_POINTS, SliceFeatures, as_volume
from medsize.first_labels.mixture import (
    Mixture,
    alike_pairs,
    choose_iterations,
    fit_mixture,
    rank_of_fractions,
    separability,
    separability_of_pairs,
)
from medsize.first_labels.words import Words
from medsize.items import SIZE_KEYS, size_key
from medsize.losses.composite import IGNORE_INDEX
from medsize.progress_bar import with_progress
from medsize.transforms.size_to_fraction import to_fraction
from medsize.transforms.voxel_size import source_of

__all__ = ["FirstLabels"]

SAMPLED_SCANS = 200
SAMPLED_SLICES = 1000
SAMPLED_POINTS = 60_000
MOST_VALUES = 256_000_000
"""Points of the grids of all scans × classes, which labels in memory have; a larger cohort gets a coarser grid."""
JUDGED_REGIONS = 3000
JUDGED_ITERATIONS = 20
"""Regions and EM iterations that tell how well sizes are told apart: more cost minutes and change little."""
PICTURE_ITERATIONS = 100
"""EM iterations for pictures: each is unlike all others, so the likelihood of those left out says little."""
PICTURE_SMOOTHNESS = 1.0
"""Weight of neighbours for pictures, whose points are far apart. Fetal heads: Dice 0.86, with 5 as in scans 0.63."""
CLICKED_ITERATIONS = 20
"""Most EM iterations where clicks or masks point at structures in some scans: these say where the atlas begins, and
many iterations fit the noise of few scans. Abdomen, 12 scans, clicks in 3: Dice 0.69 after 20, 0.59 after 100."""


@dataclass
class ScanOnGrid:
    """Parts of a training scan that are kept in memory."""

    source: str
    subject: str
    words: list[torch.Tensor]
    """Word at each point for each vocabulary, int16, ``(Z, h, w)``."""
    fraction: torch.Tensor
    """Low and high ends, ``(2, K)`` or, of slices, ``(2, K, Z)``, as fractions of Ω."""
    of_grid: torch.Tensor
    """The same as fractions of the whole grid."""
    evidence: torch.Tensor | None
    label: torch.Tensor | None
    """Share of each class at each point, where a mask is known, ``(K, Z, h, w)``."""
    inside: torch.Tensor | None = None
    """Points of Ω, where it is the organs that structures lie in, bool, ``(Z, h, w)``."""


class FirstLabels:
    """
    First labels of training scans from their sizes, see the modules of :mod:`medsize.first_labels`.

    Scans are described by words of several vocabularies; mixtures find what each class looks like; rounds of an atlas
    add where it lies. A mask that is given stays as it is. Where structures lie in organs, the words within these are
    told apart, and what is outside is background.

    Args:
        num_classes: K, with the background.
        features: see :class:`medsize.first_labels.SliceFeatures`. Defaults to ``"imagenet"``.
        vocabularies: number of words of each. Default: ``(200, 400, 600, 800)``, for features of pictures
            ``(300, 500)``.
        rounds: see :func:`medsize.first_labels.atlas_rounds`. Default: 8, for features of pictures 20.
        stride: voxels between two points of the grid. Default: 2, more for a large cohort, see :data:`MOST_VALUES`;
            for features of pictures a 32th of the longest side.
        positions: also learn where structures lie, see :func:`medsize.first_labels.atlas_rounds`. Defaults to True.
        seed: of sampled points and of k-means. Defaults to 0.
        device: where features are computed. Default: the CPU.
    """

    def __init__(
        self,
        num_classes: int,
        features: str = "imagenet",
        vocabularies: Sequence[int] | None = None,
        rounds: int | None = None,
        stride: int | None = None,
        seed: int = 0,
        device: torch.device | str = "cpu",
        positions: bool = True,
    ) -> None:
        of_pictures = features == "picture"
        self.num_classes = num_classes
        self.features = features
        self.vocabularies = tuple(vocabularies or ((300, 500) if of_pictures else (200, 400, 600, 800)))
        self.positions = positions
        self.rounds = rounds or (20 if of_pictures else 8)
        self.stride = stride
        self.seed = seed
        self.device = torch.device(device)
        self.mixtures: list[Mixture] = []
        self.iterations = 0
        """EM iterations, see :func:`medsize.first_labels.choose_iterations`."""
        self.separability = torch.empty(0)
        """See :func:`medsize.first_labels.separability`, the mean over the vocabularies."""
        self.pairs: list[tuple[int, int, float, float]] = []
        """Classes whose sizes rise and fall together: both indices, the correlation, and the separability of one from
        the other, see :func:`medsize.first_labels.separability_of_pairs`."""
        self.rank = 0
        """Rank of the fractions of all regions, see :func:`medsize.first_labels.rank_of_fractions`."""
        self.pointed_at = torch.zeros(num_classes - 1, dtype=torch.long)
        """Number of scans in which a click or a mask shows the structure."""

    def __call__(self, read: Callable[[int], Mapping[Hashable, Any]], num_scans: int) -> list[torch.Tensor]:
        """
        Make the labels.

        Args:
            read: returns a training scan by its number, as the deterministic transforms leave it: ``image`` ``(C, H, W,
                Z)`` or ``(C, H, W)`` with intensities in [0, 1], and any of ``volume_mm3``, ``slice_area_mm2``,
                ``scribble``, ``label`` and ``region``. It is called twice for a part of the scans.
            num_scans: number of scans.

        Returns:
            the soft label of each scan on its grid, float16, ``(K, Z, h, w)``.

        Raises:
            ValueError: when no scan has a size or a mask, or all scans are constant images.
        """
        first = read(0)["image"]
        features = SliceFeatures(first.shape[0], self.features, self.stride or self._stride(first, num_scans))
        words = Words(features.to(self.device), self.vocabularies, seed=self.seed)
        chosen = np.unique(np.linspace(0, num_scans - 1, min(num_scans, SAMPLED_SCANS)).round().astype(int))
        sampled = (
            self._sampled_slices(read(int(n))["image"], len(chosen))
            for n in with_progress(chosen, "First labels: words")
        )
        words.fit(sampled, math.ceil(SAMPLED_POINTS / len(chosen)))
        scans = [self._on_grid(read(n), words) for n in with_progress(range(num_scans), "First labels: features")]
        if not any(scan.label is not None or _states_something(scan.fraction) for scan in scans):
            raise ValueError("none of the training scans has a size or a mask: first labels are made from these.")
        return self._solve(scans)

    def _stride(self, image: torch.Tensor, num_scans: int) -> int:
        """Return the voxels between two points that keep the cohort's labels within :data:`MOST_VALUES`."""
        if self.features == "picture":
            return math.ceil(max(image.shape[1:3]) / PICTURE_POINTS)
        values = math.prod(image.shape[1:]) * num_scans * self.num_classes
        return max(2, math.ceil(math.sqrt(values / MOST_VALUES)))

    def _sampled_slices(self, image: torch.Tensor, num_scans: int) -> torch.Tensor:
        volume = as_volume(image)
        wanted = max(2, SAMPLED_SLICES // num_scans)
        if volume.shape[-1] <= wanted:
            return volume.to(self.device)
        return volume[..., torch.linspace(0, volume.shape[-1] - 1, wanted).round().long()].to(self.device)

    def _on_grid(self, item: Mapping[Hashable, Any], words: Words) -> ScanOnGrid:
        image = item["image"]
        volume = as_volume(image)
        maps = words.transform(volume.to(self.device))
        key = size_key(item, SIZE_KEYS)
        unknown = torch.stack([torch.zeros(self.num_classes), torch.ones(self.num_classes)])
        organs = item.get("region")
        fraction = unknown if key is None else to_fraction(key, item[key], image, organs)
        label = evidence = inside = possible = None
        of_grid = fraction
        if organs is not None:
            possible = self._points_of_organs(as_volume(organs), maps[0].shape[1:])
            inside = possible[1:].any(dim=0)
            of_grid = _of_whole_grid(fraction, inside)
        if "label" in item:
            label = self._shares(as_volume(item["label"])[0], maps[0].shape[1:])
            average = label.mean(dim=(1, 2, 3))
            fraction = of_grid = torch.stack([average, average])
        elif "scribble" in item:
            spacing = [*(float(s) for s in image.pixdim), 1.0][:3]
            grid, (height, width) = maps[0].shape[1:], volume.shape[1:3]
            point_mm = (spacing[2], spacing[0] * height / grid[0], spacing[1] * width / grid[1])
            grid_mm3 = math.prod(volume.shape[1:]) * math.prod(spacing)
            evidence = click_evidence(
                as_volume(item["scribble"])[0].as_subclass(torch.Tensor),
                _volumes(of_grid, grid_mm3, 1.0 if inside is None else float(inside.float().mean())),
                grid,
                point_mm,
            ).half()
        if possible is not None:
            evidence = torch.zeros(possible.shape) if evidence is None else evidence
            evidence = evidence.masked_fill(~possible, FAR).half()
        subject = str(item.get("subject", source_of(image)))
        return ScanOnGrid(source_of(image), subject, maps, fraction, of_grid, evidence, label, inside)

    def _points_of_organs(self, organs: torch.Tensor, grid: Sequence[int]) -> torch.Tensor:
        """Return where each class may be: structures in their organs, ``(K − 1, H, W, Z)``; bool, ``(K, Z, h, w)``."""
        masks = (organs.as_subclass(torch.Tensor) != 0).permute(0, 3, 1, 2).float()
        share = F.interpolate(masks, size=list(grid), mode="area")
        points = share > share.amax(dim=(1, 2, 3), keepdim=True).clamp_max(1.0) / 2
        return torch.cat([torch.ones_like(points[:1]), points])

    def _shares(self, label: torch.Tensor, grid: Sequence[int]) -> torch.Tensor:
        plain = label.as_subclass(torch.Tensor).long()
        plain = plain.masked_fill(plain == IGNORE_INDEX, 0)
        one_hot = F.one_hot(plain.clamp(0, self.num_classes - 1), self.num_classes)
        return F.interpolate(one_hot.permute(3, 2, 0, 1).float(), size=list(grid), mode="area")

    def _solve(self, scans: Sequence[ScanOnGrid]) -> list[torch.Tensor]:
        unlabelled = [scan for scan in scans if scan.label is None]
        self.pointed_at = sum((_shown(scan) for scan in scans), torch.zeros_like(self.pointed_at))
        low, high = _regions(unlabelled, self.num_classes).unbind(dim=1)
        self.rank = rank_of_fractions(low, high)
        histograms = [_histograms(unlabelled, number, size) for number, size in enumerate(self.vocabularies)]
        of_pictures = self.features == "picture"
        # A picture's own background could explain all of it, and held-out likelihood stops EM at once.
        subjects = None if of_pictures else _subjects(unlabelled)
        self.iterations = PICTURE_ITERATIONS if of_pictures else 0
        if len(low) and not of_pictures:
            self.iterations = choose_iterations(histograms, low, high, subjects)
        if self.pointed_at.any():
            self.iterations = min(self.iterations, CLICKED_ITERATIONS)
        self.mixtures = [
            fit_mixture(
                histogram, low, high, _certain(scans, number, size, self.num_classes), self.iterations, subjects
            )
            for number, (histogram, size) in enumerate(zip(histograms, self.vocabularies, strict=True))
        ]
        if len(low):
            shown = torch.linspace(0, len(low) - 1, min(len(low), JUDGED_REGIONS)).round().long()
            few = min(self.iterations, JUDGED_ITERATIONS)
            apart = [separability(h[shown], low[shown], high[shown], iterations=few) for h in histograms]
            self.separability = torch.stack(apart).mean(dim=0)
            alike = alike_pairs(low[shown], high[shown])
            pairs = [(one, other) for one, other, _ in alike]
            apart = [
                separability_of_pairs(h[shown], low[shown], high[shown], pairs, iterations=few) for h in histograms
            ]
            values = torch.stack(apart).mean(dim=0).tolist()
            self.pairs = [(*pair, value) for pair, value in zip(alike, values, strict=True)]
        labels = atlas_rounds(
            [AtlasScan(scan.words, scan.of_grid, scan.evidence, scan.label, scan.inside) for scan in scans],
            [mixture.words for mixture in self.mixtures],
            rounds=self.rounds,
            smoothness=PICTURE_SMOOTHNESS if self.features == "picture" else SMOOTHNESS,
            learn_positions=self.positions,
        )
        return [label if scan.label is None else scan.label.half() for scan, label in zip(scans, labels, strict=True)]


def _shown(scan: ScanOnGrid) -> torch.Tensor:
    """Return 1 for each structure that a click or a mask shows, ``(K − 1,)``."""
    if scan.label is not None:
        return (scan.label[1:].amax(dim=(1, 2, 3)) > 0).long()
    if scan.evidence is not None:
        return (scan.evidence[1:].amax(dim=(1, 2, 3)) >= CERTAIN).long()
    return torch.zeros(1, dtype=torch.long)


def _states_something(fraction: torch.Tensor) -> bool:
    return bool((fraction[1] - fraction[0] < 1).any())


def _volumes(fraction: torch.Tensor, grid_mm3: float, part: float) -> list[float]:
    """Return the volume of each structure, NaN where it is unknown, from fractions of a grid of which Ω is a part."""
    low, high = (fraction.mean(dim=-1) if fraction.ndim == 3 else fraction)[:, 1:]
    known = (high - low) < 0.5 * part
    return torch.where(known, (low + high) / 2 * grid_mm3, torch.nan).tolist()


def _of_whole_grid(fraction: torch.Tensor, inside: torch.Tensor) -> torch.Tensor:
    """Return fractions of Ω as those of the whole grid, of which Ω is a part; the rest is background."""
    part = inside.float().mean(dim=(1, 2)) if fraction.ndim == 3 else inside.float().mean()
    structures = fraction[:, 1:] * part
    low, high = structures.sum(dim=1)
    return torch.cat([torch.stack([1 - high, 1 - low]).clamp_min(0).unsqueeze(1), structures], dim=1)


def _numbers(scan: ScanOnGrid) -> list[int]:
    """Return the slices that are regions of their own and hold a point of Ω; one number for a whole scan."""
    if scan.fraction.ndim < 3:
        return [0]
    if scan.inside is None:
        return list(range(scan.fraction.shape[-1]))
    return [int(z) for z in scan.inside.flatten(1).any(dim=1).nonzero().flatten()]


def _subjects(scans: Sequence[ScanOnGrid]) -> list[str]:
    """Return the subject of each region."""
    return [s.subject for s in scans for _ in _numbers(s)]


def _regions(scans: Sequence[ScanOnGrid], num_classes: int) -> torch.Tensor:
    """Return the fractions of all regions, ``(R, 2, K)``: of each scan, or of each slice where they are known."""
    parts = [s.fraction.movedim(-1, 0)[_numbers(s)] if s.fraction.ndim == 3 else s.fraction.unsqueeze(0) for s in scans]
    return torch.cat(parts) if parts else torch.empty(0, 2, num_classes)


def _histograms(scans: Sequence[ScanOnGrid], vocabulary: int, size: int) -> torch.Tensor:
    """Return the share of each word in each region, ``(R, W)``."""
    rows = []
    for scan in scans:
        words = scan.words[vocabulary].long()
        inside = torch.ones_like(words, dtype=torch.bool) if scan.inside is None else scan.inside
        if scan.fraction.ndim < 3:
            words, inside = words.unsqueeze(0), inside.unsqueeze(0)
        regions = [words[number][inside[number]] for number in _numbers(scan)]
        rows += [torch.bincount(region, minlength=size).float() / len(region) for region in regions]
    return torch.stack(rows) if rows else torch.empty(0, size)


def _certain(scans: Sequence[ScanOnGrid], vocabulary: int, size: int, num_classes: int) -> torch.Tensor | None:
    """Return the words of each class in the scans with a mask, each scan counting as one region."""
    masked = [scan for scan in scans if scan.label is not None]
    if not masked:
        return None
    counts = torch.zeros(num_classes, size)
    for scan in masked:
        share = scan.label.reshape(num_classes, -1) / scan.words[vocabulary].numel()  # type: ignore[union-attr]
        if scan.inside is not None:
            share = share * scan.inside.flatten()
        counts.index_add_(1, scan.words[vocabulary].reshape(-1).long(), share)
    return counts
