"""Columns of a size table: their names, and the values that their cells may hold."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath, PureWindowsPath
from typing import Annotated, Any

from openpyxl.utils import get_column_letter
from pydantic import AfterValidator, BeforeValidator, Field, TypeAdapter, ValidationError, ValidationInfo

from medsize.sizes.spreadsheet import Cell, Shown, parse_number
from medsize.suggest import did_you_mean

__all__ = ["CLICK_KINDS", "SIZE_KINDS", "Column", "read_columns"]

SIZE_KINDS = ("volume_ml", "volume_mm3", "diameters_mm", "fraction", "area_mm2", "mask")
CLICK_KINDS = ("click_mm", "click_lps_mm")
"""Places in scanner mm: RAS+ as in NIfTI, and LPS as in DICOM."""
OWN_COLUMNS = ("image", "subject", "slice", "lesion", "comment", "error_percent")
BETWEEN_LESIONS = re.compile(r"\s*(?:\n|(?<!\de)\+)\s*", re.IGNORECASE)
"""A plus, other than the sign of an exponent, or a new line."""
STRUCTURE_COLUMN = re.compile(
    r"((?P<structure>.+?)[\s_]+)?(?P<kind>volume|diameters?|fraction|area|mask|error|clicks?)"
    r"(([\s_]*[(\[]|[\s_]+)(?!low|high)(?P<unit>[\w%^]+?)[)\]]?)?([\s_]+(?P<bound>low|high))?",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Column:
    """A column of a size table."""

    name: str
    letter: str
    kind: str
    structure: str = ""
    """Name of the structure, written as in its first column. Empty if the column is about the whole row."""
    bound: str = ""
    """{``"low"``, ``"high"``}, or empty if the size itself is stated."""

    def __str__(self) -> str:
        return f"column '{self.name}' ({self.letter})"

    def read(self, cell: Cell, decimal_comma: bool) -> Any:
        """
        Read a cell of this column.

        Args:
            cell: a cell that is not empty.
            decimal_comma: see :func:`medsize.sizes.spreadsheet.parse_number`.

        Raises:
            ValueError: with the content of the cell, its fault and the remedy.
        """
        if isinstance(cell, ValueError):
            raise cell
        if isinstance(cell, Shown):
            if (unit := _plain_unit(cell.text)) not in UNITS.get(self.kind, {unit}):
                expected = f"expected {self.name.split()[-1]}. Convert the number, and correct the cell's format."
                raise ValueError(f"is {float(cell):.15g}, but shown with '{cell.text}': {expected}")
            cell = float(cell)
        try:
            return CELLS[self.kind].validate_python(cell, context={"decimal_comma": decimal_comma})
        except ValidationError as e:
            reason = e.errors()[0]["msg"].removeprefix("Value error, ")
            raise ValueError(f"is '{cell}': {reason[0].lower()}{reason[1:]}. {EXPECTED[self.kind]}") from e


def read_columns(header: Sequence[Cell]) -> tuple[list[Column | None], list[str]]:
    """
    Read the columns from the first row of a size table.

    Returns:
        one column for each cell, ``None`` if its name is missing or faulty; and the problems of the names.
    """
    columns: list[Column | None] = []
    problems = []
    structures: dict[str, str] = {}
    for index, cell in enumerate(header):
        letter = get_column_letter(index + 1)
        column = None
        try:
            if cell != "":
                column = _column(cell, letter, structures)
                twin = next((c for c in columns if c and _meaning(c) == _meaning(column)), None)
                if twin is not None:
                    raise ValueError(f"has the same meaning as {twin}. Delete one of them.")
        except ValueError as e:
            name = "" if isinstance(cell, ValueError) else f"'{cell}' "
            problems.append(f"row 1, column {name}({letter}) {e}")
            column = None
        columns.append(column)
    if not any(column and column.kind == "image" for column in columns):
        problems.append("row 1 names no column 'image', expected one with the paths of the scans. Name the columns.")
    if not problems and not any(column and column.kind in SIZE_KINDS for column in columns):
        problems.append("row 1 names no column of a size, such as 'liver volume_ml'. Add one for each structure.")
    sized = {column.structure for column in columns if column and column.kind in SIZE_KINDS}
    problems += [
        f"row 1, {column} is an error without a size. Add a column '{column.structure} volume_ml', or another size."
        for column in columns
        if column and column.structure and column.structure not in sized
    ]
    return columns, problems


def _meaning(column: Column) -> tuple[str, str, str]:
    return column.kind, column.structure, column.bound


def _column(cell: Cell, letter: str, structures: dict[str, str]) -> Column:
    if isinstance(cell, ValueError):
        raise cell
    name = _text(cell)
    plain = " ".join(unicodedata.normalize("NFKC", name).split())  # mm³ becomes mm3
    if plain.lower() in OWN_COLUMNS:
        return Column(name, letter, plain.lower())
    match = STRUCTURE_COLUMN.fullmatch(plain)
    if match is None:
        examples = [*OWN_COLUMNS, *(f"{plain.rsplit(' ', 1)[0]} {kind}" for kind in SIZE_KINDS)]
        raise ValueError(
            f"is not known.{did_you_mean(plain.lower(), examples, cutoff=0.8)} Delete it, or rename it to one of "
            f"{', '.join(OWN_COLUMNS)}, or to a structure's name and one of {', '.join(SIZE_KINDS)}, "
            "such as 'liver volume_ml', with 'low' or 'high' behind it for a bound."
        )
    structure = match["structure"] or ""
    structure = structures.setdefault(" ".join(re.split(r"[\s_]+", structure.lower())), structure)
    stem = (
        match["kind"]
        .lower()
        .replace("diameters", "diameter")
        .replace("diameter", "diameters")
        .replace("clicks", "click")
    )
    unit = (match["unit"] or "").lower().replace("^", "").replace("%", "percent")
    kind = f"{stem}_{unit}" if unit else stem
    bound = (match["bound"] or "").lower()
    kinds = (*SIZE_KINDS, *CLICK_KINDS, "error_percent")
    if kind not in kinds:
        known = " or ".join(f"'{structure} {k}'".strip() for k in kinds if k.startswith(stem))
        fault = f"has the unknown unit '{match['unit']}'" if unit else "names no unit"
        raise ValueError(f"{fault}. Convert its numbers where necessary, and name it {known}. 1 cm³ is 1 mL.")
    if structure == "" and kind != "error_percent":
        raise ValueError(f"names no structure. Rename it, for example to 'liver {kind}'.")
    if structure.lower() == "background":
        raise ValueError("is for the background, whose size is the rest of the scan. Delete it.")
    if bound and kind in ("mask", "error_percent", *CLICK_KINDS):
        raise ValueError(f"is a bound of a {kind}, which cannot have bounds. Name it '{structure} {kind}'.")
    return Column(name, letter, kind, structure, bound)


def _plain_unit(text: str) -> str:
    return unicodedata.normalize("NFKC", text).lower().replace("^", "").strip(" .()[]")


def _text(cell: str | int | float) -> str:
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell)


def _number(cell: str | int | float, info: ValidationInfo) -> float:
    context: dict[str, bool] = info.context or {}
    return parse_number(cell, **context) if isinstance(cell, str) else cell


def _fraction(cell: str | int | float, info: ValidationInfo) -> float:
    if isinstance(cell, str) and cell.endswith("%"):
        return parse_number(cell[:-1].strip()) / 100
    return _number(cell, info)


def _percentage(cell: str | int | float, info: ValidationInfo) -> float:
    return _number(cell.strip("±% ") if isinstance(cell, str) else cell, info)


def _lesions(cell: str | int | float) -> list[Any]:
    """Return the parts of a cell, one for each lesion."""
    return BETWEEN_LESIONS.split(cell.lstrip("+")) if isinstance(cell, str) else [cell]


def _sizes(cell: str | int | float, info: ValidationInfo) -> list[float]:
    return [_number(part, info) for part in _lesions(cell)]


def _fractions(cell: str | int | float, info: ValidationInfo) -> list[float]:
    return [_fraction(part, info) for part in _lesions(cell)]


def _sum_of_fractions(fractions: list[float]) -> float:
    if (total := math.fsum(fractions)) > 1:
        raise ValueError(f"they sum to {total:g}, above 1")
    return total


def _diameters(cell: str | int | float, info: ValidationInfo) -> list[list[float]]:
    return [_diameters_of_one(part, info) for part in _lesions(cell)]


def _diameters_of_one(part: str | int | float, info: ValidationInfo) -> list[float]:
    if not isinstance(part, str):
        return [part]
    if ";" in part:
        raise ValueError("it may mean one lesion or several")
    parts = re.split(r"\s*[x×]\s*", part, flags=re.IGNORECASE)
    if len(parts) > 3:
        raise ValueError(f"there are {len(parts)} diameters")
    if len(parts) == 1 and "," in part:
        raise ValueError("it may mean one diameter or two")
    return [_number(diameter, info) for diameter in parts]


def _places(cell: str | int | float, info: ValidationInfo) -> list[Any]:
    """Return the points ``[x, y, z]`` and lines ``[[x, y, z], [x, y, z]]`` of a cell."""
    places: list[Any] = []
    for place in filter(None, (part.strip() for part in _text(cell).split(";"))):
        ends = [_point(end, info) for end in re.split(r"\s+to\s+|\s*(?:->|→)\s*", place)]
        if len(ends) > 2:
            raise ValueError(f"'{place}' is a line with {len(ends)} ends")
        places.append(ends if len(ends) == 2 else ends[0])
    return places


def _point(text: str, info: ValidationInfo) -> list[float]:
    parts = text.strip("()[] ").split()
    if len(parts) == 1:
        parts = parts[0].split(",")
    if len(parts) != 3:
        raise ValueError(f"'{text}' has {len(parts)} coordinates")
    return [_number(part.strip(","), info) for part in parts]


def _path_below(cell: str | int | float) -> str:
    path = _text(cell).replace("\\", "/")  # as Windows writes it
    if path.startswith("/") or PureWindowsPath(path).drive or ".." in PurePosixPath(path).parts:
        raise ValueError("it is outside the data set's folder")
    return str(PurePosixPath(path))


NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Size = TypeAdapter(Annotated[list[NotNegative], BeforeValidator(_sizes), AfterValidator(math.fsum)])
Fraction = TypeAdapter(
    Annotated[list[Annotated[float, Field(ge=0, le=1)]], BeforeValidator(_fractions), AfterValidator(_sum_of_fractions)]
)
Diameters = list[Annotated[float, Field(gt=0, allow_inf_nan=False)]]
RelativePath = TypeAdapter(Annotated[str, BeforeValidator(_path_below)])
CELLS: dict[str, TypeAdapter] = {
    "image": RelativePath,
    "subject": TypeAdapter(Annotated[str, BeforeValidator(_text)]),
    "slice": TypeAdapter(Annotated[int, BeforeValidator(_number), Field(ge=0)]),
    "lesion": TypeAdapter(Annotated[str, BeforeValidator(_text)]),
    "comment": TypeAdapter(Any),
    "error_percent": TypeAdapter(Annotated[float, BeforeValidator(_percentage), Field(ge=0, lt=100)]),
    "volume_ml": Size,
    "volume_mm3": Size,
    "diameters_mm": TypeAdapter(Annotated[list[Diameters], BeforeValidator(_diameters)]),
    "fraction": Fraction,
    "area_mm2": Size,
    "mask": RelativePath,
    **dict.fromkeys(CLICK_KINDS, TypeAdapter(Annotated[list[Any], BeforeValidator(_places)])),
}

UNITS = {
    "volume_ml": {"ml", "milliliter", "millilitre", "cm3", "ccm", "cc"},
    "volume_mm3": {"mm3", "cmm"},
    "diameters_mm": {"mm", "millimeter", "millimetre"},
    "area_mm2": {"mm2"},
    "fraction": set(),
    "error_percent": {"percent", "%"},
}
"""Units that a cell's format may show, by the kind of its column; in other columns it may show anything."""
EMPTY_OR_ZERO = "leave the cell empty where the size is unknown, and write 0 where the structure is absent."
PATH = "Write a path from the data set's folder, such as scans/scan_01.nii.gz."
EXPECTED = {
    "image": PATH,
    "slice": "Write the number of the slice, from 0 along the last axis, or leave the cell empty for the whole scan.",
    "error_percent": "Write the reader's error in percent, from 0 to less than 100.",
    "volume_ml": f"Write the volume in mL, such as 1510 or 12.5; {EMPTY_OR_ZERO}",
    "volume_mm3": f"Write the volume in mm³, such as 1510000; {EMPTY_OR_ZERO}",
    "diameters_mm": (
        "Write 1 to 3 diameters in mm, such as 34 x 28 x 40.5, with + between several lesions, as in 12 x 9 + 15; "
        "leave the cell empty where they are unknown, and write 0 in a column 'STRUCTURE volume_ml' where the "
        "structure is absent."
    ),
    "fraction": f"Write a fraction of the original field of view, such as 0.04 or 4 %; {EMPTY_OR_ZERO}",
    "area_mm2": f"Write the area in mm², such as 320.5; {EMPTY_OR_ZERO}",
    "mask": PATH,
    **dict.fromkeys(
        CLICK_KINDS,
        "Write x y z in mm, as in 12.5 -30 44; several points with semicolons between them; a line as 0 1 2 to 3 4 2.",
    ),
}
"""Advice for a faulty cell, by the kind of its column."""
