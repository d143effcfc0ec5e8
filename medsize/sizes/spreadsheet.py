"""Cells of a spreadsheet as they were entered, for any program that saved it."""

from __future__ import annotations

import csv
import datetime
import io
import re
import zlib
from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import ParseError
from zipfile import BadZipFile

from openpyxl import load_workbook

__all__ = ["Cell", "parse_number", "read_cells", "uses_decimal_comma"]

Cell = str | int | float | ValueError
"""Content of a cell: a text without spaces around it, "" if empty; a number; or its problem."""

UNREADABLE = (OSError, EOFError, KeyError, RuntimeError, TypeError, ValueError, ParseError, BadZipFile, zlib.error)
"""Exceptions of openpyxl for broken workbooks."""

POINT = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)
COMMA = re.compile(r"[+-]?\d+,\d+")
GROUPED = re.compile(r"[1-9]\d{0,2}[.,]\d{3}")
"""Number that may have a thousands separator or three decimals."""


def read_cells(path: Path, sheet: str | None = None) -> tuple[list[list[Cell]], str]:
    """
    Read a table: CSV (UTF-8; separated by commas, semicolons or tabs) or XLSX.

    Args:
        path: the file. Its ending determines the format.
        sheet: the sheet of a workbook to read. Default: the only one that is not empty.

    Returns:
        the rows, at least one of them filled, and the separator of their cells in the file ("" in a workbook).

    Raises:
        ValueError: when it cannot be read as a table, with the reason and the remedy.
    """
    if not path.is_file():
        raise ValueError("there is no such file.")
    if path.suffix.lower() in (".csv", ".tsv"):
        rows, separator = _read_csv(path)
    elif path.suffix.lower() in (".xlsx", ".xlsm"):
        rows, separator = _read_workbook(path, sheet), ""
    else:
        raise ValueError(f"a '{path.suffix}' file cannot be read as a table. Save it as .xlsx, or as .csv in UTF-8.")
    if all(cell == "" for row in rows for cell in row):
        raise ValueError("it is empty. Name the columns in its first row, and fill in a row for every scan.")
    return rows, separator


def parse_number(text: str, decimal_comma: bool = False) -> float:
    """
    Read a number as a person wrote it, with a decimal point or an unmistakable decimal comma.

    Args:
        text: the number.
        decimal_comma: whether the numbers around it have decimal commas. Then its point may be a thousands separator.

    Raises:
        ValueError: when it is not a number, or may be read in two ways.
    """
    if GROUPED.fullmatch(text) and ("," in text or decimal_comma):
        whole, decimal = re.sub("[.,]", "", text), text.replace(",", ".") + "0"
        raise ValueError(f"it may mean {whole} or {decimal}: write the one that is meant")
    if POINT.fullmatch(text):
        return float(text)
    if COMMA.fullmatch(text):
        return float(text.replace(",", "."))
    raise ValueError("it is not a number")


def uses_decimal_comma(texts: Iterable[str], separator: str) -> bool:
    """
    Return whether a point in these numbers may be a thousands separator.

    It may if one of them certainly has a decimal comma. It also may if they stand between semicolons, and none
    certainly has a decimal point.
    """
    numbers = [n for text in texts for n in re.findall(r"[\d.,]+", text) if not GROUPED.fullmatch(n)]
    return any(COMMA.fullmatch(n) for n in numbers) or (
        separator == ";" and not any("." in n and POINT.fullmatch(n) for n in numbers)
    )


def _read_csv(path: Path) -> tuple[list[list[Cell]], str]:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as e:
        raise ValueError("it is not UTF-8 text. Save it as 'CSV UTF-8' in the spreadsheet program, or as .xlsx.") from e
    first = next(iter(text.splitlines()), "")
    separator = max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        return [[cell.strip() for cell in row] for row in reader], separator
    except csv.Error as e:
        raise ValueError(f"it is not valid CSV: {e} in line {reader.line_num}. Are quotation marks closed?") from e


def _read_workbook(path: Path, sheet: str | None) -> list[list[Cell]]:
    try:
        entered, results = load_workbook(path), load_workbook(path, data_only=True)
    except UNREADABLE as e:
        raise ValueError(f"it cannot be read as XLSX: {e}. Open it in a spreadsheet program, and save it anew.") from e
    sheets = {w.title: w for w in entered.worksheets}
    filled = [name for name, w in sheets.items() if any(v is not None for v in chain(*w.iter_rows(values_only=True)))]
    if sheet is None and len(filled) != 1:
        if not filled:
            return []
        raise ValueError(f"several of its sheets are not empty: {', '.join(filled)}. Name the one to read: sheet=…")
    name = filled[0] if sheet is None else sheet
    if name not in sheets:
        raise ValueError(f"it has no sheet '{name}'. It has: {', '.join(sheets)}.")
    if merged := sheets[name].merged_cells.ranges:
        cells = ", ".join(sorted(str(m) for m in merged))
        raise ValueError(f"cells of the sheet '{name}' are merged: {cells}. Unmerge them, and fill in each cell.")
    rows = zip(sheets[name].iter_rows(), results[name].iter_rows(), strict=True)
    return [[_cell(*pair) for pair in zip(*row, strict=True)] for row in rows]


def _cell(entered: Any, result: Any) -> Cell:
    value = result.value
    if entered.data_type == "f" and value is None:
        formula = getattr(entered.value, "text", entered.value)
        return ValueError(
            f"holds the formula {formula}, whose result is not in the file. Open the file in a spreadsheet program "
            "and save it, or put the number in place of the formula."
        )
    if result.data_type == "e":
        return ValueError(f"holds the error {value}. Correct its formula, or clear the cell.")
    if isinstance(value, datetime.date | datetime.time | datetime.timedelta):
        return ValueError(
            f"holds a date or time, {value}. Spreadsheet programs make dates of entries such as 3-4: format the cell "
            "as text, and enter it again."
        )
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"{100 * value:.15g} %" if "%" in result.number_format else value
    return "" if value is None else str(value).strip()
