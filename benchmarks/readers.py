"""
Simulated readers: how wrong each method of ``medsize measure`` is on real shapes, if its reader makes no mistake.

    python -m benchmarks.readers DATA [--output docs/simulated_readers.csv]

DATA holds the folders ``ACDC``, ``CHAOS_T2``, ``BUSI`` and ``HC18``, as far as they are there. **No person has read
anything here**: a program draws the diameters, counts the points and rounds the percentages in the masks. So the errors
are those of the methods alone. A person's own come on top. The one exception is HC18, where sonographers have measured
the circumference of the head.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import nibabel
import numpy as np
import pandas as pd

from medsize.measure.estimate import CIRCLE_ERROR, PERCENT_ERROR
from medsize.measurements.outline import long_and_short
from medsize.scans.pictures.mask import read_picture_mask
from medsize.sizes.ellipse import circumference_area, ellipse_area, ellipse_circumference
from medsize.sizes.ellipsoid import ELLIPSOID_ERROR, ellipsoid_volume
from medsize.sizes.point_counting import cavalieri_volume, point_counting_interval, section_areas_interval

__all__ = ["Read", "heads", "percentages", "read_area", "read_volume", "summary"]

ACDC = {1: "right ventricle", 2: "myocardium", 3: "left ventricle"}
CHAOS = {1: "liver", 2: "right kidney", 3: "left kidney", 4: "spleen"}
GRIDS = ((5.0, 1), (10.0, 1), (10.0, 2), (10.0, 3), (20.0, 1), (20.0, 2), (20.0, 3))
"""Distance of the points, mm, and number of slices from one that is counted to the next."""
PICTURE_GRIDS = (10, 20, 40)
"""Points along the width of a picture."""
PERCENT_STEPS = (1, 5)
SLICES_OF_PERCENT = (1, 2)
"""Number of slices from one whose percentage is read to the next."""
EACH = {1: "each slice", 2: "each 2nd slice", 3: "each 3rd slice"}
NOT_KNOWN = float("nan")


class Read(NamedTuple):
    """What a simulated reader has read."""

    method: str
    ratio: float
    """Size over that of the mask; NaN if no point was inside."""
    low: float = NOT_KNOWN
    """Lower end of the method's interval, over the size of the mask; NaN without an interval."""
    high: float = NOT_KNOWN
    """Its upper end."""
    points: float = NOT_KNOWN
    """Points inside, for point counting."""

    @property
    def held(self) -> float:
        """1 if the interval holds the size of the mask, otherwise 0; NaN without an interval."""
        return NOT_KNOWN if np.isnan(self.low) else float(self.low <= 1 <= self.high)


def read_volume(mask: np.ndarray, spacing: np.ndarray, rng: np.random.Generator) -> Iterator[Read]:
    """
    Yield what simulated readers read off a scan.

    Args:
        mask: the structure, ``(X, Y, Z)``, its slices along the last axis.
        spacing: mm of a voxel along each axis.
        rng: source of the places of the grids.
    """
    true = float(mask.sum() * np.prod(spacing))
    shown = np.flatnonzero(mask.any(axis=(0, 1)))
    long, wide = max(long_and_short(_corners(mask[..., z]) * spacing[:2]) for z in shown)
    high = float((shown[-1] - shown[0] + 1) * spacing[2])
    for lengths in ([long], [long, wide], [long, wide, high]):
        number = len(lengths)
        yield _read(f"{number} diameter{'s' * (number > 1)}", ellipsoid_volume(lengths), ELLIPSOID_ERROR[number], true)
    for step, every in GRIDS:
        first = int(rng.integers(every))
        counted = _counts(mask[..., first::every], step / spacing[:2], rng)
        yield _counted(f"points, {step:g} mm, {EACH[every]}", counted, step**2, spacing[2] * every, true)
    parts = mask.mean(axis=(0, 1))
    (own,) = rng.spawn(1)  # the grids of points stay where they were
    for every in SLICES_OF_PERCENT:
        yield _of_slices(parts, every, int(own.integers(every)), mask, spacing)


def read_area(mask: np.ndarray, rng: np.random.Generator) -> Iterator[Read]:
    """
    Yield what simulated readers read off a picture.

    Args:
        mask: the structure, ``(X, Y)``.
        rng: source of the places of the grids.
    """
    true = float(mask.sum())
    long, wide = long_and_short(_corners(mask))
    for lengths in ([long], [long, wide]):
        number = len(lengths)
        yield _read(f"{number} diameter{'s' * (number > 1)}", ellipse_area(lengths), CIRCLE_ERROR[number], true)
    for along in PICTURE_GRIDS:
        step = mask.shape[0] / along
        counted = _counts(mask[..., None], np.array([step, step]), rng)
        yield _counted(f"points, {along} along the width", counted, step**2, 1.0, true)
    yield from percentages(true / mask.size)


def percentages(fraction: float) -> Iterator[Read]:
    """
    Yield percentages in whole steps, at least one step.

    Args:
        fraction: true part of the picture.
    """
    for step in PERCENT_STEPS:
        percent = max(round(100 * fraction / step), 1) * step
        yield _read(f"percent, in steps of {step}", percent / 100, PERCENT_ERROR, fraction)


def heads(folder: Path) -> Iterator[Read]:
    """
    Yield what sonographers have measured in HC18, against the masks: a person's reading, not a simulated one.

    Args:
        folder: ``HC18``, with ``masks`` and ``sizes.csv``.
    """
    for row in pd.read_csv(folder / "sizes.csv").itertuples():
        mask = read_picture_mask(folder / "masks" / row.image) > 0
        places = np.argwhere(np.squeeze(mask)) * row.pixel_mm
        axes = 4 * np.sqrt(np.linalg.eigvalsh(np.cov(places.T)))
        measured = float(row.head_circumference_mm)
        in_mask = ellipse_circumference(*axes)
        yield Read("human circumference, its length", measured / in_mask)
        low, high = circumference_area(measured)
        true = len(places) * row.pixel_mm**2
        yield Read("human circumference, area of the head", (low + high) / 2 / true, low / true, high / true)


def summary(reads: dict[tuple[str, str], list[Read]]) -> pd.DataFrame:
    """
    Return a row for each structure and method.

    Args:
        reads: by cohort and structure.

    Returns:
        the number of structures, the share of those that the method has read at all, mRE, bias (median of size over
        mask), mRE once all are divided by the bias, the share of intervals that hold the mask's size, and the median
        number of points.
    """
    rows = []
    for (cohort, structure), of_all in reads.items():
        for method in dict.fromkeys(read.method for read in of_all):
            own = [read for read in of_all if read.method == method]
            ratios = np.array([read.ratio for read in own if not np.isnan(read.ratio)])
            rows.append(
                {
                    "cohort": cohort,
                    "structure": structure,
                    "method": method,
                    "readings": len(own),
                    "read": len(ratios) / len(own),
                    "mre": np.abs(ratios - 1).mean() if len(ratios) else np.nan,
                    "bias": np.median(ratios) if len(ratios) else np.nan,
                    "mre_without_bias": np.abs(ratios / np.median(ratios) - 1).mean() if len(ratios) else np.nan,
                    "in_interval": pd.Series([read.held for read in own]).mean(),
                    "points": np.median([read.points for read in own]),
                }
            )
    return pd.DataFrame(rows)


def _read(method: str, size: float, error: tuple[float, float], true: float) -> Read:
    low, high = error
    return Read(method, size / true, low * size / true, high * size / true)


def _counted(method: str, counts: list[int], point_area: float, distance: float, true: float) -> Read:
    if not sum(counts):
        return Read(method, NOT_KNOWN, points=0)
    low, high = point_counting_interval(counts, point_area, distance, all_sections="each slice" in method)
    ratio = cavalieri_volume(counts, point_area, distance) / true
    return Read(method, ratio, low / true, high / true, sum(counts))


def _of_slices(parts: np.ndarray, every: int, first: int, mask: np.ndarray, spacing: np.ndarray) -> Read:
    """Return what whole percentages of each n-th slice give, one at least where the structure is shown."""
    method = f"percent, in steps of 1, {EACH[every]}"
    read = [max(round(100 * part), 1) / 100 if part else 0.0 for part in parts[first::every].tolist()]
    if not sum(read):
        return Read(method, NOT_KNOWN)
    areas = [part * mask[..., 0].size * float(np.prod(spacing[:2])) for part in read]
    distance, true = float(spacing[2]) * every, float(mask.sum() * np.prod(spacing))
    low, high = section_areas_interval(areas, distance, PERCENT_ERROR, all_sections=every == 1)
    return Read(method, cavalieri_volume(areas, 1.0, distance) / true, low / true, high / true)


def _counts(mask: np.ndarray, step: np.ndarray, rng: np.random.Generator) -> list[int]:
    """Return the points of a grid inside on each slice; ``step`` in voxels."""
    rows, columns = (
        np.floor(np.arange(rng.uniform(0, width), size, width)).astype(int)
        for width, size in zip(step, mask.shape[:2], strict=True)
    )
    counts = mask[np.ix_(rows, columns)].sum(axis=(0, 1))
    shown = np.flatnonzero(counts)
    return counts[shown[0] : shown[-1] + 1].tolist() if len(shown) else []


def _corners(mask: np.ndarray) -> np.ndarray:
    """Return the corners of the pixels of a mask, of the first and the last in each row."""
    rows = np.flatnonzero(mask.any(axis=1))
    first, last = mask[rows].argmax(axis=1), mask.shape[1] - mask[rows][:, ::-1].argmax(axis=1)
    ends = [(rows + side, column) for side in (0, 1) for column in (first, last)]
    corners: np.ndarray = np.concatenate([np.stack(end, axis=1) for end in ends]).astype(float)
    return corners


def _masks(data: Path) -> Iterator[tuple[str, str, np.ndarray, np.ndarray]]:
    """Yield cohort, structure, mask and spacing of all volumes."""
    for cohort, pattern, names in (("ACDC", "ACDC/*/*_gt.nii.gz", ACDC), ("CHAOS", "CHAOS_T2/masks/*.nii.gz", CHAOS)):
        for file in sorted(data.glob(pattern)):
            image = nibabel.load(file)
            values = np.asarray(image.dataobj)
            for value, name in names.items():
                if (values == value).any():
                    yield cohort, name, values == value, np.array(image.header.get_zooms()[:3], dtype=float)


def main() -> None:
    """Read all masks, and write and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    rng = np.random.default_rng(0)
    reads: dict[tuple[str, str], list[Read]] = defaultdict(list)
    for cohort, name, mask, spacing in _masks(arguments.data):
        reads[cohort, name] += read_volume(mask, spacing, rng)
    for file in sorted(arguments.data.glob("BUSI/masks/*.png")):
        mask = np.squeeze(read_picture_mask(file) > 0)
        if mask.any():
            reads["BUSI", "lesion"] += read_area(mask, rng)
    if (arguments.data / "HC18" / "sizes.csv").is_file():
        reads["HC18", "head"] += heads(arguments.data / "HC18")
    table = summary(reads)
    if table.empty:
        raise SystemExit(f"{arguments.data}: found no masks, expected ACDC, CHAOS_T2, BUSI or HC18. Name their folder.")
    if arguments.output:
        table.to_csv(arguments.output, index=False, float_format="%.3g")
    print(table.to_string(index=False, float_format=lambda value: f"{value:.3g}"))


if __name__ == "__main__":
    main()
