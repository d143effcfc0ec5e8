"""From what a reader drew to the interval of the size, and to a click."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from medsize.measure.geometry import (
    Absent,
    CannotTell,
    Click,
    Ellipses,
    Geometry,
    Lines,
    Percent,
    PointCounts,
    SlicePercents,
)
from medsize.measure.shown_scan import ShownScan
from medsize.sizes.ellipse import ellipse_area
from medsize.sizes.ellipsoid import ELLIPSOID_ERROR, ellipsoid_volume
from medsize.sizes.point_counting import cavalieri_volume, point_counting_interval, section_areas_interval
from medsize.suggest import first_few
from medsize.units import MM3_PER_ML

__all__ = ["Estimate", "estimate"]

CIRCLE_ERROR = {1: (0.3, 0.9), 2: (0.4, 1.0)}
"""
Area over that of the ellipse of one and two diameters, as :data:`medsize.sizes.ellipsoid.ELLIPSOID_ERROR`, in the
slices where the organs are largest.
"""
ELLIPSE_ERROR = (0.85, 1.15)
"""Area over that of an ellipse that a reader has fitted: assumed, until readers are measured."""
PERCENT_ERROR = (0.7, 1.4)
"""
Area over that of a percentage, or volume over that of the percentages of all slices: assumed, as
:data:`ELLIPSE_ERROR`.
"""
WITHIN = 0.8
"""Part of a diameter, around its middle, that is taken for inside of the structure."""
LEAST_PERCENT = 0.01
ROUNDING = 1 + 1e-6


@dataclass(frozen=True)
class Estimate:
    """A size and its interval."""

    kind: Literal["volume_mm3", "fraction", "none"]
    """Unit: mm³ of a scan; part of a picture; or no size."""
    value: float | None = None
    low: float | None = None
    high: float | None = None
    clicks: tuple[Any, ...] = ()
    """Points, and lines of two ends, inside the structure; scanner mm, RAS+."""
    detail: str = ""
    """Measures behind it, for the reader."""

    def times(self, factor: tuple[float, float]) -> Estimate:
        """Return it with the interval that an error gives."""
        assert self.value is not None
        most = 1.0 if self.kind == "fraction" else math.inf
        low, high = (min(self.value * end, most) for end in factor)
        return Estimate(self.kind, min(self.value, most), low, high, self.clicks, self.detail)


def estimate(geometry: Geometry, scan: ShownScan) -> Estimate:
    """
    Return the size that a reader's drawing stands for, with the interval of its method.

    Args:
        geometry: the drawing.
        scan: the scan that it was drawn on.

    Raises:
        ValueError: when it lies outside of the scan, or states no size, or one that exceeds the field of view.
    """
    places = _places(geometry)
    if len(places) and not scan.holds(places):
        raise ValueError("found a place outside of the scan, expected all within it. Draw it again.")
    size = _size(geometry, scan)
    return size if size.kind != "volume_mm3" else _bounded(size, scan)


def _bounded(size: Estimate, scan: ShownScan) -> Estimate:
    """Return a volume whose interval ends with the field of view; refuse a volume that exceeds it."""
    assert size.value is not None
    assert size.high is not None
    most = scan.slice_area * float(scan.spacing[scan.slice_axis]) * scan.shape[scan.slice_axis]
    if size.value > most * ROUNDING:
        found, expected = (f"{volume / MM3_PER_ML:,.4g} mL" for volume in (size.value, most))
        raise ValueError(f"found a volume of {found}, expected at most the scan's, {expected}. Draw it again.")
    return replace(size, high=min(size.high, most))


def _size(geometry: Geometry, scan: ShownScan) -> Estimate:
    match geometry:
        case Absent():
            return Estimate("fraction" if scan.is_picture else "volume_mm3", 0.0, 0.0, 0.0)
        case CannotTell():
            return Estimate("none")
        case Click():
            return Estimate("none", clicks=(geometry.at,))
        case Lines():
            return _of_lines(geometry, scan)
        case Ellipses():
            return _of_ellipses(geometry, scan)
        case PointCounts():
            return _of_points(geometry, scan)
        case Percent():
            if not scan.is_picture:
                raise ValueError("found a percentage without a slice, expected those of a scan's slices.")
            _refuse_no_percentage(geometry.percent)
            return Estimate("fraction", geometry.percent / 100).times(PERCENT_ERROR)
        case SlicePercents():
            return _of_slice_percents(geometry, scan)
    raise TypeError(f"{type(geometry).__name__} is no geometry")


def _of_lines(geometry: Lines, scan: ShownScan) -> Estimate:
    lines = np.array(geometry.lines)
    lengths = np.linalg.norm(lines[:, 1] - lines[:, 0], axis=1).tolist()
    detail = _lengths(lengths, scan)
    clicks = (_inner(lines[int(np.argmax(lengths))]),)
    _refuse_no_length(lengths)
    if scan.is_picture:
        if len(lengths) > 2:
            raise ValueError("found three diameters on a picture, expected one or two. Take one away.")
        part = ellipse_area(lengths) / scan.slice_area
        return Estimate("fraction", part, clicks=clicks, detail=detail).times(CIRCLE_ERROR[len(lengths)])
    volume = ellipsoid_volume(lengths)
    return Estimate("volume_mm3", volume, clicks=clicks, detail=detail).times(ELLIPSOID_ERROR[len(lengths)])


def _of_ellipses(geometry: Ellipses, scan: ShownScan) -> Estimate:
    first, *others = geometry.ellipses
    axes = np.array([first.long, first.short])
    vectors = axes[:, 1] - axes[:, 0]
    lengths = np.linalg.norm(vectors, axis=1).tolist()
    _refuse_no_length(lengths)
    clicks = (_inner(axes[int(np.argmax(lengths))]),)
    if scan.is_picture:
        if others:
            raise ValueError("found two ellipses on a picture, expected one. Take one away.")
        part = ellipse_area(lengths) / scan.slice_area
        return Estimate("fraction", part, clicks=clicks, detail=_lengths(lengths, scan)).times(ELLIPSE_ERROR)
    for other in others:  # of the second ellipse, only its extent across the plane of the first is new
        across = np.cross(*vectors)
        across /= np.linalg.norm(across)
        halves = np.array([np.subtract(*other.long), np.subtract(*other.short)]) / 2
        height = 2 * float(np.hypot(*(halves @ across)))
        _refuse_no_length([height])
        lengths.append(height)
    detail = _lengths(lengths, scan)
    return Estimate("volume_mm3", ellipsoid_volume(lengths), clicks=clicks, detail=detail).times(
        ELLIPSOID_ERROR[len(lengths)]
    )


def _of_points(geometry: PointCounts, scan: ShownScan) -> Estimate:
    points = np.array(geometry.points)
    sections = _sections(points, geometry.every, scan)
    counted = Counter(sections.numbers)
    counts = [counted.get(number, 0) for number in range(max(counted) + 1)]
    middle = points[int(np.linalg.norm(points - points.mean(axis=0), axis=1).argmin())]
    clicks = (tuple(middle.tolist()),)
    area = geometry.step**2
    distance = 1.0 if scan.is_picture else float(scan.spacing[scan.slice_axis]) * geometry.every
    low, high = point_counting_interval(counts, area, distance, all_sections=geometry.every == 1)
    value = cavalieri_volume(counts, area, distance)
    detail = _number(len(points), "point")
    if scan.is_picture:
        part, low, high = (min(size / scan.slice_area, 1.0) for size in (value, low, high))
        return Estimate("fraction", part, low, high, clicks=clicks, detail=detail)
    detail += f" on {sections.told()}"
    return Estimate("volume_mm3", value, low, high, clicks=clicks, detail=detail)


def _of_slice_percents(geometry: SlicePercents, scan: ShownScan) -> Estimate:
    if scan.is_picture:
        raise ValueError("found percentages of slices on a picture, expected one of the picture. Draw it again.")
    sections = _sections(np.array([disc.at for disc in geometry.discs]), geometry.every, scan)
    if len(set(sections.numbers)) < len(sections.numbers):
        raise ValueError("found two discs on one slice, expected one. Take one away.")
    areas = [0.0] * (max(sections.numbers) + 1)
    for number, disc in zip(sections.numbers, geometry.discs, strict=True):
        _refuse_no_percentage(disc.percent)
        areas[number] = disc.percent / 100 * scan.slice_area
    distance = float(scan.spacing[scan.slice_axis]) * geometry.every
    low, high = section_areas_interval(areas, distance, PERCENT_ERROR, all_sections=geometry.every == 1)
    value = cavalieri_volume(areas, 1.0, distance)
    return Estimate("volume_mm3", value, low, high, detail=f"discs on {sections.told()}")


@dataclass(frozen=True)
class _Sections:
    """Sections of a structure, every so many slices."""

    numbers: list[int]
    """Number of each place's section, from 0."""
    first: int
    """Slice of section 0."""
    every: int

    def told(self) -> str:
        """Return the number of slices with places, and those between that have none, as the page counts them."""
        filled = set(self.numbers)
        empty = [str(self.first + n * self.every + 1) for n in range(max(filled)) if n not in filled]
        gap = f", none on slice{'s' * (len(empty) > 1)} {first_few(empty)} between them" if empty else ""
        return _number(len(filled), "slice") + gap


def _sections(places: np.ndarray, every: int, scan: ShownScan) -> _Sections:
    """
    Return the sections of places.

    Raises:
        ValueError: when they are not those of one slice in ``every``, or lie past the scan's slices.
    """
    slices = np.round(scan.indices(places)[:, scan.slice_axis]).astype(int)
    first, last, count = int(slices.min()), int(slices.max()), scan.shape[scan.slice_axis]
    if not 0 <= first <= last < count:
        raise ValueError("found a place past the first or last slice, expected all on slices. Draw it again.")
    if every > count:
        raise ValueError(f"found one slice in {every}, expected one in {count} at most. Draw it again.")
    if ((slices - first) % every).any():
        raise ValueError(f"found places between the slices, expected all on one slice in {every}. Draw them again.")
    return _Sections(((slices - first) // every).tolist(), first, every)


def _refuse_no_percentage(percent: float) -> None:
    if percent < LEAST_PERCENT:
        raise ValueError(f"found {percent:g} %, expected {LEAST_PERCENT:g} % at least. Draw it again, or say absent.")


def _number(count: int, name: str) -> str:
    return f"{count} {name}{'s' * (count > 1)}"


def _places(geometry: Geometry) -> np.ndarray:
    """Return all places of a geometry, ``(N, 3)``."""
    match geometry:
        case Lines():
            places: Any = geometry.lines
        case Ellipses():
            places = [[ellipse.long, ellipse.short] for ellipse in geometry.ellipses]
        case PointCounts():
            places = geometry.points
        case SlicePercents():
            places = [disc.at for disc in geometry.discs]
        case Percent():
            return np.empty((0, 3))  # the disc may be anywhere
        case Click():
            places = geometry.at
        case _:
            return np.empty((0, 3))
    return np.array(places, dtype=float).reshape(-1, 3)


def _inner(line: np.ndarray) -> Any:
    """Return the part of a diameter that surely is inside the structure."""
    middle, half = line.mean(axis=0), WITHIN / 2 * (line[1] - line[0])
    return tuple((middle - half).tolist()), tuple((middle + half).tolist())


def _lengths(lengths: list[float], scan: ShownScan) -> str:
    return f"{' × '.join(f'{length:.1f}' for length in lengths)} {scan.length_unit}"


def _refuse_no_length(lengths: list[float]) -> None:
    if min(lengths) <= 0:
        raise ValueError("found a diameter of 0, expected a length. Draw it again.")
