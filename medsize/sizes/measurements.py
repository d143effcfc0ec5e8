"""
Measurements: the size of a structure, from the cells of a row together.

A measurement is a volume, diameters, an area, a fraction or a mask, with the reader's error or with bounds, see
:mod:`medsize.sizes.size_table`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from medsize.sizes.ellipsoid import ellipsoid_volume
from medsize.sizes.size_columns import CLICK_KINDS, Column
from medsize.units import MM3_PER_ML

__all__ = ["StatedSize", "added", "misfits", "of_other_extent", "stated_size"]

KINDS_OF_SLICES = ("area_mm2", "fraction")


@dataclass(frozen=True)
class StatedSize:
    """
    Low and high end of a structure's size.

    They are mm³ of a scan or mm² of a slice, fractions of its original field of view, or multiples of a mask's size.
    """

    low: float
    high: float
    is_fraction: bool = False
    mask: str | None = None

    def times(self, measure: float) -> float | list[float]:
        """
        Return the size in the form of data lists: a number, or ``[low, high]``.

        Args:
            measure: field of view or mask size that the ends are multiples of, in mm³ or mm²; 1 if they have that unit.
        """
        low, high = self.low * measure, self.high * measure
        return low if low == high else [low, high]


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
    others = ("error_percent", *CLICK_KINDS)
    stated = {column.bound: (column, value) for column, value in values.items() if column.kind not in others}
    if not stated:
        return None
    if "" in stated:
        column, value = stated[""]
        if column.kind == "mask":
            return StatedSize(1 - error, 1 + error, mask=value)
        low, high = _size(column.kind, value, 1 - error), _size(column.kind, value, 1 + error)
    else:
        column, low_value = stated["low"]
        high_column, high_value = stated["high"]
        low, high = _size(column.kind, low_value), _size(column.kind, high_value)
        if low > high:
            raise ValueError(f"{column} is above {high_column}. Exchange or correct them.")
    is_fraction = column.kind == "fraction"
    return StatedSize(low, min(high, 1.0) if is_fraction else high, is_fraction)


def _size(kind: str, value: Any, factor: float = 1.0) -> float:
    """Return the value of a cell times a factor, in mm³, mm² or as a fraction."""
    if kind == "diameters_mm":
        return math.fsum(ellipsoid_volume([factor * d for d in lesion]) for lesion in value)
    return factor * value * (MM3_PER_ML if kind == "volume_ml" else 1.0)


def misfits(columns: Sequence[Column]) -> Iterator[str]:
    """Yield a problem for columns of a structure that cannot be filled in together."""
    clicks = [column for column in columns if column.kind in CLICK_KINDS]
    if len(clicks) > 1:
        yield f"{' and '.join(map(str, clicks))} are both filled in. Clear one of them."
    columns = [column for column in columns if column not in clicks]
    sizes = [column for column in columns if column.kind != "error_percent"]
    names = " and ".join(map(str, sizes))
    bounds = {column.bound for column in sizes}
    if len({column.kind for column in sizes}) > 1:
        yield f"{names} are all filled in, but a row states a structure in one way. Clear all but one."
    elif "" in bounds and len(bounds) > 1:
        yield f"{names} are all filled in. Clear the size, or its bounds."
    elif len(bounds) == 1 and "" not in bounds:
        yield f"{names} is filled in, but the other bound is not. Fill in both."
    if bounds and "" not in bounds and len(columns) > len(sizes):
        error = next(column for column in columns if column.kind == "error_percent")
        yield f"{error} is filled in beside bounds. Clear the error, or the bounds."


def of_other_extent(columns: Sequence[Column], slice_number: int | None) -> Iterator[str]:
    """
    Yield a problem for each column of a whole scan in the row of a slice, or the other way round.

    Args:
        columns: filled columns of a structure.
        slice_number: slice of the row; ``None`` for the whole scan.
    """
    for column in columns:
        if slice_number is None and column.kind == "area_mm2":
            yield f"{column} is for a slice, but the row names no slice. Fill in the column 'slice', or state a volume."
        if slice_number is not None and column.kind not in (*KINDS_OF_SLICES, *CLICK_KINDS, "error_percent"):
            yield (
                f"{column} is for a whole scan, but the row is for slice {slice_number}. State "
                f"{' or '.join(KINDS_OF_SLICES)}, or clear 'slice'."
            )
