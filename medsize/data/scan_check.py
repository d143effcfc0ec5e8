"""What can be wrong with the scans themselves."""

from __future__ import annotations

import math
import sys
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import nibabel
import numpy as np
import torch
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from rich.console import Console
from rich.progress import track

from medsize.losses.composite import IGNORE_INDEX

__all__ = ["check_scans"]

UNREADABLE = (OSError, EOFError, ValueError, ImageFileError, HeaderDataError, OverflowError, zlib.error)
"""What nibabel and zlib raise for truncated and broken files."""


def check_scans(
    items: Sequence[dict[str, Any]],
    num_classes: int,
    scribble_unlabelled: int = IGNORE_INDEX,
    region_mm: Sequence[float] | None = None,
) -> list[str]:
    """
    Read every scan once and list what is wrong with it.

    Found are: unreadable and truncated files, images without spacing or with a degenerate affine, non-finite
    intensities, masks and scribbles of another shape or place than their image or with values that are no class,
    sizes above the field of view or above the region given to the network, sizes per slice that do not fit the slices,
    and regions of interest outside the image.

    Args:
        items: as :class:`medsize.data.Cohort` gives them.
        num_classes: K, with the background.
        scribble_unlabelled: value of unlabelled voxels in scribbles.
        region_mm: extent of the region given to the network along each axis, in mm; negative for all of an axis.

    Returns:
        one message per fault, naming the file. Empty where all is well.
    """
    with ThreadPoolExecutor(max_workers=2) as pool:
        found = pool.map(lambda item: list(_faults(item, num_classes, scribble_unlabelled, region_mm)), items)
        shown = track(
            found,
            total=len(items),
            description="checking scans",
            transient=True,
            console=Console(stderr=True),
            disable=not sys.stderr.isatty(),
        )
        return [fault for faults in shown for fault in faults]


def _faults(
    item: dict[str, Any], num_classes: int, scribble_unlabelled: int, region_mm: Sequence[float] | None
) -> Iterator[str]:
    path = item["image"]
    try:
        image = nibabel.load(path)
        intensities = np.asarray(image.dataobj)
    except UNREADABLE as e:
        yield f"{path}: the image cannot be read: {first_line(e)}. Is the file complete?"
        return
    yield from geometry_faults(path, image)
    if not np.isfinite(intensities).all():
        count = int((~np.isfinite(intensities)).sum())
        yield f"{path}: {count} intensities are NaN or infinite. Replace them, for example by the lowest intensity."
    if image.ndim != 3:
        yield f"{path}: a scan must have three axes, got the shape {image.shape}."
        return
    for key, ignored in (("label", None), ("true_label", None), ("scribble", scribble_unlabelled)):
        if key in item:
            yield from _label_faults(item[key], key.removeprefix("true_"), image, path, num_classes, ignored)
    yield from _size_faults(item, image, region_mm)
    if "roi" in item:
        yield from _roi_faults(item["roi"], image, path)


def geometry_faults(path: str, image: Any) -> Iterator[str]:
    """What is wrong with where an image of nibabel's lies in space, one message each."""
    zooms = image.header.get_zooms()[:3]
    if isinstance(image, nibabel.Nifti1Image):
        if image.header["qform_code"] == 0 and image.header["sform_code"] == 0:
            yield f"{path}: the image states no spacing (qform and sform are not set). Sizes in mm need it."
            return
        unit = int(image.header["xyzt_units"]) % 8
        if unit not in (0, 2):  # not stated, mm
            stated = {1: "meter", 3: "micron"}.get(unit, f"the unknown unit {unit}")
            yield f"{path}: the image's spacing is in {stated}, it must be in mm."
    if not all(math.isfinite(z) and z > 0 for z in zooms):
        yield f"{path}: the image's spacing is {tuple(float(z) for z in zooms)}, it must be positive."
    elif not abs(np.linalg.det(image.affine[:3, :3])) > 1e-9:
        yield f"{path}: the image's affine is degenerate, a voxel has no volume: {image.affine.tolist()}."


def _label_faults(
    path: str, key: str, image: Any, image_path: str, num_classes: int, ignored: int | None
) -> Iterator[str]:
    try:
        label = nibabel.load(path)
        values = np.unique(np.asarray(label.dataobj))
    except UNREADABLE as e:
        yield f"{path}: the {key} cannot be read: {first_line(e)}. Is the file complete?"
        return
    if label.shape != image.shape:
        yield f"{path}: the {key} has the shape {label.shape}, its image {image_path} {image.shape}."
    elif not np.allclose(label.affine, image.affine, atol=1e-2):
        yield f"{path}: the {key} lies elsewhere in space than its image {image_path}: their affines differ."
    wrong = [float(v) for v in values if v != ignored and v not in range(num_classes)]
    if wrong:
        yield f"{path}: the {key} holds the values {wrong[:5]}, which are none of the classes 0 to {num_classes - 1}."


def _size_faults(item: dict[str, Any], image: Any, region_mm: Sequence[float] | None) -> Iterator[str]:
    path = item["image"]
    extent = np.asarray(image.header.get_zooms()[:3], dtype=float) * image.shape
    region = None if region_mm is None else np.where(np.asarray(region_mm) < 0, extent, region_mm)
    for key in ("size", "true_size"):
        size = item.get(key)
        if size is None:
            continue
        axes = 2 if size.ndim == 3 else 3
        unit = "mm²" if axes == 2 else "mm³"
        if size.ndim == 3 and size.shape[-1] != image.shape[-1]:
            yield f"{path}: sizes are given for {size.shape[-1]} slices, but the image has {image.shape[-1]}."
            continue
        total = float(torch.as_tensor(size)[0].sum(dim=0).max())
        view = float(extent[:axes].prod())
        if total > view:
            yield (
                f"{path}: sizes sum to {total:.6g} {unit}, above the field of view ({view:.6g} {unit}). "
                "Is size_unit right?"
            )
        elif region is not None and total >= float(region[:axes].prod()):
            yield (
                f"{path}: sizes sum to {total:.6g} {unit}, but the region given to the network has only "
                f"{float(region[:axes].prod()):.6g} {unit}. Is size_unit right? Else raise roi_size or spacing."
            )


def _roi_faults(roi: dict[str, Any], image: Any, path: str) -> Iterator[str]:
    points = np.asarray(roi.get("box_mm") or [roi["center_mm"]], dtype=float)
    to_voxel = np.linalg.pinv(image.affine)
    voxels = points.mean(axis=0) @ to_voxel[:3, :3].T + to_voxel[:3, 3]
    if (voxels < -0.5).any() or (voxels > np.asarray(image.shape) - 0.5).any():
        yield f"{path}: the centre of its roi, {points.mean(axis=0).tolist()} mm, lies outside the image."


def first_line(error: Exception) -> str:
    """What an error says, in one line without a full stop."""
    return (str(error) or type(error).__name__).splitlines()[0].rstrip(".")
