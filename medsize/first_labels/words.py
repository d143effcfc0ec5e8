"""Words: the classes of local appearance that a cohort's scans are described by."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from sklearn.cluster import MiniBatchKMeans
from sklearn.decomposition import PCA

from medsize.first_labels.features import SliceFeatures, as_volume

__all__ = ["Words"]

BATCH_VOXELS = 2**18
"""Voxels of slices whose features are computed at once."""
CACHED_POINTS = 512
"""Points that are compared with all words at once: their scores stay in the processor's cache."""


class Words:
    """
    Vocabularies of a cohort: k-means on the whitened features of its slices.

    Each group of features is divided by its standard deviation, so that every scale counts alike. The features are
    projected to their first principal components, of variance 1 each. Each vocabulary is a k-means of its own.

    Source: Csurka et al. "Visual categorization with bags of keypoints" 2004 (words of an image); the feature groups
    are chosen in this project.

    Args:
        features: gives the features of slices.
        sizes: number of words of each vocabulary.
        dimensions: principal components to keep. Defaults to 32.
        seed: of the sampled points and of k-means. Defaults to 0.
    """

    def __init__(
        self, features: SliceFeatures, sizes: Sequence[int] = (200, 400, 600, 800), dimensions: int = 32, seed: int = 0
    ) -> None:
        self.features = features
        self.sizes = tuple(sizes)
        self.dimensions = dimensions
        self.seed = seed
        self._scales: list[torch.Tensor] = []
        self._mean = self._projection = torch.empty(0)
        self._words: list[torch.Tensor] = []

    def fit(self, images: Iterable[torch.Tensor], points_per_image: int) -> Words:
        """
        Find the words from a sample of points.

        Args:
            images: scans, each ``(C, H, W, Z)`` or ``(C, H, W)``; they are gone through once.
            points_per_image: number of points to draw from each.

        Returns:
            itself.

        Raises:
            ValueError: when all scans are constant images, so that there is nothing to tell apart.
        """
        generator = torch.Generator().manual_seed(self.seed)
        drawn = []
        varied = False
        for image in images:
            varied = varied or bool(image.max() > image.min())
            slices = image.shape[-1] if image.ndim == 4 else 1
            for batch in self._batches(image):
                groups = [group.movedim(1, -1).flatten(0, 2) for group in batch]
                wanted = math.ceil(points_per_image * len(batch[0]) / slices)
                chosen = torch.randperm(len(groups[0]), generator=generator)[:wanted]
                drawn.append([group[chosen].cpu() for group in groups])
        if not varied:
            raise ValueError("all training scans are constant images, so that no point differs from another.")
        groups = [torch.cat(parts) for parts in zip(*drawn, strict=True)]
        self._scales = [group.std().clamp_min(1e-6) for group in groups]
        points = torch.cat([g / s for g, s in zip(groups, self._scales, strict=True)], dim=1).numpy()
        pca = PCA(min(self.dimensions, *points.shape), whiten=True, svd_solver="covariance_eigh").fit(points)
        spread = np.sqrt(np.maximum(pca.explained_variance_, 1e-6 * pca.explained_variance_[0]))
        self._mean = torch.from_numpy(pca.mean_).float()
        self._projection = torch.from_numpy(pca.components_.T / spread).float()
        whitened = ((torch.from_numpy(points) - self._mean) @ self._projection).numpy()
        self._words = [
            torch.from_numpy(
                MiniBatchKMeans(
                    min(size, len(whitened)), random_state=self.seed + n, batch_size=4096, n_init=1, max_iter=30
                )
                .fit(whitened)
                .cluster_centers_
            ).float()
            for n, size in enumerate(self.sizes)
        ]
        return self

    def transform(self, image: torch.Tensor) -> list[torch.Tensor]:
        """
        Return the word at each point of a scan's grid, for each vocabulary.

        Args:
            image: ``(C, H, W, Z)`` or ``(C, H, W)``.

        Returns:
            maps of words, int16, each ``(Z, h, w)``; Z is 1 for a 2D image.

        Raises:
            ValueError: when no words were found yet.
        """
        if not self._words:
            raise ValueError("found no words yet. Call fit with the training scans first.")
        slices = []
        for groups in self._batches(image):
            scaled = torch.cat([g / s for g, s in zip(groups, self._scales, strict=True)], dim=1)
            points = (scaled.movedim(1, -1) - self._mean.to(scaled)) @ self._projection.to(scaled)
            slices.append([_nearest(points, words.to(points)) for words in self._words])
        return [torch.cat(parts).cpu() for parts in zip(*slices, strict=True)]

    def _batches(self, image: torch.Tensor) -> Iterator[list[torch.Tensor]]:
        slices = as_volume(image).movedim(-1, 0).float()
        for batch in slices.split(max(1, BATCH_VOXELS // slices[0, 0].numel())):
            yield self.features(batch)


def _nearest(points: torch.Tensor, words: torch.Tensor) -> torch.Tensor:
    """Return the index of the word nearest to each point ``(…, D)``, int16."""
    bias, columns = -words.square().sum(dim=1) / 2, words.T.contiguous()
    parts = points.flatten(0, -2).split(CACHED_POINTS)
    nearest = [torch.addmm(bias, part, columns).argmax(dim=1) for part in parts]
    return torch.cat(nearest).reshape(points.shape[:-1]).to(torch.int16)
