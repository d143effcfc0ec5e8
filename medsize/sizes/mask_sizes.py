"""Sizes of the structures that a mask file holds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import SimpleITK
from monai.data import MetaTensor

from medsize.scans.image_file import is_image_file, read_image_file
from medsize.scans.masks import as_classes, class_values
from medsize.scans.resampled_mask import check_place, resampled
from medsize.scans.scan_facts import UNREADABLE
from medsize.scans.space.geometry import geometry_faults
from medsize.scans.space.grid import Grid, is_on_voxels, on_grid
from medsize.transforms.compute_size_target import ComputeSizeTarget

__all__ = ["describe_mask", "measure_structure", "read_mask"]


def describe_mask(
    mask_file: Path,
    class_names: Sequence[str],
    roi_shift_mm: float | None = None,
    rng: np.random.Generator | None = None,
    ignored: int | None = None,
) -> dict[str, Any]:
    """
    Measure the structures of a mask, as entries of a data list.

    Args:
        mask_file: mask of class indices, NIfTI.
        class_names: all classes, the background first.
        roi_shift_mm: also state a ``roi`` around the foreground's centre. It is shifted at random by up to so many mm
            along each scanner axis, like a single click.
        rng: source of the shift.
        ignored: value of voxels that belong to no class. Default: none.

    Returns:
        ``size`` (mm³ per structure), ``slice_size`` (mm² per structure and slice along the last axis), and ``roi``.
    """
    labels = read_mask(mask_file)
    if ignored is not None:
        labels = labels.masked_fill(labels == ignored, 0)
    volumes = ComputeSizeTarget(len(class_names))(labels)
    areas = ComputeSizeTarget(len(class_names), per_slice=True)(labels)
    structures = class_names[1:]
    entry: dict[str, Any] = {
        "size": {name: round(float(v), 3) for name, v in zip(structures, volumes, strict=True)},
        "slice_size": {
            name: [round(float(a), 3) for a in by_slice] for name, by_slice in zip(structures, areas, strict=True)
        },
    }
    if roi_shift_mm is not None:
        foreground = np.argwhere(np.asarray(labels[0]) > 0)
        middle = (
            (foreground.min(axis=0) + foreground.max(axis=0)) / 2 if len(foreground) else np.array(labels.shape[1:]) / 2
        )
        shift = (rng or np.random.default_rng(0)).uniform(-roi_shift_mm, roi_shift_mm, size=3)
        # The shift stays in the plane of the slices, where the crop is made, and a click stays on the image.
        affine = labels.affine.numpy()
        shifted = middle + (np.linalg.inv(affine[:3, :3]) @ shift) * [1, 1, 0]
        clicked = np.clip(shifted, 0, np.array(labels.shape[1:]) - 1)
        center = affine[:3, :3] @ clicked + affine[:3, 3]
        entry["roi"] = {"center_mm": [round(float(c), 2) for c in center]}
    return entry


def measure_structure(mask_file: Path, scan_file: Path) -> tuple[float, list[float]]:
    """
    Return the mm³ in the mask of a single structure, and the mm² in each slice of its scan.

    The volume is that of the mask's own voxels. A mask on other voxels than the scan's is resampled for the areas.

    Args:
        mask_file: mask that holds 1 in the structure, and 0 elsewhere; or probabilities. NIfTI, NRRD or MetaImage.
        scan_file: its scan, NIfTI.

    Raises:
        ValueError: when it cannot be measured, or does not lie on the scan.
    """
    try:
        if not is_image_file(mask_file):
            raise ValueError(
                f"{mask_file}: found a '{mask_file.suffix}' file, expected NIfTI, NRRD or MetaImage. "
                "Save it as .nii.gz."
            )
        drawn = as_classes(mask_file, read_image_file(mask_file))
        inside = SimpleITK.GetArrayViewFromImage(drawn)
        if inside.max(initial=0) > 1:
            raise ValueError(
                f"{mask_file}: found values up to {inside.max()}, expected 1 in the structure, and 0 elsewhere. "
                "Correct it."
            )
        scan = nibabel.load(scan_file)
    except UNREADABLE as e:
        raise ValueError(f"the mask cannot be measured: {e}") from e
    own, grid = Grid.of(drawn), Grid.of_affine(scan.shape, scan.affine)
    try:
        check_place(drawn, grid)
        placed = on_grid(drawn, grid) if is_on_voxels(own, grid) else resampled(drawn, grid)
    except ValueError as e:
        raise ValueError(f"the mask {mask_file} does not fit its scan: {e}") from e
    counts = np.count_nonzero(placed, axis=(1, 2))
    areas = [round(float(area), 3) for area in counts * grid.spacing[0] * grid.spacing[1]]
    return round(np.count_nonzero(inside) * own.voxel_mm3, 3), areas


def read_mask(mask_file: Path) -> MetaTensor:
    """
    Read a mask of class indices as ``(1, *spatial)``, int64; probabilities become 1 from 0.5.

    Raises:
        ValueError: when it states no spacing in mm, or holds neither classes nor probabilities.
    """
    mask = nibabel.load(mask_file)
    if fault := next(geometry_faults(mask), None):
        raise ValueError(f"{mask_file}: {fault}")
    return MetaTensor(
        class_values(mask_file, np.asarray(mask.dataobj))[None].astype(np.int64),
        affine=mask.affine,
        meta={"filename_or_obj": str(mask_file)},
    )
