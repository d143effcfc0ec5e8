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
| ``liver volume_ml`` | volume in mL |
| ``liver volume_mm3`` | volume in mm³ |
| ``liver diameters_mm`` | 1, 2 or 3 diameters in mm: ``34``, ``34 x 28`` or ``34 x 28 x 40`` |
| ``liver fraction`` | part of the scan's (the slice's) original field of view: ``0.04`` or ``4 %`` |
| ``liver area_mm2`` | area in mm², of a slice or picture; also ``area_um2``, and ``area_px`` in pixels |
| ``head circumference_mm`` | circumference in mm, of a slice or picture |
| ``nuclei count`` | number of objects, where ``nuclei area_…`` is the mean of one; 0: there is none |
| ``liver mask`` | path of a mask of this structure alone (1, elsewhere 0), to be measured |
| ``liver present`` | 1 or yes; 0 or no: all that is known is whether it is there |
| ``present`` | the structures that are there, such as ``liver; spleen``, or ``none``: all others are absent |
| ``liver volume_ml low``, ``… high`` | bounds, if no more is known; likewise for numbers above |
| ``liver click_mm`` | where it is, in scanner mm (RAS+, as in NIfTI); several points have semicolons between them |
| ``liver click_lps_mm`` | the same in LPS, as in DICOM |
| ``liver error_percent`` | the reader's error, in percent of the number in the row |
| ``error_percent`` | the same for all structures without bounds or an error of their own |

A region of interest holds all structures: ``-80 -60 10 to 90 75 140``, or ``5 8 75``. A click is ``12.5 -30 44``, a
line ``0 1 2 to 3 4 2``.

**Several lesions** of a structure have a row each, told apart by ``lesion``, or a cell with ``+`` between them:
``12 + 15 x 11 + 31``. Their sizes add up, and so do the ends of their intervals, see
:func:`medsize.sizes.measurements.added`.

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

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from openpyxl.utils import get_column_letter

from medsize.errors import ProblemsError
from medsize.items import RoiMm
from medsize.scans.picture_file import PICTURE_ENDINGS
from medsize.scans.scan_header import scan_header
from medsize.scans.scan_names import comparable_path
from medsize.sizes.mask_sizes import measure_structure
from medsize.sizes.measurements import Extent, StatedSize, added, misfits, of_other_extent, stated_size
from medsize.sizes.size_cells import CLICK_KINDS, NUMBERS, ROI_KINDS, as_text, in_ras, is_unknown, read_cell
from medsize.sizes.size_columns import TAGS, Column, read_columns
from medsize.sizes.spreadsheet import Cell, parse_number, read_cells, uses_decimal_comma
from medsize.suggest import did_you_mean

__all__ = ["SizeRow", "SizeTable", "SizeTableError", "StatedSize", "add_sizes", "read_size_table"]

TOTALS = {
    *("total", "totals", "sum", "sums", "mean", "means", "average", "averages", "avg", "median", "sd", "std", "stdev"),
    *("min", "max", "minimum", "maximum", "count", "range", "summe", "gesamt", "mittelwert", "mittel"),
}
"""Words in place of a scan's path, in rows that sum up a column."""
NONE_PRESENT = ("none", "nothing", "-", "0")
"""Words in a column of tags for a scan without any structure."""
TOLERANCE = 0.01
"""Largest relative difference of the size of pixels in a table and a file: both are rounded."""
HEADER_WORD = re.compile(
    r"(volume|size|diameters?|fraction|area|circumference|count|error|percent|in|m[lL]|px|pixels?|[uµμm]m\^?[23²³]?|"
    r"cm\^?[23²³]?|cc|[%_()\[\]^ ])+",
    re.IGNORECASE,
)
"""Second name or unit of a column."""


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
    subject: str | None
    slice: int | None
    """Number of the slice; ``None`` for the whole scan."""
    lesion: str | None
    """Lesion that the row is of; ``None`` if it states the sizes of all."""
    sizes: dict[str, StatedSize]
    """Size of each structure; structures of unknown size are left out."""
    clicks: dict[str, list[Any]] = field(default_factory=dict)
    """Points and lines of each structure, scanner mm, RAS+."""
    pixel_mm: float | None = None
    """Side of the pixels of a picture; ``None`` if the table does not say."""
    roi: RoiMm | None = None
    """Region of interest of the scan."""


@dataclass(frozen=True)
class SizeTable:
    """A checked size table."""

    source: Path
    columns: tuple[Column, ...]
    rows: tuple[SizeRow, ...]
    doubts: tuple[str, ...] = ()
    """
    Rows that are hidden or struck through, and read nevertheless; rows of totals, which are left out; circumferences
    that differ from those of the diameters beside them; errors below 1 percent.
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

    def pixel_mm(self, image: str) -> float | None:
        """Return the side of the pixels of a picture, mm; ``None`` if the table does not say."""
        rows = self.rows_by_image.get(comparable_path(image), [])
        return next((row.pixel_mm for row in rows if row.pixel_mm is not None), None)

    def where(self, row: SizeRow, kind: str, structure: str = "") -> str:
        """Return the name of a cell in messages."""
        return f"row {row.number}, {next(c for c in self.columns if (c.kind, c.structure) == (kind, structure))}"

    def sizes_of(
        self,
        image: str,
        dataset_dir: str | Path = ".",
        length_unit: Literal["mm", "px"] = "mm",
        scan_file: Path | None = None,
    ) -> dict[str, Any]:
        """
        Return the sizes of a scan, as entries of an item in a data list whose ``size_unit`` is ``mm3``.

        Args:
            image: path of the scan from the data set's folder. A scan of one slice is a picture: all of its sizes are
                areas.
            dataset_dir: the data set's folder. Where all rows of a scan state volumes or diameters, it need not exist.
            length_unit: ``px`` if the size of the pictures' pixels is unknown.
            scan_file: the scan as NIfTI, if ``image`` is in another format.

        Returns:
            ``size``, mm³ per structure; ``slice_size``, mm² (with ``length_unit`` ``px`` pixels) per structure and
            slice along the last axis; ``clicks``, points and lines per structure in scanner mm, RAS+; ``roi``, a
            centre or a box likewise; ``subject``.
            A size is a number, ``[low, high]``, or ``None`` if unknown. Entries that the table lacks are left out.

        Raises:
            SizeTableError: when the scan has no row or lacks slices that its rows name, when it or a mask cannot be
                read, and when rows state what a scan, slice or picture does not have.
        """
        rows = self.rows_by_image.get(comparable_path(image), [])
        if not rows:
            problem = f"the scan '{image}' has no row. Add one, and leave its sizes empty if they are unknown."
            raise SizeTableError(self.source, [problem])
        scan_file = scan_file or Path(dataset_dir) / image
        zooms, shape = self._grid(rows, scan_file, dataset_dir)
        extent, num_slices = [zoom * voxels for zoom, voxels in zip(zooms, shape, strict=True)], shape[2]
        is_picture = num_slices == 1
        size: dict[str, Any] = {}
        slice_size: dict[str, list[Any]] = {}
        clicks: dict[str, list[Any]] = {}
        problems = list(self._other_pixels(rows, zooms, num_slices, length_unit))
        for row in rows:
            if row.slice is not None and row.slice >= num_slices:
                problems.append(
                    f"{self.where(row, 'slice')} is {row.slice}, but the scan '{image}' has {num_slices} slices. "
                    f"Count them from 0 to {num_slices - 1}."
                )
                continue
            z = 0 if is_picture else row.slice
            measure = math.prod(extent if z is None else extent[:2])
            about = Extent(measure, z is not None, length_unit)
            for structure, places in row.clicks.items():
                clicks.setdefault(structure, []).extend(places)
            for structure, stated in row.sizes.items():
                if stated.mask is not None:
                    try:
                        volume, areas = measure_structure(Path(dataset_dir) / stated.mask, scan_file)
                    except ValueError as e:
                        problems.append(f"{self.where(row, 'mask', structure)}: {e}")
                        continue
                    if not is_picture:
                        size[structure] = added(size.get(structure, 0.0), stated.times(volume))
                    of_slices = slice_size.get(structure, [0.0] * len(areas))
                    slice_size[structure] = [
                        added(others, stated.times(area)) for others, area in zip(of_slices, areas, strict=True)
                    ]
                    continue
                try:
                    entry = stated.within(about)
                except ValueError as e:
                    problems.append(f"row {row.number}, {e}")
                    continue
                if z is None:
                    size[structure] = added(size.get(structure, 0.0), entry)
                else:
                    of_slices = slice_size.setdefault(structure, [None] * num_slices)
                    of_slices[z] = added(of_slices[z] or 0.0, entry)
        if problems:
            raise SizeTableError(self.source, problems)
        entries = {
            "size": {name: size.get(name) for name in self.structures} if size else None,
            "slice_size": slice_size or None,
            "clicks": clicks or None,
            "roi": next((row.roi for row in rows if row.roi), None),
            "subject": next((row.subject for row in rows if row.subject), None),
        }
        return {key: entry for key, entry in entries.items() if entry is not None}

    def _grid(self, rows: Sequence[SizeRow], scan_file: Path, dataset_dir: str | Path) -> tuple[list[float], list[int]]:
        """Return mm and voxels along each axis of a scan; NaN and 0 if it cannot be read, and nothing depends on it."""
        try:
            return scan_header(scan_file)
        except ValueError as e:
            stated = [size for row in rows for size in row.sizes.values()]
            if all(row.slice is None for row in rows) and all(size.unit == "mm3" for size in stated):
                return [math.nan] * 3, [0] * 3
            problem = f"{self.where(rows[0], 'image')}: {e}. Is '{dataset_dir}' the data set's folder?"
            raise SizeTableError(self.source, [problem]) from e

    def _other_pixels(
        self, rows: Sequence[SizeRow], zooms: Sequence[float], num_slices: int, length_unit: str
    ) -> Iterator[str]:
        """Yield a problem for each row that states other pixels than its picture has."""
        for row in rows if length_unit == "mm" and num_slices > 0 else ():
            if row.pixel_mm is None:
                continue
            where = f"{self.where(row, 'pixel_mm')} is {row.pixel_mm:g}"
            if num_slices > 1:
                yield f"{where}, but '{row.image}' has {num_slices} slices, and is not a picture. Clear the cell."
            elif not all(math.isclose(zoom, row.pixel_mm, rel_tol=TOLERANCE) for zoom in zooms[:2]):
                yield (
                    f"{where}, but the pixels of '{row.image}' have {zooms[0]:.4g} × {zooms[1]:.4g} mm. Correct one "
                    "of them."
                )


def read_size_table(path: str | Path, sheet: str | None = None) -> SizeTable:
    """
    Read and check a size table; its columns are described at the top of this module.

    Numbers have a decimal point. A decimal comma is understood if it cannot be anything else, as in ``12,5`` and
    ``1.510,5``. A number such as ``1,510`` is refused: its comma may be a thousands separator.

    Args:
        path: a ``.xlsx`` file; or a ``.csv`` file in UTF-8, separated by commas, semicolons or tabs.
        sheet: the sheet of a workbook. Default: the only one that is not empty.

    Raises:
        SizeTableError: naming the row and column of every problem, as the spreadsheet shows them.
    """
    path = Path(path)
    try:
        table_cells = read_cells(path, sheet)
    except ValueError as e:
        raise SizeTableError(path, [str(e)]) from e
    header, *body = _with_tags(table_cells.rows)
    numbers = _numbers(body)
    columns, problems, remarks = read_columns(header, numbers, _are_pictures(header, body))
    remarks += [
        f"{column}: its numbers are at most {max(numbers[index]):g} percent. Are they fractions? Write 10 for 10 %."
        for index, column in enumerate(columns)
        if column and column.kind == "error_percent" and 0 < max(numbers.get(index, [0])) < 1
    ]
    filled = {number: cells for number, cells in enumerate(body, start=2) if any(cell != "" for cell in cells)}
    if not filled:
        problems.append("found no row below the names of the columns, expected a row for every scan. Add them.")
    problems += [
        f"column {get_column_letter(index + 1)} has no name in row 1. Name it, or clear its cells."
        for index, name in enumerate(header)
        if name == "" and any(cells[index : index + 1] not in ([], [""]) for cells in filled.values())
    ]
    decimal_comma = uses_decimal_comma(
        (
            cell
            for cells in filled.values()
            for column, cell in zip(columns, cells, strict=False)
            if column and column.kind in NUMBERS and isinstance(cell, str)
        ),
        table_cells.separator,
    )
    rows = []
    doubts = [*table_cells.doubts, *remarks]
    for number, cells in filled.items():
        if number == 2 and (names := _second_header(columns, cells)):
            problems.append(f"row 2 looks like a second row of names or units ({names}), expected a scan. Delete it.")
            continue
        if (total := _total(columns, cells)) is not None:
            doubts.append(f"row {number} is '{total}', not a scan: it was left out.")
            continue
        if len(cells) != len(header):
            problems.append(
                f"row {number} has {len(cells)} cells, but row 1 has {len(header)}. Put cells that hold the separator "
                f"'{table_cells.separator}' in quotation marks, and separate empty cells, too."
            )
            continue
        row, faults = _read_row(number, columns, cells, decimal_comma)
        problems += [f"row {number}, {fault}" for fault in faults]
        if row is not None:
            rows.append(row)
            doubts += [f"row {number}, {size.doubt}" for size in row.sizes.values() if size.doubt]
    table = SizeTable(path, tuple(column for column in columns if column), tuple(rows), tuple(doubts))
    problems += _contradictions(table)
    if problems:
        raise SizeTableError(path, problems, _names(table, columns, filled))
    return table


def add_sizes(
    items: Sequence[Mapping[str, Any]],
    table: SizeTable,
    dataset_dir: str | Path = ".",
    length_unit: Literal["mm", "px"] = "mm",
) -> list[dict[str, Any]]:
    """
    Add the sizes of a table to scans.

    Args:
        items: items of a data list, with ``image``, a path from the data set's folder.
        table: the table, from :func:`read_size_table`.
        dataset_dir: the data set's folder.
        length_unit: see :meth:`SizeTable.sizes_of`.

    Returns:
        new items with the entries of :meth:`SizeTable.sizes_of`, for a data list whose ``size_unit`` is ``mm3``.

    Raises:
        SizeTableError: naming every row without a scan, scan without a row, and scan that is listed twice or has other
            sizes or another subject already; and every problem of :meth:`SizeTable.sizes_of`.
    """
    images = {comparable_path(item["image"]): item["image"] for item in items}
    counts = Counter(comparable_path(item["image"]) for item in items)
    problems = [f"the scan '{images[key]}' is listed {n} times. List it once." for key, n in counts.items() if n > 1]
    for key, rows in table.rows_by_image.items():
        if key not in images:
            hint = did_you_mean(key, images.values()) or " Correct the path, or delete the row."
            further = f" and {len(rows) - 1} more of it" if len(rows) > 1 else ""
            problems.append(f"{table.where(rows[0], 'image')}{further}: there is no scan '{rows[0].image}'.{hint}")
    sized = []
    for item in items:
        try:
            entries = table.sizes_of(item["image"], dataset_dir, length_unit)
        except SizeTableError as e:
            problems += e.problems
            continue
        problems += [
            f"the scan '{item['image']}' already has another '{key}'. Remove it, or correct the table."
            for key in entries
            if item.get(key) not in (None, entries[key])
        ]
        sized.append({**item, **entries})
    if problems:
        raise SizeTableError(table.source, list(dict.fromkeys(problems)))
    return sized


def _names(
    table: SizeTable, columns: Sequence[Column | None], filled: Mapping[int, Sequence[Cell]]
) -> SizeTable | None:
    """Return a faulty table with the name of each row's scan alone; ``None`` if that of some row is not known."""
    index = next((i for i, column in enumerate(columns) if column and column.kind == "image"), None)
    rows = []
    for number, cells in filled.items():
        if (number == 2 and _second_header(columns, cells)) or _total(columns, cells) is not None:
            continue
        if index is None or len(cells) != len(columns):
            return None
        try:
            rows.append(SizeRow(number, read_cell("image", cells[index], False), None, None, None, {}))
        except ValueError:
            return None
    return replace(table, rows=tuple(rows))


def _with_tags(rows: Sequence[list[Cell]]) -> list[list[Cell]]:
    """Return the rows with a column ``… present`` for each structure that the cells of a column of tags name."""
    header = rows[0]
    index = next((i for i, name in enumerate(header) if isinstance(name, str) and name.strip().lower() in TAGS), None)
    if index is None:
        return list(rows)
    texts = [
        "" if isinstance(row[index], ValueError) else as_text(row[index])  # type: ignore[arg-type]
        for row in rows[1:]
        if len(row) == len(header)
    ]
    listed = [re.split(r"\s*[;,+|\n]\s*", text.strip(" ;,+|")) if text else None for text in texts]
    names: dict[str, str] = {}
    for name in (name for of_row in listed if of_row for name in of_row):
        if name.lower() not in NONE_PRESENT:
            names.setdefault(name.lower(), name)
    spread: list[list[Cell]] = [[*header, *(f"{name} present" for name in names.values())]]
    tags = iter(listed)
    for row in rows[1:]:
        if len(row) != len(header):
            spread.append(row)
            continue
        of_row = next(tags)
        here = {name.lower() for name in of_row or ()}
        spread.append([*row, *("" if of_row is None else int(name in here) for name in names)])
    return spread


def _are_pictures(header: Sequence[Cell], rows: Sequence[Sequence[Cell]]) -> bool:
    """Return whether the column ``image`` names files of pictures."""
    index = next(
        (i for i, name in enumerate(header) if isinstance(name, str) and name.strip().lower() == "image"), None
    )
    named = [row[index] for row in rows if index is not None and index < len(row) and row[index] != ""]
    return bool(named) and all(
        isinstance(n, str) and n.partition("#")[0].lower().endswith(PICTURE_ENDINGS) for n in named
    )


def _numbers(rows: Sequence[Sequence[Cell]]) -> dict[int, list[float]]:
    """Return the numbers of each column that holds nothing else, by its index."""
    found: dict[int, list[float]] = {}
    others = set()
    for cells in rows:
        for index, cell in enumerate(cells):
            if is_unknown(cell, "count"):
                continue
            try:
                if isinstance(cell, ValueError):
                    raise cell
                found.setdefault(index, []).append(parse_number(cell) if isinstance(cell, str) else float(cell))
            except ValueError:
                others.add(index)
    return {index: numbers for index, numbers in found.items() if index not in others}


def _second_header(columns: Sequence[Column | None], cells: Sequence[Cell]) -> str:
    """Return the words of a row that has no number, yet a word in each filled cell of numbers."""
    numbers = zip(columns, cells, strict=False)
    filled = [cell for column, cell in numbers if column and column.kind in NUMBERS and cell != ""]
    words = [cell for cell in filled if isinstance(cell, str) and HEADER_WORD.fullmatch(cell)]
    return ", ".join(f"'{word}'" for word in words[:5]) if len(words) == len(filled) else ""


def _total(columns: Sequence[Column | None], cells: Sequence[Cell]) -> str | None:
    """Return the word in place of a path in a row that sums up a column, such as ``"Total"``."""
    named = [cell for column, cell in zip(columns, cells, strict=False) if column and column.kind == "image"]
    word = named[0] if named else ""
    return word if isinstance(word, str) and word.lower().strip(" :.=∑Σ") in TOTALS else None


def _read_row(
    number: int, columns: Sequence[Column | None], cells: Sequence[Cell], decimal_comma: bool
) -> tuple[SizeRow | None, list[str]]:
    """Return the row, ``None`` if it names no scan, and its problems."""
    values: dict[Column, Any] = {}
    faults: dict[Column, str] = {}
    for column, cell in zip(columns, cells, strict=True):
        if column is None or column.kind in ("comment", "tags"):
            continue
        try:
            if not is_unknown(cell, column.kind):
                values[column] = read_cell(column.kind, cell, decimal_comma)
            elif column.kind == "image":
                raise ValueError("is empty. Write the path of the scan, or delete the row.")
        except ValueError as e:
            faults[column] = f"{column} {e}"
    problems = list(faults.values())
    own = {column.kind: value for column, value in values.items() if not column.structure}
    faulty_kinds = {column.kind for column in faults if not column.structure}
    sizes = {}
    clicks: dict[str, list[Any]] = {}
    for structure in dict.fromkeys(column.structure for column in columns if column and column.structure):
        stated = [column for column in (*values, *faults) if column.structure == structure]
        counted = any(column and (column.kind, column.structure) == ("count", structure) for column in columns)
        conflicts = list(misfits(stated, counted))
        if "slice" not in faulty_kinds:
            conflicts += of_other_extent(stated, own.get("slice"))
        problems += conflicts
        if not conflicts and not faults.keys() & set(stated):
            try:
                size = stated_size({column: values[column] for column in stated}, own.get("error_percent", 0.0))
            except ValueError as e:
                problems.append(str(e))
                continue
            if size is not None:
                sizes[structure] = size
            for column in stated:
                if column.kind in CLICK_KINDS:
                    clicks[structure] = in_ras(values[column], column.kind)
    if "image" not in own or "slice" in faulty_kinds:
        return None, problems
    lesion = own.get("lesion")
    if lesion is not None and not sizes and not problems:
        problems.append(
            f"column 'lesion' is '{lesion}', but no size is filled in, expected that of the lesion. Fill it in, or its "
            "bounds, or delete the row."
        )
    regions = {column: value for column, value in values.items() if column.kind in ROI_KINDS}
    if len(regions) > 1:
        problems.append(f"{' and '.join(map(str, regions))} are both filled in. Clear one of them.")
    row = SizeRow(
        number,
        own["image"],
        own.get("subject"),
        own.get("slice"),
        lesion,
        sizes,
        clicks,
        own.get("pixel_mm"),
        next((_roi(in_ras(place, column.kind)) for column, place in regions.items()), None),
    )
    return row, problems


def _roi(place: list[Any]) -> RoiMm:
    return {"box_mm": place} if isinstance(place[0], list) else {"center_mm": place}


def _contradictions(table: SizeTable) -> Iterator[str]:
    """Yield a problem for rows of the same scan that contradict each other."""
    for rows in table.rows_by_image.values():
        first: dict[tuple[int | None, str | None], SizeRow] = {}
        masks = {structure: row for row in rows for structure, stated in row.sizes.items() if stated.mask}
        named = next((row for row in rows if row.subject), None)
        scaled = next((row for row in rows if row.pixel_mm), None)
        placed = next((row for row in rows if row.roi), None)
        for row in rows:
            twin = first.setdefault((row.slice, row.lesion), row)
            if twin is not row:
                what = "scan" if row.slice is None else f"slice {row.slice} of the scan"
                what = what if row.lesion is None else f"lesion '{row.lesion}' in the same {what}"
                yield (
                    f"{table.where(row, 'image')}: row {twin.number} is of the same {what}, '{row.image}'. Delete one "
                    "of them, or number several lesions in a column 'lesion'."
                )
            if row.subject and named and row.subject != named.subject:
                yield (
                    f"{table.where(row, 'subject')} is '{row.subject}', but row {named.number} says that the scan is "
                    f"of '{named.subject}'. Correct one of them."
                )
            if row.pixel_mm and scaled and row.pixel_mm != scaled.pixel_mm:
                yield (
                    f"{table.where(row, 'pixel_mm')} is {row.pixel_mm:g}, but row {scaled.number} says that the pixels "
                    f"of the same picture have {scaled.pixel_mm:g} mm. Correct one of them."
                )
            if row.roi and placed and row.roi != placed.roi:
                yield (
                    f"row {row.number} states another region of interest than row {placed.number} of the same scan, "
                    f"'{row.image}', expected one. Write a box around both, or clear one of them."
                )
            yield from _counted_twice(table, row, rows)
            for structure in row.sizes.keys() & masks.keys():
                if row.slice is not None:
                    yield (
                        f"{table.where(masks[structure], 'mask', structure)} tells the size of '{structure}' in every "
                        f"slice, but row {row.number} states it in slice {row.slice}. Clear one of them."
                    )


def _counted_twice(table: SizeTable, row: SizeRow, rows: Sequence[SizeRow]) -> Iterator[str]:
    """Yield a problem for sizes that would add up, though they are not those of several lesions."""
    before = [other for other in rows if other.slice == row.slice and other.number < row.number]
    first = {name: other for other in reversed(before) for name in row.sizes if name in other.sizes}
    totals = [name for name, other in first.items() if (other.lesion is None) != (row.lesion is None)]
    where = table.where(row, "image")
    if totals:
        yield (
            f"{where}: the size of '{totals[0]}' stands in row {first[totals[0]].number}, too, and only one of both "
            "names a lesion: sizes of lesions add up. Fill in 'lesion' in both, or clear one of the sizes."
        )
    elif row.lesion is not None and len(first) > 1:
        yield (
            f"{where}: the sizes of {' and '.join(map(repr, first))} stand in several rows of the scan, and would add "
            "up. State one structure in the row of a lesion, and sizes of the whole scan in one row only."
        )
