"""From a mask to physical sizes."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, Transform
from monai.utils import TransformBackends

from medsize.transforms.voxel_size import check_affine, source_of, voxel_size

__all__ = ["ComputeSizeTarget", "ComputeSizeTargetD", "ComputeSizeTargetDict", "ComputeSizeTargetd"]


class ComputeSizeTarget(Transform):
    """
    Measurement of each structure in a mask: mm³ in a volume, mm² in a slice.

    Args:
        num_classes: K, with the background.
        per_slice: measure areas (mm²) in each slice along the last axis instead of volumes. Defaults to False.
        ignored: value of voxels that belong to no class and count for none. Default: there is none.
    """

    backend = [TransformBackends.TORCH]

    def __init__(self, num_classes: int, per_slice: bool = False, ignored: int | None = None) -> None:
        self.num_classes = num_classes
        self.per_slice = per_slice
        self.ignored = ignored

    def __call__(self, mask: MetaTensor) -> torch.Tensor:
        """
        Measure the structures of a mask.

        Args:
            mask: class indices, shape ``(1, *spatial)``.

        Returns:
            sizes of the foreground classes, float64, shape ``(K − 1,)``, or ``(K − 1, Z)`` with ``per_slice``.

        Raises:
            ValueError: when ``mask`` has several channels, or holds a value that is not a class, as after linear
                interpolation, or its affine is missing or degenerate.
        """
        check_affine(mask)
        if mask.shape[0] != 1:
            raise ValueError(f"{source_of(mask)}: a mask must have one channel of class indices, got {mask.shape[0]}.")
        if self.per_slice and mask.ndim != 4:
            raise ValueError(f"{source_of(mask)}: sizes per slice need a volume (1, H, W, Z), got {tuple(mask.shape)}.")
        labels = mask.as_tensor().long()
        if bool((labels != mask.as_tensor()).any()):
            raise ValueError(
                f"{source_of(mask)}: found values that are not whole numbers in a mask, expected class indices. Was it "
                "interpolated? Resample it with mode='nearest'."
            )
        if self.ignored is not None:
            labels = labels.masked_fill(labels == self.ignored, 0)
        lowest, highest = int(labels.min()), int(labels.max())
        if lowest < 0 or highest >= self.num_classes:
            raise ValueError(
                f"{source_of(mask)}: values from {lowest} to {highest} in a mask of {self.num_classes} classes."
            )
        if not self.per_slice:
            counts = torch.bincount(labels.flatten(), minlength=self.num_classes)[1:]
            return counts.double() * voxel_size(mask)
        by_slice = [torch.bincount(s.flatten(), minlength=self.num_classes)[1:] for s in labels.unbind(dim=-1)]
        return torch.stack(by_slice, dim=-1).double() * voxel_size(mask, num_axes=2)


class ComputeSizeTargetd(MapTransform):
    """
    Dictionary-based wrapper of :class:`ComputeSizeTarget`.

    Args:
        keys: mask to measure.
        num_classes: K, with the background.
        size_key: key to write the sizes to, as low and high ends, which are equal: ``(2, K − 1)`` or, with
            ``per_slice``, ``(2, K − 1, Z)``. Default: ``"volume_mm3"``, with ``per_slice`` ``"slice_area_mm2"``; for a
            2D mask name one, such as ``"area_mm2"``.
        per_slice: see :class:`ComputeSizeTarget`.
        overwrite: measure the mask even if the item has ``size_key`` already. Defaults to True.
        allow_missing_keys: don't raise an exception if a key is missing.
        ignored: see :class:`ComputeSizeTarget`.

    Raises:
        ValueError: when the key of a 2D mask's size is in mm³; also see :class:`ComputeSizeTarget`.
    """

    backend = ComputeSizeTarget.backend

    def __init__(
        self,
        keys: KeysCollection,
        num_classes: int,
        size_key: str | None = None,
        per_slice: bool = False,
        overwrite: bool = True,
        allow_missing_keys: bool = False,
        ignored: int | None = None,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.size_key: str = size_key or ("slice_area_mm2" if per_slice else "volume_mm3")
        self.overwrite = overwrite
        self.transform = ComputeSizeTarget(num_classes, per_slice, ignored)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d):
            if self.overwrite or self.size_key not in d:
                if d[key].ndim < 4 and self.size_key.endswith("_mm3"):
                    raise ValueError(
                        f"{source_of(d[key])}: found a mask of the shape {tuple(d[key].shape)}, expected a volume for "
                        f"'{self.size_key}'. Name a key for its area: size_key='area_mm2'."
                    )
                sizes = self.transform(d[key])
                d[self.size_key] = torch.stack([sizes, sizes])
        return d


ComputeSizeTargetD = ComputeSizeTargetDict = ComputeSizeTargetd
