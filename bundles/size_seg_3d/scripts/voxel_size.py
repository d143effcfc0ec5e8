# Written by make bundles from medsize/transforms/voxel_size.py.
"""Physical size of a voxel, from the affine of the tensor at hand."""

from __future__ import annotations

import torch
from monai.data import MetaTensor

__all__ = ["check_affine", "is_in_pixels", "source_of", "voxel_size"]


def voxel_size(image: MetaTensor, num_axes: int | None = None) -> float:
    """
    Return the volume (mm³) or area (mm²) that one voxel covers.

    It is the square root of the Gram determinant of the affine's columns, which also holds for oblique and sheared
    grids. Pending lazy transforms are included.

    Args:
        image: channel-first, shape ``(C, *spatial)``.
        num_axes: number of leading spatial axes that span the voxel; 2 gives the in-plane area of a volume's slices.
            Default: all of ``image``.

    Raises:
        ValueError: when ``image`` carries no affine, or the affine is not finite, degenerate or of fewer axes. The
            message names the file, where it is known.
    """
    check_affine(image)
    num_axes = image.ndim - 1 if num_axes is None else num_axes
    affine = torch.as_tensor(image.peek_pending_affine(), dtype=torch.float64)
    if affine.ndim != 2 or affine.shape[0] != affine.shape[1] or len(affine) <= num_axes:
        raise ValueError(
            f"{source_of(image)}: found an affine of the shape {tuple(affine.shape)}, expected "
            f"{(num_axes + 1, num_axes + 1)} for {num_axes} spatial axes."
        )
    columns = affine[:-1, :-1][:, :num_axes]
    size = float((columns.T @ columns).det().clamp_min(0).sqrt())
    if not (1e-12 < size < float("inf")):
        raise ValueError(f"{source_of(image)}: the affine is degenerate, a voxel has no size: {affine.tolist()}.")
    return size


def check_affine(image: object) -> None:
    """
    Refuse an image that is not a MetaTensor.

    Raises:
        ValueError: when it carries no affine.
    """
    if not isinstance(image, MetaTensor):
        raise ValueError(
            f"the image is a {type(image).__name__} and carries no affine: sizes in mm need a MetaTensor, as "
            "LoadImaged makes it."
        )


def is_in_pixels(image: torch.Tensor) -> bool:
    """Return whether an image is a picture whose pixels have no known size: a NIfTI of one slice in no unit."""
    unit = getattr(image, "meta", {}).get("xyzt_units")
    return unit is not None and int(unit) % 8 == 0 and image.ndim == 4 and image.shape[-1] == 1


def source_of(image: torch.Tensor) -> str:
    """Return the file that an image came from, for messages."""
    meta = getattr(image, "meta", {})
    return str(meta.get("filename_or_obj", "an image that was not read from a file"))
