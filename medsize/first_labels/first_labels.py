"""First labels from the sizes of training scans, in seconds and without a network's training."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from medsize.first_labels.atlas import AtlasScan, atlas_rounds
from medsize.first_labels.closer_look import Window, look_closer
from medsize.first_labels.features import SliceFeatures, as_volume
from medsize.first_labels.mixture import Mixture, choose_iterations, fit_mixture
from medsize.first_labels.own_intensities import explained_by_levels
from medsize.first_labels.scan_on_grid import (
    ScanOnGrid,
    certain_words,
    fractions_of_regions,
    histograms_of_regions,
    put_on_grid,
)
from medsize.first_labels.separability import alike_pairs, rank_of_fractions, separability, separability_of_pairs
from medsize.first_labels.words import Words
from medsize.progress_bar import with_progress

__all__ = ["FirstLabels"]

SAMPLED_SCANS = 200
SAMPLED_SLICES = 1000
SAMPLED_POINTS = 60_000
MOST_VALUES = 256_000_000
"""Points of the grids of all scans × classes, which labels in memory have; a larger cohort gets a coarser grid."""
JUDGED_REGIONS = 3000
JUDGED_ITERATIONS = 20
"""Regions and EM iterations that tell how well sizes are told apart: more cost minutes and change little."""
PROBE_ROUNDS = 2
LEAST_EXPLAINED = 0.05
"""Least part of the classes' entropy that the scans' own intensities explain in labels of so many rounds without them.
With less, they agree with themselves: first labels of lesions in ultrasound had a Dice of 0.29 with them, of 0.39
without."""
CLICKED_ITERATIONS = 20
"""Most EM iterations where clicks or masks point at structures in some scans: these say where the atlas begins, and
many iterations fit the noise of few scans. Abdomen, 12 scans, clicks in 3: Dice 0.82 after 20, 0.78 after 100."""

GROWTHS = 4
"""Times that structures grow again from what the rounds before found, where clicks show them in some scans. Abdomen,
clicks in 3 of 12 scans: Dice 0.81, 0.83, 0.84 and 0.84 after 1 to 4 times, 0.74 before."""


class FirstLabels:
    """
    First labels of training scans from their sizes, see the modules of :mod:`medsize.first_labels`.

    Scans are described by words of several vocabularies; mixtures find what each class looks like; rounds of an atlas
    add where it lies. Where clicks show structures in some scans, they grow in all, from what was found, and the rounds
    are repeated. Where structures are small in the view, lie together and nothing but sizes is known of them, both
    are done again in a window around what was found, see :func:`medsize.first_labels.look_closer`. A mask that is
    given stays as it is. Where structures lie in organs, the words within these are told apart, and what is outside is
    background.

    Args:
        num_classes: K, with the background.
        features: see :class:`medsize.first_labels.SliceFeatures`. Defaults to ``"imagenet"``.
        vocabularies: number of words of each. Defaults to ``(200, 400, 600, 800)``.
        rounds: see :func:`medsize.first_labels.atlas_rounds`. Defaults to 8.
        stride: voxels between two points of the grid. Default: 2, more for a large cohort, see :data:`MOST_VALUES`.
        positions: also learn where structures lie, see :func:`medsize.first_labels.atlas_rounds`. Defaults to True.
        seed: of sampled points and of k-means. Defaults to 0.
        device: where features are computed. Default: the CPU.
        look_closer: look again where all structures are small. Defaults to True.
    """

    def __init__(
        self,
        num_classes: int,
        features: str = "imagenet",
        vocabularies: Sequence[int] = (200, 400, 600, 800),
        rounds: int = 8,
        stride: int | None = None,
        seed: int = 0,
        device: torch.device | str = "cpu",
        positions: bool = True,
        look_closer: bool = True,
    ) -> None:
        self.num_classes = num_classes
        self.features = features
        self.vocabularies = tuple(vocabularies)
        self.positions = positions
        self.rounds = rounds
        self.look_closer = look_closer
        self.stride = stride
        self.seed = seed
        self.device = torch.device(device)
        self.window: int | None = None
        """Side of the window that was looked at again, voxels."""
        self.mixtures: list[Mixture] = []
        self.iterations = 0
        """EM iterations, see :func:`medsize.first_labels.choose_iterations`."""
        self.separability = torch.empty(0)
        """See :func:`medsize.first_labels.separability`, the mean over the vocabularies."""
        self.pairs: list[tuple[int, int, float, float]] = []
        """Classes whose sizes rise and fall together: both indices, the correlation, and the separability of one from
        the other, see :func:`medsize.first_labels.separability_of_pairs`."""
        self.explained = 0.0
        """Part of the classes that the scans' own intensities explain in the first rounds, see
        :func:`medsize.first_labels.explained_by_levels`: the mean. Below :data:`LEAST_EXPLAINED` they are not used."""
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
                ``scribble``, ``label`` and ``region``. It is called several times for each scan.
            num_scans: number of scans.

        Returns:
            the soft label of each scan on its grid, float16, ``(K, Z, h, w)``.

        Raises:
            ValueError: when there is no scan, or none has a size or a mask, or all are constant images, or a scan has
                sizes of another number of structures.
        """
        if num_scans < 1:
            raise ValueError(f"num_scans must be at least 1, got {num_scans}.")
        first = read(0)["image"]
        finest = self._least_stride(first, num_scans)
        stride = self.stride or max(2, finest)
        scans = self._describe(read, num_scans, SliceFeatures(first.shape[0], self.features, stride))
        labels = self._solve(scans)
        self.window = None
        if not self.look_closer or any(scan.evidence is not None or scan.label is not None for scan in scans):
            return labels

        def look(windows: Sequence[Window], stride: int) -> list[torch.Tensor]:
            features = SliceFeatures(first.shape[0], self.features, stride)
            return self._solve(self._describe(lambda n: windows[n].crop(read(n)), num_scans, features))

        views = [Window((0, 0), scan.sides) for scan in scans]
        labels, self.window = look_closer(labels, views, stride, look, finest)
        return labels

    def _describe(
        self, read: Callable[[int], Mapping[Hashable, Any]], num_scans: int, features: SliceFeatures
    ) -> list[ScanOnGrid]:
        """Return what the scans show, in words that are found in them."""
        words = Words(features.to(self.device), self.vocabularies, seed=self.seed)
        chosen = np.unique(np.linspace(0, num_scans - 1, min(num_scans, SAMPLED_SCANS)).round().astype(int))
        sampled = (
            self._sampled_slices(read(int(n))["image"], len(chosen))
            for n in with_progress(chosen, "First labels: words")
        )
        words.fit(sampled, math.ceil(SAMPLED_POINTS / len(chosen)))
        numbers = with_progress(range(num_scans), "First labels: features")
        scans = [put_on_grid(read(n), words, self.num_classes, self.device) for n in numbers]
        if not any(scan.states_something for scan in scans):
            raise ValueError("none of the training scans has a size or a mask: first labels are made from these.")
        return scans

    def _least_stride(self, image: torch.Tensor, num_scans: int) -> int:
        """Return the voxels between two points that keep the cohort's labels within :data:`MOST_VALUES`."""
        values = math.prod(image.shape[1:]) * num_scans * self.num_classes
        return max(1, math.ceil(math.sqrt(values / MOST_VALUES)))

    def _sampled_slices(self, image: torch.Tensor, num_scans: int) -> torch.Tensor:
        volume = as_volume(image)
        wanted = max(2, SAMPLED_SLICES // num_scans)
        if volume.shape[-1] <= wanted:
            return volume.to(self.device)
        return volume[..., torch.linspace(0, volume.shape[-1] - 1, wanted).round().long()].to(self.device)

    def _solve(self, scans: Sequence[ScanOnGrid]) -> list[torch.Tensor]:
        unlabelled = [scan for scan in scans if scan.label is None]
        self.pointed_at = sum((scan.shown_structures() for scan in scans), torch.zeros_like(self.pointed_at))
        low, high = fractions_of_regions(unlabelled, self.num_classes).unbind(dim=1)
        histograms = [histograms_of_regions(unlabelled, n, size) for n, size in enumerate(self.vocabularies)]
        subjects = [scan.subject for scan in unlabelled for _ in scan.regions()]
        self.iterations = choose_iterations(histograms, low, high, subjects) if len(low) else 0
        if self.pointed_at.any():
            self.iterations = min(self.iterations, CLICKED_ITERATIONS)
        self.mixtures = [
            fit_mixture(histogram, low, high, certain_words(scans, n, size), self.iterations, subjects)
            for n, (histogram, size) in enumerate(zip(histograms, self.vocabularies, strict=True))
        ]
        self._judge_sizes(histograms, low, high)
        words = [mixture.words for mixture in self.mixtures]
        seen = [AtlasScan(scan.words, scan.of_grid, scan.evidence, scan.label, scan.inside) for scan in scans]
        probed = atlas_rounds(seen, words, rounds=PROBE_ROUNDS, learn_positions=self.positions)
        self.explained = _explained(scans, probed)
        if self.explained >= LEAST_EXPLAINED:
            seen = [replace(of_atlas, levels=scan.levels) for of_atlas, scan in zip(seen, scans, strict=True)]
        labels = atlas_rounds(seen, words, rounds=self.rounds, learn_positions=self.positions)
        for _ in range(GROWTHS if any(scan.is_clicked for scan in scans) else 0):
            pairs = with_progress(list(zip(scans, labels, strict=True)), "First labels: growth")
            grown = [scan.grown(label) for scan, label in pairs]
            seen = [replace(of_atlas, evidence=evidence) for of_atlas, evidence in zip(seen, grown, strict=True)]
            labels = atlas_rounds(seen, words, rounds=self.rounds, learn_positions=self.positions)
        return [label if scan.label is None else scan.label.half() for scan, label in zip(scans, labels, strict=True)]

    def _judge_sizes(self, histograms: Sequence[torch.Tensor], low: torch.Tensor, high: torch.Tensor) -> None:
        """Find how well the fractions of regions tell the structures apart, as the mean over the vocabularies."""
        self.rank = rank_of_fractions(low, high)
        if not len(low):
            return
        shown = torch.linspace(0, len(low) - 1, min(len(low), JUDGED_REGIONS)).round().long()
        low, high, few = low[shown], high[shown], min(self.iterations, JUDGED_ITERATIONS)
        apart = [separability(histogram[shown], low, high, iterations=few) for histogram in histograms]
        self.separability = torch.stack(apart).mean(dim=0)
        alike = alike_pairs(low, high)
        pairs = [(one, other) for one, other, _ in alike]
        apart = [separability_of_pairs(histogram[shown], low, high, pairs, iterations=few) for histogram in histograms]
        values = torch.stack(apart).mean(dim=0).tolist()
        self.pairs = [(*pair, value) for pair, value in zip(alike, values, strict=True)]


def _explained(scans: Sequence[ScanOnGrid], labels: Sequence[torch.Tensor]) -> float:
    """Return how much the scans' own intensities explain of labels: the mean over scans without a mask, 0 if none."""
    values = []
    for scan, label in zip(scans, labels, strict=True):
        if scan.label is None and scan.levels is not None:
            inside = label if scan.inside is None else label * scan.inside
            values.append(explained_by_levels(scan.levels, inside))
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else 0.0
