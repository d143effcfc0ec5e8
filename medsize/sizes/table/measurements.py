"""
Measurements: the size of a structure, from the cells of a row together.

A measurement is a volume, diameters, an area, a circumference, a fraction, a mask or presence alone, with the reader's
error or with bounds, see :mod:`medsize.sizes.table.size_table`. Diameters and a circumference may stand together, a
circumference and the smallest axis ratio, and the number of objects and the mean area of one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from medsize.sizes.ellipse import SMALLEST_AXIS_RATIO, circumference_area, ellipse_area, ellipse_circumference
from medsize.sizes.ellipsoid import ellipsoid_volume
from medsize.sizes.table.cells import AREA_KINDS, CLICK_KINDS, KINDS_BESIDE_SIZES
from medsize.sizes.table.columns import Column
from medsize.units import MM2_PER_UM2, MM3_PER_ML, size_text

__all__ = ["Extent", "StatedSize", "added", "misfits", "of_other_extent", "stated_size"]

LENGTHS = ("diameters_mm", "circumference_mm")
KINDS_OF_SLICES = (*LENGTHS, *AREA_KINDS, "fraction", "present")
LEAST_PRESENT = 1e-3
"""Least part of a slice or picture that a structure takes if no more is known than that it is present."""
LEAST_PRESENT_IN_SCAN = 1e-5
"""The same for a scan of several slices."""
NOTABLE = 0.03
"""Part by which a circumference may differ from that of its diameters without being noted."""
IN_SLICES = "area_mm2, fraction, circumference_mm, or one or two diameters_mm"
Unit = Literal["mm3", "mm2", "px", "fraction", "mask"]
IN_UNIT: dict[str, tuple[Unit, float]] = {
    "volume_ml": ("mm3", MM3_PER_ML),
    "volume_mm3": ("mm3", 1.0),
    "area_mm2": ("mm2", 1.0),
    "area_um2": ("mm2", MM2_PER_UM2),
    "area_px": ("px", 1.0),
    "fraction": ("fraction", 1.0),
}
"""Unit of a size, by the kind of its column, and how much of it the number 1 is."""


@dataclass(frozen=True)
class Extent:
    """Scan, slice or picture that a row is about."""

    measure: float
    """Its field of view in mm³, in mm² or, for a picture whose pixels have no known size, in pixels."""
    is_flat: bool
    """True for a slice or picture."""
    length_unit: Literal["mm", "px"] = "mm"


@dataclass(frozen=True)
class StatedSize:
    """Low and high end of a structure's size."""

    low: float
    high: float
    unit: Unit = "mm3"
    """Ends may also be fractions of the original field of view, or multiples of a mask's size."""
    source: str = ""
    """Columns that state it, for messages."""
    mask: str | None = None
    flat: StatedSize | None = None
    """Size of the same diameters in a slice or picture."""
    doubt: str = ""
    """Difference of a circumference from that of the diameters beside it."""

    def times(self, measure: float) -> float | list[float]:
        """
        Return the size in the form of data lists: a number, or ``[low, high]``.

        Args:
            measure: field of view or mask size that the ends are multiples of, in mm³ or mm²; 1 if they have that unit.
        """
        low, high = self.low * measure, self.high * measure
        return low if low == high else [low, high]

    def within(self, extent: Extent) -> float | list[float]:
        """
        Return the size in the form of data lists: mm³ in a scan; mm² or pixels in a slice or picture.

        Args:
            extent: what the row is about.

        Raises:
            ValueError: for an area or circumference of several slices, a volume of one, and a unit of length that the
                scan's grid does not have.
        """
        if extent.is_flat and self.flat is not None:
            return self.flat.within(extent)
        if self.low > self.high:
            raise ValueError(f"{self.source}: the low end is above the high one. Exchange or correct them.")
        if self.high == 0:
            return 0.0
        if self.unit == "fraction":
            return self.times(extent.measure)
        if extent.is_flat and self.unit == "mm3":
            raise ValueError(
                f"{self.source} is for a whole scan, but the row is of one slice or picture. State {IN_SLICES}."
            )
        if not extent.is_flat and self.unit != "mm3":
            raise ValueError(
                f"{self.source} is for a slice or picture, but the row names no slice of this scan. Fill in the column "
                "'slice', or state a volume."
            )
        if self.unit == "px" and extent.length_unit == "mm":
            raise ValueError(
                f"{self.source} is in pixels, but the scan's lengths are in mm. Multiply it by the mm² of a pixel and "
                "name the column area_mm2, or state fraction."
            )
        if self.unit != "px" and extent.length_unit == "px":
            raise ValueError(
                f"{self.source} needs the size of the picture's pixels, which is unknown. State it in a column "
                "'pixel_mm', or the structure's fraction or area_px."
            )
        return self.times(1.0)


def added(one: float | list[float], other: float | list[float]) -> float | list[float]:
    """
    Return the size of two lesions together, in the form of data lists: a number, or ``[low, high]``.

    Ends add up to ends. Errors of one reader go the same way, so that they do not average out. Independent errors would
    add up in quadrature, to a narrower interval.

    Source: JCGM 100:2008 (GUM), 5.2.2, note 1: with correlations of 1 uncertainties add up linearly.
    """
    low, high = (math.fsum(size[end] if isinstance(size, list) else size for size in (one, other)) for end in (0, 1))
    return low if low == high else [low, high]


def stated_size(values: Mapping[Column, Any], default_error: float = 0.0) -> StatedSize | None:
    """
    Return the size that the cells of a structure state together; ``None`` if it is unknown.

    Args:
        values: value in each filled column of the structure, clicks passed over. The columns fit together, see
            :func:`misfits`.
        default_error: error in percent for a structure without an error of its own.

    Raises:
        ValueError: when the low bound is above the high one.
    """
    error = next((value for column, value in values.items() if column.kind == "error_percent"), default_error) / 100
    count = next(((column, value) for column, value in values.items() if column.kind == "count"), None)
    flattest = next((v for column, v in values.items() if column.kind == "smallest_axis_ratio"), SMALLEST_AXIS_RATIO)
    sizes = {column: value for column, value in values.items() if column.kind not in KINDS_BESIDE_SIZES}
    if not sizes:
        return None if count is None else _of_count(*count)
    source = " and ".join(dict.fromkeys(map(str, sizes)))  # a cell may hold both bounds
    by_bound: dict[str, dict[str, Any]] = {}
    for column, value in sizes.items():
        by_bound.setdefault(column.bound, {})[column.kind] = value
    stated = by_bound.get("", {})
    if "mask" in stated:
        return StatedSize(1 - error, 1 + error, "mask", source, stated["mask"])
    try:
        if stated:
            size = _between(_size(stated, source, flattest, 1 - error), _size(stated, source, flattest, 1 + error))
        else:
            size = _between(_size(by_bound["low"], source, flattest), _size(by_bound["high"], source, flattest))
    except ValueError as e:
        raise ValueError(f"{source}: {e}.") from e
    if size.low > size.high:
        low, high = sorted(sizes, key=lambda column: column.bound, reverse=True)
        raise ValueError(f"{low} is above {high}. Exchange or correct them.")
    if count is None:
        return size
    is_mean = any(column.kind in AREA_KINDS for column in sizes)
    return _counted(size, *count, is_mean)


def _size(stated: Mapping[str, Any], source: str, smallest_axis_ratio: float, factor: float = 1.0) -> StatedSize:
    """
    Return the size by the values of cells times a factor.

    Args:
        stated: values by the kinds of their columns.
        source: see :class:`StatedSize`.
        smallest_axis_ratio: see :func:`medsize.sizes.ellipse.circumference_area`.
        factor: factor of the number in each cell.
    """
    if "circumference_mm" in stated:
        circumferences: Sequence[float] = stated["circumference_mm"]
        diameters: Sequence[Sequence[float]] = stated.get("diameters_mm", [[]] * len(circumferences))
        if len(diameters) != len(circumferences):
            raise ValueError(
                f"found {len(circumferences)} circumferences, and diameters of {len(diameters)} lesions. State both of "
                "each"
            )
        ends, doubt = [], ""
        for circumference, lesion in zip(circumferences, diameters, strict=True):
            ends.append(circumference_area(factor * circumference, [factor * d for d in lesion], smallest_axis_ratio))
            expected = ellipse_circumference(*lesion) if len(lesion) == 2 else circumference
            if abs(circumference - expected) > NOTABLE * expected:
                doubt = (
                    f"{source}: the circumference is {circumference:.4g} mm, that of the diameters {expected:.4g} mm. "
                    "The size is an interval from one to the other. Is one mistyped?"
                )
        low, high = (math.fsum(of_lesions) for of_lesions in zip(*ends, strict=True))
        return StatedSize(low, high, "mm2", source, doubt=doubt)
    ((kind, value),) = stated.items()
    if kind == "diameters_mm":
        lesions = [[factor * d for d in lesion] for lesion in value]
        flat = None
        if all(len(lesion) < 3 for lesion in lesions):
            area = math.fsum(map(ellipse_area, lesions))
            flat = StatedSize(area, area, "mm2", source)
        volume = math.fsum(map(ellipsoid_volume, lesions))
        return StatedSize(volume, volume, "mm3", source, flat=flat)
    if kind == "present":
        if not value:
            return StatedSize(0.0, 0.0, "fraction", source)
        flat = StatedSize(LEAST_PRESENT, 1.0, "fraction", source)
        return StatedSize(LEAST_PRESENT_IN_SCAN, 1.0, "fraction", source, flat=flat)
    unit, in_unit = IN_UNIT[kind]
    size = factor * value * in_unit
    return StatedSize(size, min(size, 1.0) if unit == "fraction" else size, unit, source)


def _between(low: StatedSize, high: StatedSize) -> StatedSize:
    """Return the size from one's low to the other's high end."""
    flat = None if low.flat is None or high.flat is None else _between(low.flat, high.flat)
    return replace(low, high=high.high, flat=flat)


def _of_count(column: Column, count: float) -> StatedSize:
    """Return the size 0 of no objects."""
    if count > 0:
        raise ValueError(f"{column} is {count:g}, but no size is filled in. Fill in the mean area, or clear the count.")
    return StatedSize(0.0, 0.0, "mm2", str(column))


def _counted(size: StatedSize, column: Column, count: float, is_mean: bool) -> StatedSize:
    """Return the size of so many objects, from the mean of one or from that of all."""
    if is_mean:
        size = replace(size, low=count * size.low, high=count * size.high)
    if (count == 0) != (size.high == 0):
        raise ValueError(
            f"{column} is {count:g}, but the size by {size.source} is {size_text(size.high)}. Correct one of them."
        )
    return size


def misfits(columns: Sequence[Column], counted: bool = False) -> Iterator[str]:
    """
    Yield a problem for columns of a structure that cannot be filled in together.

    Args:
        columns: filled columns of the structure.
        counted: whether the table has a column ``count`` for it, so that an area is the mean of one object.
    """
    clicks = [column for column in columns if column.kind in CLICK_KINDS]
    if len(clicks) > 1:
        yield f"{' and '.join(map(str, clicks))} are both filled in. Clear one of them."
    sizes = [column for column in columns if column.kind not in KINDS_BESIDE_SIZES]
    names = " and ".join(dict.fromkeys(map(str, sizes)))
    bounds = {column.bound for column in sizes}
    kinds = {column.kind for column in sizes}
    if kinds == set(LENGTHS) and bounds != {""}:
        yield f"{names} are filled in, but bounds are of one of them alone. Clear the other, or state no bounds."
    elif len(kinds) > 1 and kinds != set(LENGTHS):
        yield f"{names} are all filled in, but a row states a structure in one way. Clear all but one."
    elif "" in bounds and len(bounds) > 1:
        yield f"{names} are all filled in. Clear the size, or its bounds."
    elif len(bounds) == 1 and "" not in bounds:
        yield f"{names} is filled in, but the other bound is not. Fill in both."
    error = next((column for column in columns if column.kind == "error_percent"), None)
    if bounds and "" not in bounds and error is not None:
        yield f"{error} is filled in beside bounds. Clear the error, or the bounds."
    ratio = next((column for column in columns if column.kind == "smallest_axis_ratio"), None)
    if ratio is not None and kinds and kinds != {"circumference_mm"}:
        yield f"{names} and {ratio} are both filled in, but it is for a circumference alone. Clear the ratio."
    count = next((column for column in columns if column.kind == "count"), None)
    if count is not None and kinds & set(LENGTHS):
        yield f"{names} and {count} are both filled in. State the mean area of one object, or clear the count."
    elif counted and kinds & set(AREA_KINDS) and count is None:
        yield f"{names} is the mean of one object, but their number is not filled in. Fill in the column of the count."


def of_other_extent(columns: Sequence[Column], slice_number: int | None) -> Iterator[str]:
    """
    Yield a problem for each column of a whole scan in the row of a slice.

    Args:
        columns: filled columns of a structure.
        slice_number: slice of the row; ``None`` for the whole scan.
    """
    for column in columns if slice_number is not None else ():
        if column.kind not in (*KINDS_OF_SLICES, *KINDS_BESIDE_SIZES):
            yield (
                f"{column} is for a whole scan, but the row is for slice {slice_number}. State "
                f"{IN_SLICES}, or clear 'slice'."
            )
