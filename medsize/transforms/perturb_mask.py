"""Masks with the errors that readers make."""

from __future__ import annotations

import zlib
from bisect import bisect_left
from collections.abc import Callable, Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, Transform
from monai.utils import TransformBackends
from scipy.ndimage import distance_transform_edt, gaussian_filter, shift

from medsize.transforms.voxel_size import source_of

__all__ = ["MASK_NOISES", "PerturbMask", "PerturbMaskD", "PerturbMaskDict", "PerturbMaskd", "mask_change"]

Family = Callable[[float], np.ndarray]
"""Wrong masks by the strength of their error, in [0, 1]."""


def mask_change(mask: np.ndarray, other: np.ndarray) -> float:
    """
    Return the error of a mask: |A Δ B| / |A|, the voxels that differ over those of the true structure.

    For a mask that only grew or only shrank it is the relative size error.

    Args:
        mask: the true one, boolean, not empty.
        other: the wrong one, boolean, of the same shape.
    """
    return float((mask != other).sum() / mask.sum())


def resized(mask: np.ndarray, spacing: np.ndarray, rng: np.random.Generator, level: float) -> Family:
    """Draw the boundary too far out everywhere, or too far in: at random, but out if nothing would be left."""
    distance, length = _signed_distance(mask, spacing), _diagonal(mask, spacing)
    sign = 1 if level >= 0.9 else rng.choice([-1, 1])
    return lambda strength: distance < sign * strength * length


def displaced(mask: np.ndarray, spacing: np.ndarray, rng: np.random.Generator, level: float) -> Family:
    """Draw the boundary with smooth errors, outwards here and inwards there."""
    distance, length = _signed_distance(mask, spacing), _diagonal(mask, spacing)
    field = gaussian_filter(rng.standard_normal(mask.shape), 0.1 * length / spacing, mode="wrap")
    boundary = np.abs(distance) <= spacing.max()
    field = (field - field[boundary].mean()) / field.std()
    return lambda strength: distance < strength * length * field


def translated(mask: np.ndarray, spacing: np.ndarray, rng: np.random.Generator, level: float) -> Family:
    """Draw beside the structure, in a random direction within the plane of the first two axes."""
    distance = _signed_distance(mask, spacing)
    angle = rng.uniform(0, 2 * np.pi)
    direction = np.zeros(mask.ndim)
    direction[:2] = np.cos(angle), np.sin(angle)
    step = direction * _diagonal(mask, spacing) / spacing
    return lambda strength: shift(distance, strength * step, order=1, mode="nearest") < 0


def blocks(mask: np.ndarray, spacing: np.ndarray, rng: np.random.Generator, level: float) -> Family:
    """Paint with a coarse brush: every block of voxels gets the value at its centre."""
    length = _diagonal(mask, spacing)

    def painted(strength: float) -> np.ndarray:
        edges = np.maximum(np.round(strength * length / spacing), 1).astype(int)
        centres = [
            np.minimum(np.arange(n) // edge * edge + edge // 2, n - 1)
            for n, edge in zip(mask.shape, edges, strict=True)
        ]
        return mask[np.ix_(*centres)]

    return painted


def dropped_slices(mask: np.ndarray, spacing: np.ndarray, rng: np.random.Generator, level: float) -> Family:
    """Leave out some slices along the last axis."""
    order = rng.permutation(np.flatnonzero(mask.any(axis=tuple(range(mask.ndim - 1)))))

    def drawn(strength: float) -> np.ndarray:
        left = mask.copy()
        left[..., order[: round(strength * len(order))]] = False
        return left

    return drawn


def dropped_structures(mask: np.ndarray, spacing: np.ndarray, rng: np.random.Generator, level: float) -> Family:
    """Leave out the structure, with the probability ``level``."""
    keep = rng.random() >= level
    return lambda strength: mask & keep


MASK_NOISES: dict[str, Callable[[np.ndarray, np.ndarray, np.random.Generator, float], Family]] = {
    "resized": resized,
    "displaced": displaced,
    "translated": translated,
    "blocks": blocks,
    "dropped slices": dropped_slices,
    "dropped structures": dropped_structures,
}


class PerturbMask(Transform):
    """
    Replacement of every structure of a mask by a wrong one, for studies of robustness.

    The same file, kind, level and seed give the same errors. Their level is measured by :func:`mask_change`, so that
    masks and sizes can be equally wrong. Where wrong structures overlap, the one of the higher index is kept.
    :attr:`mean_change` holds the level that was reached.

    Args:
        kind: one of :data:`MASK_NOISES`; ``None`` for masks as they are.
        level: the :func:`mask_change` of every structure, reached as closely as voxels allow. 0 changes nothing.
        seed: seed of the errors. Defaults to 0.

    Raises:
        ValueError: when ``kind`` is not one of these, or the level is negative.
    """

    backend = [TransformBackends.NUMPY]

    def __init__(self, kind: str | None, level: float, seed: int = 0) -> None:
        if kind is not None and kind not in MASK_NOISES:
            raise ValueError(f"found the mask noise '{kind}', expected null or one of {', '.join(MASK_NOISES)}.")
        if level < 0:
            raise ValueError(f"the level of the noise is {level}: it must not be negative.")
        self.kind = kind
        self.level = level
        self.seed = seed
        self._changes: dict[tuple[str, int], float] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the measured changes: a copy, and a dataset's hash of this transform, must not depend on them."""
        return self.__dict__ | {"_changes": {}}

    @property
    def mean_change(self) -> float | None:
        """Mean :func:`mask_change` over all structures of all masks so far; ``None`` if there were none."""
        return float(np.mean(list(self._changes.values()))) if self._changes else None

    def __call__(self, mask: MetaTensor) -> MetaTensor:
        """
        Perturb a mask.

        Args:
            mask: class indices, shape ``(1, *spatial)``, with an affine.

        Returns:
            the wrong mask, of the same shape and type.
        """
        labels = np.asarray(mask[0].cpu())
        source = source_of(mask)
        present = [int(k) for k in np.unique(labels[labels > 0])]
        if self.kind is None or self.level == 0:
            self._changes |= {(source, k): 0.0 for k in present}
            return mask
        spacing = mask.affine[:-1, :-1].norm(dim=0).numpy()[: labels.ndim]
        wrong = np.zeros_like(labels)
        for k in present:
            rng = np.random.default_rng([self.seed, k, zlib.crc32(source.encode())])
            box = _box_around(labels == k, spacing, self.level)
            wrong[box][self._perturbed(self.kind, (labels == k)[box], spacing, rng)] = k
        self._changes |= {(source, k): mask_change(labels == k, wrong == k) for k in present}
        return MetaTensor(torch.from_numpy(wrong).unsqueeze(0), meta=mask.meta)

    def _perturbed(self, kind: str, structure: np.ndarray, spacing: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        family = MASK_NOISES[kind](structure, spacing, rng, self.level)
        strengths = np.linspace(0, 1, 513)
        reached = bisect_left(strengths, self.level, key=lambda strength: mask_change(structure, family(strength)))
        candidates = [family(strength) for strength in strengths[max(reached - 1, 0) : reached + 1]]
        return min(candidates, key=lambda other: abs(mask_change(structure, other) - self.level))


def _signed_distance(mask: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """Return the distance from the structure's boundary in mm, negative inside."""
    return distance_transform_edt(~mask, sampling=spacing) - distance_transform_edt(mask, sampling=spacing)


def _box_around(mask: np.ndarray, spacing: np.ndarray, level: float) -> tuple[slice, ...]:
    """Return a box with room for errors of that level: distances in the whole scan take ten times as long."""
    found = np.argwhere(mask)
    margin = np.ceil(min(level, 1) * _diagonal(mask, spacing) / spacing).astype(int) + 2
    first, last = np.maximum(found.min(axis=0) - margin, 0), found.max(axis=0) + margin
    return tuple(slice(a, b + 1) for a, b in zip(first, last, strict=True))


def _diagonal(mask: np.ndarray, spacing: np.ndarray) -> float:
    """Return the diagonal of the box around the structure, mm."""
    found = np.argwhere(mask)
    return float(np.linalg.norm((np.ptp(found, axis=0) + 1) * spacing))


class PerturbMaskd(MapTransform):
    """
    Dictionary-based wrapper of :class:`PerturbMask`. Put it before any random transform, so that its errors are fixed.

    Args:
        keys: masks to perturb.
        kind: see :class:`PerturbMask`.
        level: see :class:`PerturbMask`.
        seed: see :class:`PerturbMask`.
        allow_missing_keys: don't raise an exception if a key is missing.
    """

    backend = PerturbMask.backend

    def __init__(
        self, keys: KeysCollection, kind: str | None, level: float, seed: int = 0, allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.transform = PerturbMask(kind, level, seed)

    @property
    def mean_change(self) -> float | None:
        """See :attr:`PerturbMask.mean_change`."""
        return self.transform.mean_change

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d):
            d[key] = self.transform(d[key])
        return d


PerturbMaskD = PerturbMaskDict = PerturbMaskd
