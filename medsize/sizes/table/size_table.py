"""
Size tables: the known sizes of the structures in each scan, in a spreadsheet (XLSX) or CSV file.

The first row names the columns. Every further row is a scan or, where the column ``slice`` is filled in, one of its
slices. A picture is a scan of one slice:

    image,               subject, liver volume_ml, liver error_percent, tumour diameters_mm, tumour volume_ml
    scans/scan_1.nii.gz, A,       1510,            10,                  34 x 28 x 40,
    scans/scan_2.nii.gz, B,       1230,            10,                  ,                    0

| column | content of its cells |
| --- | --- |
| ``image`` | path of the scan from the data set's folder |
| ``subject`` | subject of the scan; may be left out |
| ``slice`` | number of the slice, from 0 along the last axis; empty: the whole scan |
| ``lesion`` | number or name of the lesion, where a scan (a slice) has a row for each of its lesions |
| ``pixel_mm`` | side of a picture's pixels in mm, where its file does not state it |
| ``roi_mm`` | region of interest in scanner mm (RAS+, as in NIfTI): two corners of a box, or its centre |
| ``roi_lps_mm`` | the same in LPS, as in DICOM |
| ``comment`` | anything; not read |
| ``source`` | who measured the row's sizes, or with what |
| ``liver volume_ml`` | volume in mL |
| ``liver volume_mm3`` | volume in mm³ |
| ``liver diameters_mm`` | 1, 2 or 3 diameters in mm: ``34``, ``34 x 28`` or ``34 x 28 x 40`` |
| ``liver fraction`` | part of the scan's (the slice's) original field of view: ``0.04`` or ``4 %`` |
| ``liver area_mm2`` | area in mm², of a slice or picture; also ``area_um2``, and ``area_px`` in pixels |
| ``head circumference_mm`` | circumference in mm, of a slice or picture |
| ``head smallest_axis_ratio`` | beside it: short over long diameter of the flattest shape; 0.5 where it is not stated |
| ``nuclei count`` | number of objects, where ``nuclei area_…`` is the mean of one; 0: there is none |
| ``liver mask`` | path of a mask of this structure alone (1, elsewhere 0), to be measured |
| ``liver present`` | 1 or yes; 0 or no: all that is known is whether it is there |
| ``present`` | the structures that are there, such as ``liver; spleen``, or ``none``: all others are absent |
| ``liver volume_ml low``, ``… high`` | bounds, if no more is known; likewise for numbers above |
| ``liver click_mm`` | where it is, in scanner mm (RAS+, as in NIfTI); several points have semicolons between them |
| ``liver click_lps_mm`` | the same in LPS, as in DICOM |
| ``liver click_px`` | where it is in a picture: pixels from the left and the upper edge, the first one is 0 |
| ``liver error_percent`` | the reader's error, in percent of the number in the row |
| ``error_percent`` | the same for all structures without bounds or an error of their own |

A region of interest holds all structures: ``-80 -60 10 to 90 75 140``, or ``5 8 75``. A click is ``12.5 -30 44``, a
line ``0 1 2 to 3 4 2``.

**Several lesions** of a structure have a row each, told apart by ``lesion``, or a cell with ``+`` between them:
``12 + 15 x 11 + 31``. Their sizes add up, and so do the ends of their intervals, see
:func:`medsize.sizes.table.measurements.added`.

A structure of which no more is known than that it is present takes at least 0.1 % of a slice or picture (0.001 % of a
scan), and at most all of it. In a table of picture files, a structure's name alone may be that of its fractions.

Any structure's name may stand for ``liver``. An *empty* cell means that the size is unknown, *0* that the structure is
absent. A row states each structure in one way; other rows and structures may use other ways. Case, spaces and brackets
in the names of columns make no difference: ``Liver Volume (mL)`` is ``liver volume_ml``. ``n/a``, ``-``, ``?`` and
``unknown`` are like an empty cell. A number may have its column's unit behind it: ``1950 ml``.

Diameters give the volume of an ellipsoid, V = π/6 · d₁ · d₂ · d₃. For one or two diameters, see
:func:`medsize.sizes.ellipsoid.ellipsoid_volume`. In a slice or picture they give the area of an ellipse, see
:func:`medsize.sizes.ellipse.ellipse_area`. A circumference is that of an ellipse. Alone it gives an interval; diameters
may stand beside it, see :func:`medsize.sizes.ellipse.circumference_area`.

An error of e percent turns a number x into the bounds x · (1 − e/100) and x · (1 + e/100). With diameters and
circumferences, x is each of them: an error of 10 percent there is about 30 percent of a volume, and 20 of an area.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from medsize.errors import ProblemsError
from medsize.items import RoiMm
from medsize.scans.scan_names import comparable_path
from medsize.sizes.table.columns import Column
from medsize.sizes.table.measurements import StatedSize

__all__ = ["SizeRow", "SizeTable", "SizeTableError", "first_with"]


class SizeTableError(ProblemsError):
    """
    Error that lists all problems of a size table.

    Args:
        source: the table.
        problems: a message for each.
        names: the scans that its rows name; ``None`` if that of some row is not known.
    """

    def __init__(self, source: Path | str, problems: Sequence[str], names: SizeTable | None = None) -> None:
        super().__init__(source, problems)
        self.names = names


@dataclass(frozen=True)
class SizeRow:
    """A row of a size table."""

    number: int
    """Number of the row, as spreadsheets count: row 1 names the columns."""
    image: str
    subject: str | None = None
    slice: int | None = None
    """Number of the slice; ``None`` for the whole scan."""
    lesion: str | None = None
    """Lesion that the row is of; ``None`` if it states the sizes of all."""
    sizes: dict[str, StatedSize] = field(default_factory=dict)
    """Size of each structure; structures of unknown size are left out."""
    clicks: dict[str, list[Any]] = field(default_factory=dict)
    """Points and lines of each structure, scanner mm, RAS+."""
    clicks_px: dict[str, list[Any]] = field(default_factory=dict)
    """Those in a picture, pixels from its left and its upper edge."""
    pixel_mm: float | None = None
    """Side of the pixels of a picture; ``None`` if the table does not say."""
    roi: RoiMm | None = None
    """Region of interest of the scan."""
    source: str | None = None
    """People or tools that the sizes come from; ``None`` if the table does not say."""


@dataclass(frozen=True)
class SizeTable:
    """A checked size table."""

    source: Path
    columns: tuple[Column, ...]
    rows: tuple[SizeRow, ...]
    doubts: tuple[str, ...] = ()
    """
    Rows that are hidden or struck through, and read nevertheless; rows of totals, which are left out; circumferences
    that differ from those of the diameters beside them; errors below 1 percent; single diameters without an error.
    """

    @cached_property
    def structures(self) -> tuple[str, ...]:
        """Names of the structures, in the order of their columns."""
        return tuple(dict.fromkeys(column.structure for column in self.columns if column.structure))

    @cached_property
    def rows_by_image(self) -> dict[str, list[SizeRow]]:
        """The rows of each scan, by its :func:`medsize.scans.scan_names.comparable_path`."""
        rows: dict[str, list[SizeRow]] = {}
        for row in self.rows:
            rows.setdefault(comparable_path(row.image), []).append(row)
        return rows

    def rows_of(self, image: str) -> list[SizeRow]:
        """Return the rows of a scan, none if the table lacks it."""
        return self.rows_by_image.get(comparable_path(image), [])

    def where(self, row: SizeRow, kind: str, structure: str = "") -> str:
        """Return the name of a cell in messages."""
        return f"row {row.number}, {next(c for c in self.columns if (c.kind, c.structure) == (kind, structure))}"


def first_with(key: str, rows: Sequence[SizeRow]) -> SizeRow | None:
    """Return the first of the rows that states a ``subject``, ``pixel_mm`` or ``roi``; ``None`` if none does."""
    return next((row for row in rows if getattr(row, key) is not None), None)
