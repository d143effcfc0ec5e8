"""Small cohorts for the tests: cubes in noise, as people keep them."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np

SHAPE, SPACING = (32, 32, 6), (2.0, 2.0, 5.0)
VOXEL_MM3 = 20.0


def phantom(number: int) -> tuple[np.ndarray, np.ndarray]:
    """A scan and its mask: two cubes in noise, the first one larger in every further scan."""
    rng = np.random.default_rng(number)
    mask = np.zeros(SHAPE, dtype=np.uint8)
    mask[4 : 10 + number % 8, 4:14, 1:5] = 1
    mask[22:28, 20:26, 2:4] = 2
    return (rng.normal(100, 10, SHAPE) + 60.0 * mask).astype(np.float32), mask


def volumes_ml(number: int) -> list[float]:
    """Return the volumes of the two cubes."""
    _, mask = phantom(number)
    return [float((mask == index).sum() * VOXEL_MM3 / 1000) for index in (1, 2)]


def save(file: Path, voxels: np.ndarray) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(voxels, np.diag([*SPACING, 1.0])), file)
    return file


def write_images(folder: Path, scans: int, name: str = "scan {:02d}.nii.gz") -> list[str]:
    """Images alone; returns their names."""
    names = [name.format(number) for number in range(scans)]
    for number, file in enumerate(names):
        save(folder / file, phantom(number)[0])
    return names
