"""Sizes of the structures that a mask file holds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from monai.data import MetaTensor

from medsize.scans.geometry import geometry_faults
from medsize.scans.scan_facts import UNREADABLE
from medsize.transforms.compute_size_target import ComputeSizeTarget

__all__ = ["describe_mask", "measure_structure", "read_mask"]


def describe_mask(
    mask_file: Path,
    class_names: Sequence[str],
    roi_shift_mm: float | None = None,
    rng: np.random.Generator | None = None,
) -> dict[str, Any]:
    """
    Measure the structures of a mask, as entries of a data list.

    Args:
        mask_file: mask of class indices, NIfTI.
        class_names: all classes, the background first.
        roi_shift_mm: also state a ``roi`` around the foreground's centre. It is shifted at random by up to so many mm
            along each scanner axis, like a single click.
        rng: source of the shift.

    Returns:
        ``size`` (mm³ per structure), ``slice_size`` (mm² per structure and slice along the last axis), and ``roi``.
    """
    labels = read_mask(mask_file)
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


def measure_structure(mask_file: Path, num_slices: int) -> tuple[float, list[float]]:
    """
    Return the mm³ in the mask of a single structure, and the mm² in each of its slices.

    Args:
        mask_file: mask that holds 1 in the structure, and 0 elsewhere.
        num_slices: number of slices of its scan.

    Raises:
        ValueError: when it cannot be measured, or has another number of slices.
    """
    try:
        measured = describe_mask(mask_file, ("background", "structure"))
    except UNREADABLE as e:
        raise ValueError(f"the mask cannot be measured: {e} It must hold 1 in the structure, and 0 elsewhere.") from e
    areas = measured["slice_size"]["structure"]
    if len(areas) != num_slices:
        raise ValueError(f"the mask {mask_file} has {len(areas)} slices, but its scan has {num_slices}.")
    return measured["size"]["structure"], areas


def read_mask(mask_file: Path) -> MetaTensor:
    """
    Read a mask of class indices as ``(1, *spatial)``, int64.

    Raises:
        ValueError: when it states no spacing in mm.
    """
    mask = nibabel.load(mask_file)
    if fault := next(geometry_faults(mask), None):
        raise ValueError(f"{mask_file}: {fault}")
    return MetaTensor(
        np.asarray(mask.dataobj)[None].astype(np.int64),
        affine=mask.affine,
        meta={"filename_or_obj": str(mask_file)},
    )
