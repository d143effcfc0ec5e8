"""First labels as the soft labels of training items."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import torch
from monai.data import MetaTensor
from monai.transforms import Transform
from monai.utils import TransformBackends
from torch.nn import functional as F

from medsize.first_labels.label_folder import label_file
from medsize.losses.composite import IGNORE_INDEX
from medsize.transforms.soft_label import ShiftToSize, meet_size
from medsize.transforms.voxel_size import source_of

__all__ = ["FirstLabelD", "FirstLabelDict", "FirstLabeld"]


class FirstLabeld(Transform):
    """
    First label of a training scan, interpolated to its voxels and shifted to its size.

    Put it where :class:`medsize.transforms.SoftLabeld` stands for a teacher: after the deterministic transforms that
    the first labels were made with.

    Args:
        folder: see :func:`medsize.first_labels.make_first_labels`.
        image_key: key of the scan. Defaults to ``"image"``.
        soft_label_key: key of the result, float32, ``(K, *spatial)``. Defaults to ``"soft_label"``.

    Raises:
        FileNotFoundError: when the folder holds no label of a scan.
    """

    backend = [TransformBackends.TORCH]

    def __init__(self, folder: str | Path, image_key: str = "image", soft_label_key: str = "soft_label") -> None:
        self.folder = Path(folder)
        self.image_key = image_key
        self.soft_label_key = soft_label_key
        self.shift = ShiftToSize()

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        image = d[self.image_key]
        file = label_file(self.folder, source_of(image))
        if not file.is_file():
            raise FileNotFoundError(f"{source_of(image)}: found no first label of it in {self.folder}. Make them anew.")
        coarse = torch.load(file, weights_only=True).float()
        volume_shape = (*image.shape[1:], 1)[:3]
        fine = F.interpolate(coarse, size=volume_shape[:2], mode="bilinear")
        logits = fine.clamp_min(1e-6).log().movedim(1, -1)  # (K, H, W, Z)
        soft = meet_size(logits.reshape(-1, *image.shape[1:]), d, image, self.shift)
        if "label" in d:
            mask = d["label"].as_tensor()[0].long()
            drawn = F.one_hot(mask.clamp(0, len(coarse) - 1), len(coarse)).movedim(-1, 0).float()
            soft = torch.where(mask == IGNORE_INDEX, soft, drawn)
        d[self.soft_label_key] = MetaTensor(soft, meta=image.meta, applied_operations=image.applied_operations)
        return d


FirstLabelD = FirstLabelDict = FirstLabeld
