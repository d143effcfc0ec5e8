"""Phantom cohort: synthetic scans with known organs, made in seconds, for demonstrations and tests."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from scipy.ndimage import gaussian_filter

from medsize.data.describe_scans import describe_mask, write_clicks, write_data_list
from medsize.files import atomic_write

__all__ = ["PHANTOM_CLASSES", "make_lesion_phantom", "make_phantom", "write_phantom_cohort"]

PHANTOM_CLASSES = ("background", "liver", "kidney", "lesion")
CONTRASTS = (0.65, 0.95, 0.25)
"""Mean intensity of each structure; the body around them has 0.45."""

Shape = tuple[int, int, int]
Spacing = tuple[float, float, float]


def make_phantom(shape: Shape, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """
    Make one synthetic scan.

    A body holds a large, a middling and a small organ: rotated, bumpy ellipsoids of random size, place and contrast.
    A smooth bias field and noise are laid over it. An organ is sometimes missing.

    Args:
        shape: voxels along each axis.
        rng: source of all randomness.

    Returns:
        intensities, float32, and the mask, uint8, of ``shape``.
    """
    grid, bumps = _grid(shape), 0.25 * _smooth_noise(shape, rng, 0.1)

    def ellipsoid(center: np.ndarray, radii: np.ndarray) -> np.ndarray:
        angle = rng.uniform(0, np.pi)
        c, s = np.cos(angle), np.sin(angle)
        rotated = (grid - center) @ np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
        distance: np.ndarray = np.sqrt(((rotated / radii) ** 2).sum(axis=-1)) + bumps
        return distance < 1

    body = _body(grid, rng)
    image = 0.05 + 0.4 * body
    mask = np.zeros(shape, dtype=np.uint8)
    centers = np.array([[-0.3, 0.1, 0.0], [0.4, -0.2, 0.0], [0.25, 0.4, 0.0]])
    sizes = (0.42, 0.28, 0.2)
    for k, (center, size, contrast) in enumerate(zip(centers, sizes, CONTRASTS, strict=True), start=1):
        if rng.uniform() < 0.05:
            continue
        radii = size * rng.uniform(0.7, 1.25, size=3) * np.array([1.0, 1.0, 1.6])
        organ = ellipsoid(center + rng.uniform(-0.1, 0.1, size=3), radii) & body & (mask == 0)
        mask[organ] = k
        image[organ] = contrast + rng.normal(0, 0.03)
    return _scanned(image, rng), mask


def make_lesion_phantom(shape: Shape, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """
    Make one synthetic scan of a liver with a few dark lesions, and as dark spots of the same sizes around the liver.

    Args:
        shape: voxels along each axis.
        rng: source of all randomness.

    Returns:
        intensities, float32; the lesions, numbered from 1, uint8; and the liver with its lesions, uint8; of ``shape``.
    """
    grid, bumps = _grid(shape), 0.25 * _smooth_noise(shape, rng, 0.1)

    def ellipsoid(center: np.ndarray, radii: np.ndarray) -> np.ndarray:
        inside: np.ndarray = np.sqrt((((grid - center) / radii) ** 2).sum(axis=-1)) + bumps < 1
        return inside

    def spots(number: int, within: np.ndarray) -> np.ndarray:
        numbered = np.zeros(shape, dtype=np.uint8)
        places = grid[within]
        for k in range(1, number + 1):
            radii = rng.uniform(0.09, 0.2) * rng.uniform(0.8, 1.25, size=3) * np.array([1.0, 1.0, 2.0])
            numbered[ellipsoid(rng.choice(places), radii) & within & (numbered == 0)] = k
        return numbered

    body = _body(grid, rng)
    liver = body & ellipsoid(
        np.array([-0.25, 0.0, 0.0]) + rng.uniform(-0.1, 0.1, size=3), rng.uniform(0.4, 0.55, size=3) * [1.0, 1.0, 1.5]
    )
    lesions = spots(int(rng.integers(1, 5)), liver)
    others = spots(int(rng.integers(2, 6)), body & ~liver)
    image = 0.05 + 0.4 * body
    image[liver] = 0.65 + rng.normal(0, 0.03)
    image[(lesions > 0) | (others > 0)] = 0.25 + rng.normal(0, 0.03)
    return _scanned(image, rng), lesions, liver.astype(np.uint8)


def _grid(shape: Shape) -> np.ndarray:
    """Return the coordinates of the voxels, from -1 to 1 along each axis."""
    return np.stack(np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij"), axis=-1)


def _smooth_noise(shape: Shape, rng: np.random.Generator, width: float) -> np.ndarray:
    """Return noise up to 1, blurred by a fraction of each axis."""
    noise: np.ndarray = gaussian_filter(rng.normal(size=shape), sigma=[n * width for n in shape])
    return noise / np.abs(noise).max()


def _body(grid: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    inside: np.ndarray = ((grid[..., :2] / rng.uniform([0.8, 0.85], [0.9, 0.95])) ** 2).sum(axis=-1) < 1
    return inside


def _scanned(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return intensities with a bias field, blurring and noise."""
    image = image * (1 + 0.2 * _smooth_noise(image.shape, rng, 1 / 3))
    return (gaussian_filter(image, sigma=0.6) + rng.normal(0, 0.04, size=image.shape)).astype(np.float32)


def write_phantom_cohort(
    output_dir: str | Path,
    num_scans: int = 24,
    shape: Shape = (64, 64, 12),
    spacing: Spacing = (3.0, 3.0, 8.0),
    num_folds: int = 3,
    seed: int = 0,
    lesions: bool = False,
) -> Path:
    """
    Write a phantom cohort: NIfTI scans, masks, and the data list with their sizes.

    The organs come with one click per class and slice. The lesions come with the volume of each, and with masks of the
    livers that they are inside.

    Args:
        output_dir: folder to write to; created where missing.
        num_scans: number of scans, each of another subject.
        shape: voxels along each axis.
        spacing: mm along each axis.
        num_folds: number of folds that the subjects are dealt out to.
        seed: the same seed gives the same cohort.
        lesions: take lesions in livers, see :func:`make_lesion_phantom`. Default: organs, see :func:`make_phantom`.

    Returns:
        path of the data list.

    Raises:
        ValueError: when the folder holds another cohort.
    """
    root = Path(output_dir)
    _refuse_others_cohort(root)
    write = _write_lesions if lesions else _write_organs
    items = []
    for number in range(num_scans):
        name = f"phantom_{number:03d}"
        common = {"image": f"images/{name}.nii.gz", "label": f"masks/{name}.nii.gz", "subject": name}
        items.append(
            {**common, "fold": number % num_folds, **write(root, f"{name}.nii.gz", shape, spacing, [seed, number])}
        )
    path = root / "datalist.json"
    classes, inside = (["background", "lesion"], {"inside": {"lesion": "liver"}}) if lesions else (PHANTOM_CLASSES, {})
    write_data_list(
        path,
        classes,
        items,
        name="phantom",
        description="synthetic phantom, no patient",
        size_unit="mm3",
        **inside,
    )
    return path


def _write_organs(root: Path, file: str, shape: Shape, spacing: Spacing, seed: Sequence[int]) -> dict[str, Any]:
    """Write one scan of organs; return what its entry in the data list says beside image and label."""
    image, mask = make_phantom(shape, np.random.default_rng(seed))
    _write_scan(root / "images" / file, image, spacing)
    _write_scan(root / "masks" / file, mask, spacing)
    (root / "clicks" / file).unlink(missing_ok=True)
    write_clicks(root / "masks" / file, root / "clicks" / file)
    shifts = np.random.default_rng([*seed, 1])
    sizes = describe_mask(root / "masks" / file, PHANTOM_CLASSES, roi_shift_mm=12.0, rng=shifts)
    return {"scribble": f"clicks/{file}", **sizes}


def _write_lesions(root: Path, file: str, shape: Shape, spacing: Spacing, seed: Sequence[int]) -> dict[str, Any]:
    """Write one scan of lesions; return what its entry in the data list says beside image and label."""
    image, lesions, liver = make_lesion_phantom(shape, np.random.default_rng(seed))
    _write_scan(root / "images" / file, image, spacing)
    _write_scan(root / "masks" / file, (lesions > 0).astype(np.uint8), spacing)
    _write_scan(root / "organs" / file, liver, spacing)
    volumes = np.bincount(lesions.ravel())[1:] * float(np.prod(spacing))
    each = [round(volume, 3) for volume in volumes.tolist() if volume]
    return {"organs": {"liver": f"organs/{file}"}, "size": {"lesion": {"each": each}}}


def _write_scan(file: Path, array: np.ndarray, spacing: Spacing) -> None:
    nifti = nibabel.Nifti1Image(array, np.diag([*spacing, 1.0]))
    nifti.header.set_xyzt_units("mm")
    with atomic_write(file) as partial:
        nibabel.save(nifti, partial)


def _refuse_others_cohort(root: Path) -> None:
    """Refuse a folder whose data list, or whose scans, are not those of a phantom."""
    data_list = root / "datalist.json"
    try:
        is_phantom = json.loads(data_list.read_bytes()).get("name") == "phantom"
    except (OSError, ValueError, AttributeError):
        is_phantom = False
    kept = [file for name in ("images", "masks", "clicks", "organs") for file in (root / name).glob("*")]
    others = [file for file in kept if not file.name.startswith("phantom_")]
    if (data_list.exists() and not is_phantom) or others:
        raise ValueError(
            f"{root}: found another cohort, {(others or [data_list])[0].relative_to(root)}, expected "
            "none, or a phantom. Name another folder."
        )
