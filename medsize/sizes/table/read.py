"""Reading of size tables: every fault is named by its row and column, as the spreadsheet shows them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from openpyxl.utils import get_column_letter

from medsize.items import RoiMm
from medsize.scans.pictures.file import PICTURE_ENDINGS
from medsize.sizes.ellipse import circumference_area
from medsize.sizes.ellipsoid import ELLIPSOID_ERROR
from medsize.sizes.table.cells import (
    CLICK_KINDS,
    CLICK_PX,
    NUMBERS,
    RANGED_KINDS,
    ROI_KINDS,
    SIZE_KINDS,
    ends_of_range,
    in_ras,
    is_unknown,
    read_cell,
    read_tags,
)
from medsize.sizes.table.columns import OF_IMAGES, TAGS, Column, comparable, late_header, read_columns
from medsize.sizes.table.contradictions import contradictions
from medsize.sizes.table.measurements import misfits, of_other_extent, stated_size
from medsize.sizes.table.size_table import SizeRow, SizeTable, SizeTableError
from medsize.sizes.table.spreadsheet import Cell, parse_number, read_cells, uses_decimal_comma

__all__ = ["read_size_table"]

TOTALS = {
    *("total", "totals", "sum", "sums", "mean", "means", "average", "averages", "avg", "median", "sd", "std", "stdev"),
    *("min", "max", "minimum", "maximum", "count", "range", "summe", "gesamt", "mittelwert", "mittel"),
    *("gesamtsumme", "anzahl", "standardabweichung", "stabw", "ø", "σ"),
}
"""Words in place of a scan's path, in rows that sum up a column."""
BESIDE_TOTALS = {"grand", "dev", "deviation"}
"""Words beside these, which alone may be the name of a scan."""
HEADER_WORD = re.compile(
    r"(volume|size|diameters?|fraction|area|circumference|count|error|percent|in|m[lL]|px|pixels?|[uµμm]m\^?[23²³]?|"
    r"cm\^?[23²³]?|cc|[%_()\[\]^ ])+",
    re.IGNORECASE,
)
"""Second name or unit of a column."""


def read_size_table(path: str | Path, sheet: str | None = None) -> SizeTable:
    """
    Read and check a size table; :mod:`medsize.sizes.table.size_table` describes its columns.

    Numbers have a decimal point. A decimal comma is understood if it cannot be anything else, as in ``12,5`` and
    ``1.510,5``. A number such as ``1,510`` is refused: its comma may be a thousands separator.

    Args:
        path: a ``.xlsx`` file; or a ``.csv`` file in UTF-8, separated by commas, semicolons or tabs.
        sheet: the sheet of a workbook to read. Default: the only one that is not empty.

    Raises:
        SizeTableError: naming the row and column of every problem, as the spreadsheet shows them.
    """
    path = Path(path)
    try:
        entered = read_cells(path, sheet)
    except ValueError as e:
        raise SizeTableError(path, [str(e)]) from e
    if problem := late_header(entered.rows):
        raise SizeTableError(path, [problem])
    header = entered.rows[0]
    tags, body = _with_tags(entered.rows)
    numbers = _numbers(body)
    are_pictures = _are_pictures(header, body)
    columns, problems, remarks = read_columns(header, numbers, are_pictures, tags)
    doubts = [*entered.doubts, *remarks, *_errors_below_1_percent(columns, numbers)]
    filled = {number: cells for number, cells in enumerate(body, start=2) if any(cell != "" for cell in cells)}
    if not filled:
        problems.append("found no row below the names of the columns, expected a row for every scan. Add them.")
    problems += _columns_without_name(header, filled.values())
    numerals = (cell for cells in filled.values() for cell in _of_numbers(columns, cells) if isinstance(cell, str))
    decimal_comma = uses_decimal_comma(numerals, entered.separator)
    image_at = next((i for i, column in enumerate(columns) if column and column.kind == "image"), len(columns))
    rows = []
    whole_scans: list[dict[Column, Any]] = []
    images: dict[int, str | None] = {}
    for number, cells in filled.items():
        name = cells[image_at] if image_at < len(cells) else ""
        if number == 2 and (words := _second_header(columns, cells)):
            problems.append(f"row 2 looks like a second row of names or units ({words}), expected a scan. Delete it.")
            continue
        if isinstance(name, str) and _is_total(name):
            doubts.append(f"row {number} is '{name}', not a scan: it was left out.")
            continue
        num_cells, num_columns = len(entered.rows[number - 1]), len(entered.rows[0])
        if num_cells != num_columns:
            problems.append(
                f"row {number} has {num_cells} cells, but row 1 has {num_columns}. Put cells that hold the separator "
                f"'{entered.separator}' in quotation marks, and separate empty cells, too."
            )
            images[number] = None
            continue
        values, faults = _read_cells(columns, cells, decimal_comma)
        row, conflicts = _row(number, columns, values, faults)
        problems += [f"row {number}, {problem}" for problem in (*faults.values(), *conflicts)]
        images[number] = next((value for column, value in values.items() if column.kind == "image"), None)
        if row is not None:
            rows.append(row)
            whole_scans += [values] * (row.slice is None)
            doubts += [f"row {number}, {size.doubt}" for size in row.sizes.values() if size.doubt]
    if not are_pictures:
        doubts += _single_diameters(whole_scans)
    known = tuple(column for column in columns if column)
    doubts += _circumferences_alone(known)
    table = SizeTable(path, known, tuple(rows), tuple(doubts))
    problems += contradictions(table)
    if problems:
        named = tuple(SizeRow(number, image) for number, image in images.items() if image is not None)
        raise SizeTableError(path, problems, replace(table, rows=named) if len(named) == len(images) else None)
    return table


def _is_total(name: str) -> bool:
    """Return whether all words of a name in place of a scan's path are those of rows that sum up a column."""
    words = re.findall(r"[^\W\d_]+|[\d_/]", name.lower())
    return not TOTALS.isdisjoint(words) and (TOTALS | BESIDE_TOTALS).issuperset(words)


def _with_tags(rows: Sequence[list[Cell]]) -> tuple[list[str], list[list[Cell]]]:
    """Return the structures that a column of tags names; and the rows, each with a cell more for each of these."""
    header, *body = rows
    index = _index(header, TAGS)
    if index is None:
        return [], body
    listed = [_tags(row[index]) if len(row) == len(header) else None for row in body]
    names: dict[str, str] = {}
    for name in (name for of_row in listed for name in of_row or ()):
        names.setdefault(comparable(name), name)
    spread: list[list[Cell]] = []
    for row, of_row in zip(body, listed, strict=True):
        here = None if of_row is None else set(map(comparable, of_row))
        spread.append([*row, *("" if here is None else int(name in here) for name in names)])
    return list(names.values()), spread


def _tags(cell: Cell) -> list[str] | None:
    """Return the structures that a cell lists; ``None`` if they are unknown, or it is faulty, which is told later."""
    if isinstance(cell, ValueError) or is_unknown(cell, "tags"):
        return None
    try:
        return read_tags(cell)
    except ValueError:
        return None


def _index(header: Sequence[Cell], names: Sequence[str]) -> int | None:
    """Return the first column with one of these names."""
    return next((i for i, name in enumerate(header) if isinstance(name, str) and name.strip().lower() in names), None)


def _are_pictures(header: Sequence[Cell], rows: Sequence[Sequence[Cell]]) -> bool:
    """Return whether the column ``image`` names files of pictures."""
    index = _index(header, ["image"])
    if index is None:
        index = _index(header, OF_IMAGES)
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


def _errors_below_1_percent(columns: Sequence[Column | None], numbers: Mapping[int, Sequence[float]]) -> Iterator[str]:
    """Yield a doubt for each column of errors that look like fractions."""
    for index, column in enumerate(columns):
        largest = max(numbers.get(index, [0]))
        if column and column.kind == "error_percent" and 0 < largest < 1:
            yield f"{column}: its numbers are at most {largest:g} percent. Are they fractions? Write 10 for 10 %."


def _single_diameters(rows: Sequence[Mapping[Column, Any]]) -> Iterator[str]:
    """Yield a doubt for each column with diameters that stand alone, in rows of whole scans without an error."""
    alone: dict[Column, int] = {}
    for values in rows:
        with_error = {column.structure for column in values if column.kind == "error_percent"}
        for column, lesions in values.items():
            if column.kind == "diameters_mm" and not (column.bound or with_error & {"", column.structure}):
                alone[column] = alone.get(column, 0) + any(len(lesion) == 1 for lesion in lesions)
    low, high = ELLIPSOID_ERROR[1]
    for column, number in alone.items():
        if number:
            yield (
                f"{column}: {number} of {sum(column in values for values in rows)} cells hold a single diameter, which "
                f"is taken for that of a ball. Organs that were measured have {low:g} to {high:g} times its volume. "
                "State three diameters, or the low and high end of the volume."
            )


def _circumferences_alone(columns: Sequence[Column]) -> Iterator[str]:
    """Yield a doubt for each column with circumferences whose shape no other column tells."""
    shaped = {column.structure for column in columns if column.kind in ("diameters_mm", "smallest_axis_ratio")}
    low, high = circumference_area(1)
    for column in columns:
        if column.kind == "circumference_mm" and column.structure not in shaped:
            yield (
                f"{column} tells the area within {100 * low / high:.0f} to 100 % of a circle's. Where shapes are never "
                f"as flat, a column '{column.structure} smallest_axis_ratio' narrows it: 0.7 gives "
                f"{100 * circumference_area(1, (), 0.7)[0] / high:.0f} to 100 %."
            )


def _columns_without_name(header: Sequence[Cell], rows: Iterable[Sequence[Cell]]) -> list[str]:
    """Return a problem for each column that holds something, but has no name."""
    return [
        f"column {get_column_letter(index + 1)} has no name in row 1. Name it, or clear its cells."
        for index, name in enumerate(header)
        if name == "" and any(cells[index : index + 1] not in ([], [""]) for cells in rows)
    ]


def _of_numbers(columns: Sequence[Column | None], cells: Sequence[Cell]) -> list[Cell]:
    """Return the filled cells of a row in columns of numbers."""
    pairs = zip(columns, cells, strict=False)
    return [cell for column, cell in pairs if column and column.kind in NUMBERS and cell != ""]


def _second_header(columns: Sequence[Column | None], cells: Sequence[Cell]) -> str:
    """Return the words of a row that has no number, yet a word in each filled cell of numbers."""
    filled = _of_numbers(columns, cells)
    words = [cell for cell in filled if isinstance(cell, str) and HEADER_WORD.fullmatch(cell)]
    return ", ".join(f"'{word}'" for word in words[:5]) if len(words) == len(filled) else ""


def _read_cells(
    columns: Sequence[Column | None], cells: Sequence[Cell], decimal_comma: bool
) -> tuple[dict[Column, Any], dict[Column, str]]:
    """Return the values of a row's filled cells, and the problems of others."""
    values: dict[Column, Any] = {}
    faults: dict[Column, str] = {}
    for column, cell in zip(columns, cells, strict=True):
        if column is None or column.kind == "comment":
            continue
        try:
            if not is_unknown(cell, column.kind):
                values |= _values(column, cell, decimal_comma)
            elif column.kind == "image":
                raise ValueError("is empty. Write the path of the scan, or delete the row.")
        except ValueError as e:
            faults[column] = f"{column} {e}"
    return values, faults


def _values(column: Column, cell: Cell, decimal_comma: bool) -> dict[Column, Any]:
    """Return the value of a filled cell, or those of both bounds if it holds a range."""
    ends = ends_of_range(cell) if column.kind in RANGED_KINDS and not column.bound else None
    if ends is None:
        return {column: read_cell(column.kind, cell, decimal_comma)}
    low, high = (read_cell(column.kind, end, decimal_comma) for end in ends)
    if low > high:
        raise ValueError(f"is '{cell}': its low end is above its high end. Exchange or correct them.")
    return {replace(column, bound="low"): low, replace(column, bound="high"): high}


def _row(
    number: int, columns: Sequence[Column | None], values: Mapping[Column, Any], faults: Mapping[Column, str]
) -> tuple[SizeRow | None, list[str]]:
    """
    Return the row, ``None`` if its scan or slice is not known, and the problems of cells that do not fit together.

    Args:
        number: its number.
        columns: the table's columns.
        values: values of its filled cells, without the faulty ones.
        faults: problems of its faulty cells.
    """
    own = {column.kind: value for column, value in values.items() if not column.structure}
    sizes = {}
    clicks: dict[str, list[Any]] = {}
    clicks_px: dict[str, list[Any]] = {}
    problems = []
    for structure in dict.fromkeys(column.structure for column in columns if column and column.structure):
        stated = [column for column in (*values, *faults) if column.structure == structure]
        tag = next((column for column in stated if column.is_tag), None)
        if tag is not None and any(column.kind in SIZE_KINDS for column in stated if column is not tag):
            stated.remove(tag)  # a size says more
        else:
            tag = None
        counted = any(column and (column.kind, column.structure) == ("count", structure) for column in columns)
        conflicts = [*misfits(stated, counted), *of_other_extent(stated, own.get("slice"))]
        problems += conflicts
        if conflicts or faults.keys() & set(stated):
            continue
        try:
            size = stated_size({column: values[column] for column in stated}, own.get("error_percent", 0.0))
        except ValueError as e:
            problems.append(str(e))
            continue
        if size is not None:
            sizes[structure] = size
        if tag is not None and size is not None and not size.mask and (size.high == 0 if values[tag] else size.low > 0):
            problems.append(
                f"{tag} says that '{structure}' is {'present' if values[tag] else 'absent'}, {size.source} the "
                "opposite. Correct one of them."
            )
        clicked = next((column for column in stated if column.kind in CLICK_KINDS), None)
        if clicked is not None and clicked.kind == CLICK_PX:
            clicks_px[structure] = values[clicked]
        elif clicked is not None:
            clicks[structure] = in_ras(values[clicked], clicked.kind)
    if "image" not in own or any(column.kind == "slice" for column in faults):
        return None, problems
    lesion = own.get("lesion")
    if lesion is not None and not sizes and not problems and not faults:
        problems.append(
            f"column 'lesion' is '{lesion}', but no size is filled in, expected that of the lesion. Fill it in, or its "
            "bounds, or delete the row."
        )
    regions = [column for column in values if column.kind in ROI_KINDS]
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
        clicks_px,
        own.get("pixel_mm"),
        _roi(in_ras(values[regions[0]], regions[0].kind)) if regions else None,
        own.get("source"),
    )
    return row, problems


def _roi(place: list[Any]) -> RoiMm:
    return {"box_mm": place} if isinstance(place[0], list) else {"center_mm": place}
