"""Training scans as the mixture and the atlas see them: words, sizes and clicks on a grid."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional as F

from medsize.first_labels.clicks import CERTAIN, FAR, GrowingScan, labelled_points
from medsize.first_labels.features import as_volume
from medsize.first_labels.own_intensities import intensity_levels
from medsize.first_labels.words import Words
from medsize.items import SIZE_KEYS, size_key
from medsize.losses.composite import IGNORE_INDEX
from medsize.transforms.size_to_fraction import to_fraction
from medsize.transforms.voxel_size import source_of

__all__ = ["ScanOnGrid", "certain_words", "fractions_of_regions", "histograms_of_regions", "put_on_grid"]


@dataclass
class ScanOnGrid:
    """Parts of a training scan that are kept in memory."""

    source: str
    subject: str
    sides: tuple[int, int]
    """Voxels of a slice along both axes."""
    words: list[torch.Tensor]
    """Word at each point for each vocabulary, int16, ``(Z, h, w)``."""
    fraction: torch.Tensor
    """Low and high ends, ``(2, K)`` or, of slices, ``(2, K, Z)``, as fractions of Ω."""
    of_grid: torch.Tensor
    """The same as fractions of the whole grid."""
    evidence: torch.Tensor | None = None
    """Evidence of clicks and of the organs that structures lie in, see :class:`medsize.first_labels.AtlasScan`."""
    label: torch.Tensor | None = None
    """Share of each class at each point, where a mask is known, ``(K, Z, h, w)``; 0 where that is ignored."""
    inside: torch.Tensor | None = None
    """Points of Ω, where it is the organs that structures lie in, bool, ``(Z, h, w)``."""
    levels: torch.Tensor | None = None
    """Level of intensity of each point, see :func:`medsize.first_labels.intensity_levels`."""
    growing: GrowingScan | None = None
    """The scan as structures grow in it, but where a mask is known."""

    @property
    def is_clicked(self) -> bool:
        """Say whether a click or a scribble shows a structure."""
        return self.growing is not None and any(k > 0 for k in self.growing.points)

    @property
    def states_something(self) -> bool:
        """Say whether a size or a mask is known."""
        return self.label is not None or bool((self.fraction[1] - self.fraction[0] < 1).any())

    def shown_structures(self) -> torch.Tensor:
        """Return 1 for each structure that a click or a mask shows, ``(K − 1,)``."""
        if self.label is not None:
            return (self.label[1:].amax(dim=(1, 2, 3)) > 0).long()
        if self.evidence is not None:
            return (self.evidence[1:].amax(dim=(1, 2, 3)) >= CERTAIN).long()
        return torch.zeros(1, dtype=torch.long)

    def grown(self, labels: torch.Tensor | None = None) -> torch.Tensor | None:
        """Return the evidence of growth, see :meth:`GrowingScan.evidence`, and of organs; ``None`` without both."""
        possible = None if self.growing is None else self.growing.possible
        if self.growing is None or (possible is None and labels is None and not self.growing.points):
            return None
        evidence = self.growing.evidence(labels)
        return (evidence if possible is None else evidence.masked_fill(~possible, FAR)).half()

    def regions(self) -> list[int]:
        """Return the slices that are regions of their own and hold a point of Ω; one number for a whole scan."""
        if self.fraction.ndim < 3:
            return [0]
        if self.inside is None:
            return list(range(self.fraction.shape[-1]))
        return [int(z) for z in self.inside.flatten(1).any(dim=1).nonzero().flatten()]


def put_on_grid(
    item: Mapping[Hashable, Any], words: Words, num_classes: int, device: torch.device | str = "cpu"
) -> ScanOnGrid:
    """
    Describe a training scan on the grid of its words.

    Args:
        item: the scan, see :class:`medsize.first_labels.FirstLabels`.
        words: fitted vocabularies.
        num_classes: K, with the background.
        device: where features are computed. Defaults to the CPU.

    Raises:
        ValueError: when the scan has sizes of another number of structures.
    """
    image, organs = item["image"], item.get("region")
    maps = words.transform(as_volume(image).to(device))
    grid = maps[0].shape[1:]
    key = size_key(item, SIZE_KEYS)
    unknown = torch.stack([torch.zeros(num_classes), torch.ones(num_classes)])
    fraction = unknown if key is None else to_fraction(key, item[key], image, organs)
    source = source_of(image)
    if fraction.shape[1] != num_classes:
        raise ValueError(
            f"{source}: found {fraction.shape[1] - 1} sizes, expected {num_classes - 1}, as num_classes is "
            f"{num_classes} with the background."
        )
    sides = (image.shape[1], image.shape[2])
    scan = ScanOnGrid(source, str(item.get("subject", source)), sides, maps, fraction, fraction)
    scan.levels = intensity_levels(as_volume(image), (grid[0], grid[1]))
    possible = None if organs is None else _points_of_organs(as_volume(organs), grid)
    if possible is not None:
        scan.inside = possible[1:].any(dim=0)
        scan.of_grid = _of_whole_grid(fraction, scan.inside)
    if "label" in item:
        scan.label = _shares(as_volume(item["label"])[0], num_classes, grid)
        average = scan.label.mean(dim=(1, 2, 3))
        average = average / average.sum().clamp_min(1e-9)
        scan.fraction = scan.of_grid = torch.stack([average, average])
    else:
        scan.growing = _growing(scan, item, possible)
        scan.evidence = scan.grown()
    return scan


def fractions_of_regions(scans: Sequence[ScanOnGrid], num_classes: int) -> torch.Tensor:
    """Return the fractions of all regions, ``(R, 2, K)``: of each scan, or of each slice where they are known."""
    parts = [
        scan.fraction.movedim(-1, 0)[scan.regions()] if scan.fraction.ndim == 3 else scan.fraction.unsqueeze(0)
        for scan in scans
    ]
    return torch.cat(parts) if parts else torch.empty(0, 2, num_classes)


def histograms_of_regions(scans: Sequence[ScanOnGrid], vocabulary: int, size: int) -> torch.Tensor:
    """Return the share of each word of a vocabulary, which has ``size`` words, in each region, ``(R, W)``."""
    rows = []
    for scan in scans:
        words = scan.words[vocabulary].long()
        inside = torch.ones_like(words, dtype=torch.bool) if scan.inside is None else scan.inside
        if scan.fraction.ndim < 3:
            words, inside = words.unsqueeze(0), inside.unsqueeze(0)
        regions = [words[number][inside[number]] for number in scan.regions()]
        rows += [torch.bincount(region, minlength=size).float() / len(region) for region in regions]
    return torch.stack(rows) if rows else torch.empty(0, size)


def certain_words(scans: Sequence[ScanOnGrid], vocabulary: int, size: int) -> torch.Tensor | None:
    """Return the words of each class in the scans with a mask, ``(K, W)``, each scan counting as one region."""
    counts: torch.Tensor | None = None
    for scan in scans:
        if scan.label is None:
            continue
        words = scan.words[vocabulary].reshape(-1).long()
        share = scan.label.flatten(1) / len(words)
        if scan.inside is not None:
            share = share * scan.inside.flatten()
        counts = torch.zeros(len(share), size) if counts is None else counts
        counts.index_add_(1, words, share)
    return counts


def _points_of_organs(organs: torch.Tensor, grid: Sequence[int]) -> torch.Tensor:
    """Return where each class may be: structures in their organs, ``(K − 1, H, W, Z)``; bool, ``(K, Z, h, w)``."""
    masks = (organs.as_subclass(torch.Tensor) != 0).permute(0, 3, 1, 2).float()
    share = F.interpolate(masks, size=list(grid), mode="area")
    points = share > share.amax(dim=(1, 2, 3), keepdim=True).clamp_max(1.0) / 2
    return torch.cat([torch.ones_like(points[:1]), points])


def _shares(label: torch.Tensor, num_classes: int, grid: Sequence[int]) -> torch.Tensor:
    """Return the share of each class of a mask ``(H, W, Z)`` at each point, ``(K, Z, h, w)``; 0 where it is ignored."""
    plain = label.as_subclass(torch.Tensor).long()
    one_hot = F.one_hot(plain.clamp(0, num_classes - 1), num_classes) * (plain != IGNORE_INDEX).unsqueeze(-1)
    share = F.interpolate(one_hot.permute(3, 2, 0, 1).float(), size=list(grid), mode="area")
    return share / share.sum(dim=0).clamp_min(1e-9)


def _growing(scan: ScanOnGrid, item: Mapping[Hashable, Any], possible: torch.Tensor | None) -> GrowingScan:
    """Return a scan as structures grow in it."""
    image = item["image"]
    grid = scan.words[0].shape[1:]
    spacing = [*(float(mm) for mm in image.pixdim), 1.0][:3]
    slices = as_volume(image).as_subclass(torch.Tensor).permute(0, 3, 1, 2).float()
    height, width = slices.shape[2:]
    point_mm = (spacing[2], spacing[0] * height / grid[0], spacing[1] * width / grid[1])
    grid_mm3 = slices[0].numel() * math.prod(spacing)
    part = 1.0 if scan.inside is None else float(scan.inside.float().mean())
    volumes = _volumes(scan.of_grid, grid_mm3, part)
    points = {}
    if "scribble" in item:
        scribble = as_volume(item["scribble"])[0].as_subclass(torch.Tensor)
        points = labelled_points(scribble, len(volumes) + 1, (grid[0], grid[1]))
    return GrowingScan(F.interpolate(slices, size=list(grid), mode="area"), points, volumes, point_mm, possible)


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
