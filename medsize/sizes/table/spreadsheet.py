"""Cells of a spreadsheet as they were entered, for any program that saved it."""

from __future__ import annotations

import csv
import datetime
import io
import re
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import ParseError
from zipfile import ZIP_DEFLATED, BadZipFile, ZipFile

from openpyxl import load_workbook

__all__ = ["TABLE_ENDINGS", "Cell", "Cells", "Shown", "csv_rows", "parse_number", "read_cells", "uses_decimal_comma"]

TEXT_ENDINGS, WORKBOOK_ENDINGS = (".csv", ".tsv"), (".xlsx", ".xlsm")
TABLE_ENDINGS = (*TEXT_ENDINGS, *WORKBOOK_ENDINGS)
"""Endings of files that :func:`read_cells` reads."""


class Shown(float):
    """Number of a workbook's cell whose format shows a text with it, such as a unit."""

    def __new__(cls, value: float, text: str) -> Shown:
        number = super().__new__(cls, value)
        number.text = text
        return number

    text: str
    """Words that the format adds, such as ``"cm"``."""

    def __str__(self) -> str:
        return f"{float(self):.15g} {self.text}"


Cell = str | int | float | ValueError
"""Content of a cell: a text without spaces around it, "" if empty; a number; or its problem."""

UNREADABLE = (
    *(OSError, EOFError, AttributeError, KeyError, RuntimeError, TypeError, ValueError),
    *(ParseError, BadZipFile, zlib.error),
)
"""Exceptions of openpyxl for broken workbooks."""

POINT = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)
COMMA = re.compile(r"[+-]?\d+,\d+")
GROUPED = re.compile(r"[1-9]\d{0,2}[.,]\d{3}")
"""Number that may have a thousands separator or three decimals."""
BOTH = re.compile(r"[+-]?[1-9]\d{0,2}((\.\d{3})+,\d+|(,\d{3})+\.\d+)")
"""Number with thousands separators and the other mark before its decimals: it has one reading."""
LITERALS = re.compile(r'"([^"]*)"|\\(.)|\[\$([^\]-]*)[^\]]*\]|\[[^\]]*\]|[_*].')
"""Parts of a number format that are shown as they are; and colours, conditions and spaces, which are not."""


SEPARATOR = re.compile(r'"?sep=([,;\t|])"?[,;\t]*\r?\n', re.IGNORECASE)
"""First line of a CSV file for Excel, which shows it as no row."""
SHEET = re.compile(r"xl/worksheets/[^/]+\.xml")
CHART_SHEET = re.compile(r"xl/chartsheets/([^/]+\.xml)")
NO_CHARTS = '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"/>'
"""List of charts that openpyxl expects beside each chart sheet; Excel writes none for a sheet without a chart."""
BLANK_CELL = re.compile(rb"<(?:\w+:)?c(?: [^<>]*)?(?:/>|>(?:<(?:\w+:)?v */>)?</(?:\w+:)?c>)")
BLANK_ROW = re.compile(rb"<(?:\w+:)?row(?: [^<>]*)?(?:/>|>\s*</(?:\w+:)?row>)")
MANY_BYTES = 2**20
"""Bytes of a sheet above which its blank cells are left out before it is read."""


@dataclass(frozen=True)
class Cells:
    """Cells of a table."""

    rows: list[list[Cell]]
    """At least one of them is filled."""
    separator: str = ""
    """Separator of cells in the file; "" in a workbook."""
    doubts: tuple[str, ...] = ()
    """Rows that a person may have meant to leave out: hidden and struck ones."""


def read_cells(path: Path, sheet: str | None = None) -> Cells:
    """
    Read a table: CSV (UTF-8; separated by commas, semicolons or tabs, or as a first line ``sep=;`` says) or XLSX.

    Args:
        path: the file. Its ending determines the format.
        sheet: the sheet of a workbook to read. Default: the only one that is not empty.

    Raises:
        ValueError: when it cannot be read as a table, with the reason and the remedy.
    """
    if not path.is_file():
        raise ValueError("there is no such file.")
    if path.suffix.lower() in TEXT_ENDINGS:
        rows, separator = csv_rows(path)
        cells = Cells([[*row] for row in rows], separator)
        if sheet is not None:
            raise ValueError(f"it is a text file, which has no sheet '{sheet}'. Leave --sheet out.")
    elif path.suffix.lower() in WORKBOOK_ENDINGS:
        cells = _read_workbook(path, sheet)
    else:
        raise ValueError(f"a '{path.suffix}' file cannot be read as a table. Save it as .xlsx, or as .csv in UTF-8.")
    if all(cell == "" for row in cells.rows for cell in row):
        raise ValueError("it is empty. Name the columns in its first row, and fill in a row for every scan.")
    return cells


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
    if BOTH.fullmatch(text):
        thousands = "." if has_decimal_comma(text) else ","
        text = text.replace(thousands, "")
    if POINT.fullmatch(text):
        return float(text)
    if COMMA.fullmatch(text):
        return float(text.replace(",", "."))
    raise ValueError("it is not a number")


def has_decimal_comma(number: str) -> bool:
    """Return whether a number certainly has a decimal comma."""
    return bool(COMMA.fullmatch(number) or (BOTH.fullmatch(number) and number.rfind(",") > number.rfind(".")))


def uses_decimal_comma(texts: Iterable[str], separator: str) -> bool:
    """
    Return whether a point in these numbers may be a thousands separator.

    It may if one of them certainly has a decimal comma. It also may if they do not stand between commas, and none
    certainly has a decimal point.
    """
    numbers = [n for text in texts for n in re.findall(r"[\d.,]+", text) if not GROUPED.fullmatch(n)]
    pointed = ("." in n and (POINT.fullmatch(n) or BOTH.fullmatch(n)) for n in numbers if not has_decimal_comma(n))
    return any(map(has_decimal_comma, numbers)) or (separator != "," and not any(pointed))


def csv_rows(path: Path) -> tuple[list[list[str]], str]:
    """
    Return the cells of a text file, stripped, and the separator between them: a comma, semicolon or tab.

    Args:
        path: the file, in UTF-8. A line ``sep=;`` at its beginning may name the separator.

    Raises:
        ValueError: without the name of the file, when it is not UTF-8 text or not valid CSV.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as e:
        raise ValueError("it is not UTF-8 text. Save it as 'CSV UTF-8' in the spreadsheet program, or as .xlsx.") from e
    # A title above the names of the columns may hold none.
    first = next((line for line in text.splitlines() if re.search("[,;\t]", line)), "")
    separator = max(",;\t", key=first.count)
    if stated := SEPARATOR.match(text):
        separator, text = stated[1], text[stated.end() :]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        return [[cell.strip() for cell in row] for row in reader], separator
    except csv.Error as e:
        raise ValueError(f"it is not valid CSV: {e} in line {reader.line_num}. Are quotation marks closed?") from e


def _read_workbook(path: Path, sheet: str | None) -> Cells:
    try:
        source = _readable_workbook(path)
        entered, results = load_workbook(source), load_workbook(source, data_only=True)
    except UNREADABLE as e:
        raise ValueError(
            f"it cannot be read as XLSX: {e}. Open it in a spreadsheet program, and save it anew, or as .csv in UTF-8."
        ) from e
    sheets = {w.title: w for w in entered.worksheets}
    used = {name: _used(w) for name, w in sheets.items()}
    filled = [name for name, size in used.items() if size != (0, 0)]
    if sheet is None and len(filled) != 1:
        if not filled:
            return Cells([])
        raise ValueError(
            f"several of its sheets are not empty: {', '.join(filled)}. Name the one to read: --sheet '{filled[0]}'"
        )
    name = filled[0] if sheet is None else sheet
    if name not in sheets:
        raise ValueError(f"it has no sheet '{name}'. It has: {', '.join(sheets)}.")
    if merged := sheets[name].merged_cells.ranges:
        cells = ", ".join(sorted(str(m) for m in merged))
        raise ValueError(
            f"cells of the sheet '{name}' are merged: {cells}. Unmerge them, and fill in each cell; "
            "delete rows above the names of the columns."
        )
    last_row, last_column = used[name]
    if not last_row:
        return Cells([])
    size = {"max_row": last_row, "max_col": last_column}
    rows = zip(sheets[name].iter_rows(**size), results[name].iter_rows(**size), strict=True)
    table = [[_cell(*pair) for pair in zip(*row, strict=True)] for row in rows]
    return Cells(table, doubts=tuple(_doubtful_rows(sheets[name], table)))


def _readable_workbook(path: Path) -> Path | io.BytesIO:
    """
    Return a workbook without the cells that have a format alone: a column may have a million of them.

    A chart sheet without a chart gets a list of none. It is the file itself where neither has to be.
    """
    with ZipFile(path) as archive:
        large = {i.filename for i in archive.infolist() if SHEET.fullmatch(i.filename) and i.file_size > MANY_BYTES}
        charts = {f"xl/chartsheets/_rels/{m[1]}.rels" for m in map(CHART_SHEET.fullmatch, archive.namelist()) if m}
        lists = charts - set(archive.namelist())
        if not (large or lists):
            return path
        kept = io.BytesIO()
        with ZipFile(kept, "w", ZIP_DEFLATED, compresslevel=1) as copy:
            for name in archive.namelist():
                with archive.open(name) as source, copy.open(name, "w") as target:
                    tail = b""
                    while block := source.read(4 * 2**20):
                        rows, start, tail = (tail + block).rpartition(b"<row ") if name in large else (block, b"", b"")
                        target.write(BLANK_ROW.sub(b"", BLANK_CELL.sub(b"", rows)) if name in large else rows)
                        tail = start + tail
                    target.write(tail)
            for name in lists:
                copy.writestr(name, NO_CHARTS)
    kept.seek(0)
    return kept


def _used(sheet: Any) -> tuple[int, int]:
    """Return the last row and column with a value; others may have a format alone, down to the sheet's last corner."""
    filled = [at for at, cell in sheet._cells.items() if cell.value is not None]
    return max((row for row, _ in filled), default=0), max((column for _, column in filled), default=0)


def _doubtful_rows(sheet: Any, table: list[list[Cell]]) -> Iterator[str]:
    """Yield a doubt for the filled rows below the first that are hidden, and for those that are struck through."""
    filled = [number for number, row in enumerate(table, start=1) if number > 1 and any(cell != "" for cell in row)]
    dimensions = {n: sheet.row_dimensions[n] for n in filled if n in sheet.row_dimensions}
    hidden = [n for n, row in dimensions.items() if row.hidden or row.height == 0]
    struck = [
        n
        for n in filled
        if any(cell.value is not None and cell.font is not None and cell.font.strike for cell in sheet[n])
    ]
    by_filter = ", by a filter or by hand," if sheet.auto_filter.ref else ""
    for rows, how in ((hidden, f"hidden{by_filter}"), (struck, "struck through")):
        if rows:
            named = ", ".join(map(str, rows[:10])) + (f" and {len(rows) - 10} more" if len(rows) > 10 else "")
            yield (
                f"row{'s' if len(rows) > 1 else ''} {named} of the sheet '{sheet.title}' "
                f"{'are' if len(rows) > 1 else 'is'} {how} but read like the others. Delete what does not count."
            )


def _cell(entered: Any, result: Any) -> Cell:
    value = result.value
    is_empty_text = result.data_type == "str"  # openpyxl gives None for the result "", too
    if entered.data_type == "f" and value is None and not is_empty_text:
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
        return _shown(value, result.number_format)
    return "" if value is None else str(value).strip()


def _shown(value: int | float, number_format: str) -> Cell:
    """Return a number with the words that its format shows beside it; a person reads both."""
    sections = number_format.split(";")
    section = sections[1 if value < 0 and len(sections) > 1 else 2 if value == 0 and len(sections) > 2 else 0]
    text = "".join(first or second or third for first, second, third in LITERALS.findall(section)).strip()
    code = LITERALS.sub("", section)
    if "%" in code:
        return f"{100 * value:.15g} %"
    if scaled := re.search(r"[0#?](,+)(?![0#?,])", code):
        shown = f"{value / 1000 ** len(scaled[1]):.4g} {text}".rstrip()
        return ValueError(f"holds {value:.15g}, but its format shows {shown}. Give it a plain number format.")
    return Shown(value, text) if re.search(r"[^\W\d_]|%", text) else value
