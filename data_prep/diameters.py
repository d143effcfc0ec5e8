"""
Measure the soft-tissue sarcomas as a reader would: three diameters of each tumour, as a size table.

    python -m data_prep.diameters FOLDER --output sizes.csv [--modality PET]

FOLDER is laid out as for :mod:`data_prep.ibsi_sts`, whose option ``--sizes`` takes the table in place of the volumes
within the contours. A row has the path of a series from FOLDER, the patient, and ``tumour diameters_mm``:

- the longest diameter within a slice, between two points of one outline (as RECIST has it);
- the width of that outline at right angles to it, within the same slice;
- the height: from the first to the last slice of the tumour, both included.

Their ellipsoid is what a radiology report lets one know of a tumour. How far it is from the volume within the contours
is printed, for comparison only.

Eisenhauer et al. "New response evaluation criteria in solid tumours". European Journal of Cancer 2009.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.progress import track

from data_prep.ibsi_sts import Modality, contours_on_slices, only_scan, patients_of, reported, series_folder
from medsize.files import atomic_write
from medsize.metrics.size_error import relative_size_error
from medsize.scans.dicom.polygons import contour_area
from medsize.sizes.ellipsoid import ellipsoid_volume


def main(
    folder: Annotated[Path, typer.Argument(help="Folder that holds the patients' folders.", exists=True)],
    output: Annotated[Path, typer.Option(help="Size table to write, CSV.")],
    modality: Annotated[Modality, typer.Option(help="Which scans.")] = Modality.PET,
) -> None:
    """Write the diameters of the soft-tissue sarcomas as a size table."""
    rows, ellipsoids, volumes, problems = [], [], [], []
    for patient in track(patients_of(folder, modality), description=f"measuring {modality.value}"):
        source = series_folder(patient, modality)
        try:
            image, by_slice, _ = contours_on_slices(source, only_scan(source))
        except ValueError as e:
            problems.append(str(e))
            continue
        diameters = reader_diameters(by_slice, image.GetSpacing())
        rows.append([source.relative_to(folder).as_posix(), patient.name, " x ".join(f"{d:.1f}" for d in diameters)])
        ellipsoids.append(ellipsoid_volume(diameters))
        volumes.append(sum(map(contour_area, by_slice)) * math.prod(image.GetSpacing()))
    reported(folder, problems, "table")
    with atomic_write(output) as partial, partial.open("w", newline="", encoding="utf-8") as opened:
        csv.writer(opened).writerows([["image", "subject", "tumour diameters_mm"], *rows])
    errors = relative_size_error(ellipsoids, volumes).numpy()
    too_large = np.mean(np.array(ellipsoids) > np.array(volumes))
    typer.echo(
        f"{output}: {len(rows)} tumours. The ellipsoids' volumes are wrong by {np.median(errors):.0%} (median), "
        f"{errors.mean():.0%} (mean), {errors.max():.0%} (at most); {too_large:.0%} are too large"
    )


def reader_diameters(by_slice: Sequence[Sequence[np.ndarray]], spacing: Sequence[float]) -> tuple[float, float, float]:
    """
    Three diameters of a structure, in mm.

    Args:
        by_slice: its outlines on each slice, at least one, as
            :func:`medsize.scans.dicom.rtstruct.contours_by_slice` gives them.
        spacing: mm of a voxel along the two axes of a slice, and between slices.

    Returns:
        the longest diameter of an outline, its width at right angles, and the height over all slices.
    """
    outlines = [polygon * np.asarray(spacing[:2]) for polygons in by_slice for polygon in polygons]
    long, wide = max(_long_and_wide(outline) for outline in outlines)
    drawn = [number for number, polygons in enumerate(by_slice) if polygons]
    return long, wide, (drawn[-1] - drawn[0] + 1) * spacing[2]


def _long_and_wide(outline: np.ndarray) -> tuple[float, float]:
    between = outline[:, None] - outline[None]
    long = between.reshape(-1, 2)[(between**2).sum(axis=-1).argmax()]
    length = float(np.hypot(*long))
    across = outline @ np.array([-long[1], long[0]]) / length
    return length, float(np.ptp(across))


if __name__ == "__main__":
    typer.run(main)
