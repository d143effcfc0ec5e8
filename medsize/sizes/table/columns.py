"""Columns of a size table: their names, and the values that their cells may hold."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from openpyxl.utils import get_column_letter

from medsize.sizes.table.cells import KINDS_BESIDE_SIZES, ROI_KINDS, SIZE_KINDS, as_text
from medsize.sizes.table.spreadsheet import Cell, parse_number
from medsize.suggest import did_you_mean, first_few

__all__ = ["OF_IMAGES", "TAGS", "Column", "comparable", "late_header", "read_columns"]

OWN_COLUMNS = ("image", "subject", "slice", "lesion", "comment", "source", "error_percent", "pixel_mm", *ROI_KINDS)
TAGS = ("present", "classes", "tags")
"""Names of a column that lists the structures in a scan."""
NO_STRUCTURES = ("background", "ignored", "ignore", "void")
"""Columns beside fractions that are of no structure."""
WITHOUT_BOUNDS = ("mask", "present", *KINDS_BESIDE_SIZES)
SIZE_BESIDE = {"count": "area_um2", "smallest_axis_ratio": "circumference_mm"}
"""Size that a column is usually beside, by its kind."""
STRUCTURE_COLUMN = re.compile(
    r"((?P<structure>.+)[\s_]+)?"
    r"(?P<kind>volume|vol\.?|diameters?|fraction|area|circumference|count|mask|present|error|clicks?|"
    r"smallest[\s_]axis[\s_]ratio)"
    r"(([\s_]*[(\[]|[\s_]+)(?!low|high)(?P<unit>[\w%^]+?)[)\]]?)?([\s_]+(?P<bound>low|high))?",
    re.IGNORECASE,
)
UNIT_ALONE = re.compile(
    r"(?P<structure>.+?)([\s_]*[(\[]|[\s_]+)"
    r"(?P<unit>ml|cc|ccm|[mc]m\^?3|(?P<of_area>[cmu\N{GREEK SMALL LETTER MU}]m\^?2))[)\]]?(?P<bound>[\s_]+(low|high))?",
    re.IGNORECASE,
)
"""A structure and a unit that only volumes or only areas have."""
ROI_COLUMN = re.compile(r"((?P<structure>.+)[\s_]+)?roi([\s_(\[]+\w+[)\]]?)?", re.IGNORECASE)
STEMS = {"diameter": "diameters", "clicks": "click", "vol": "volume", "vol.": "volume"}
OF_IMAGES = ("scan", "scans", "file", "filename", "file_name", "filepath", "path", "image_path")
OTHER_NAMES = {
    **dict.fromkeys(OF_IMAGES, "image"),
    **dict.fromkeys(("patient", "patient_id", "patientid", "subject_id"), "subject"),
}
"""Columns as people name them, by words that are not alike."""
WORDS_BEFORE = re.compile(r"(volume|area) of (the )?", re.IGNORECASE)
"""Words before a structure whose unit tells them."""
MAX_ABOVE = 10
"""Rows among which the names of the columns are looked for."""
ROUNDED = 1e-3
"""Part by which rounded fractions may sum to more than 1."""
UNITS = {"%": "percent", "\N{GREEK SMALL LETTER MU}m2": "um2", "pixel": "px", "pixels": "px"}
"""Units as people write them."""


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
    is_tag: bool = False
    """True for what a column of tags says of the structure."""

    def __str__(self) -> str:
        return f"column '{self.name}' ({self.letter})"


def late_header(rows: Sequence[Sequence[Cell]]) -> str:
    """Return a problem if the names of the columns stand below the first row, as under a title; else an empty text."""
    above = rows[:MAX_ABOVE]
    found = [n for n, row in enumerate(above, start=1) if _has_scans(_names(row))]
    if not found and len(_names(above[0])) < 2:  # a title, or nothing: the names may be in other words
        found = [n for n, row in enumerate(above, start=1) if len(_names(row)) > 1 and not any(map(_is_number, row))]
    number = found[0] if found else 1
    if number == 1:
        return ""
    named = first_few([f"'{name}'" for name in _names(above[number - 1])])
    return (
        f"row {number} looks like the names of the columns ({named}), expected them in row 1. "
        f"Delete the row{'s' * (number > 2)} above."
    )


def _names(row: Sequence[Cell]) -> list[str]:
    return [as_text(cell) for cell in row if cell != "" and not isinstance(cell, ValueError)]


def _is_number(cell: Cell) -> bool:
    if isinstance(cell, str):
        try:
            parse_number(cell)
        except ValueError:
            return False
    return cell != "" and not isinstance(cell, ValueError)


def _has_scans(names: Sequence[str]) -> bool:
    """Return whether these are several, one of them that of the column of scans."""
    words = [re.sub(r"[\s_]+", "_", name.lower()) for name in names]
    return len(words) > 1 and any(OTHER_NAMES.get(word, word) == "image" for word in words)


def read_columns(
    header: Sequence[Cell],
    numbers: Mapping[int, Sequence[float]] | None = None,
    of_pictures: bool = False,
    tags: Iterable[str] = (),
) -> tuple[list[Column | None], list[str], list[str]]:
    """
    Read the columns from the first row of a size table.

    Args:
        header: cells of the row.
        numbers: the numbers below it, by the index of their column; used to advise on unknown names.
        of_pictures: whether all rows name files of pictures. Then columns of unknown names are fractions if all of
            their numbers are from 0 to 1, and those of a row together at most 1.
        tags: structures that the cells of a column of tags name, each once.

    Returns:
        one column for each cell, ``None`` if its name is missing or faulty, and for each of the tags; the problems of
        the names; and remarks on columns that were read as fractions, or as scans and subjects by another word.
    """
    columns: list[Column | None] = []
    problems = []
    structures: dict[str, str] = {}
    unknown: dict[int, str] = {}
    others = {as_text(cell).lower() for cell in header if not isinstance(cell, ValueError)}
    for index, cell in enumerate(header):
        letter = get_column_letter(index + 1)
        column = None
        try:
            if cell != "":
                column = _column(cell, letter, structures)
                twin = next((c for c in columns if c and _meaning(c) == _meaning(column)), None)
                if twin is not None:
                    raise ValueError(f"has the same meaning as {twin}. Delete one of them.")
        except _UnknownNameError as e:
            meant = _meant(cell)
            hint = f" Did you mean '{meant}'?" if meant and meant not in others else ""
            unknown[index] = f"{hint}{e}"
        except ValueError as e:
            name = "" if isinstance(cell, ValueError) else f"'{cell}' "
            problems.append(f"row 1, column {name}({letter}) {e}")
            column = None
        columns.append(column)
    for index, cell in enumerate(header):
        if index in unknown and _is_count_beside_fraction(cell, columns, (numbers or {}).get(index)):
            name = as_text(cell)  # type: ignore[arg-type]
            columns[index] = Column(name, get_column_letter(index + 1), "count", structures[comparable(name)])
            del unknown[index]
    for name in tags:
        try:
            column = _of_tag(name, columns, structures)
        except ValueError as e:
            problems.append(f"row 1, {e}")
            column = None
        columns.append(column)
    doubts = list(_named_otherwise(header, unknown, columns))
    if of_pictures and (parts := _fractions_by_name(unknown, numbers or {})):
        named = []
        for index in parts:
            name, letter = as_text(header[index]), get_column_letter(index + 1)  # type: ignore[arg-type]
            is_structure = comparable(name) not in NO_STRUCTURES
            if is_structure:
                structure = structures.setdefault(comparable(name), name)
                named.append(f"'{name}' ({letter})")
            columns[index] = Column(name, letter, *(("fraction", structure) if is_structure else ("comment",)))
            del unknown[index]
        doubts.append(
            f"the columns {first_few(named)} say no unit, and were read as fractions of the pictures: their numbers "
            "are from 0 to 1."
        )
    problems += _of_unknown_names(header, unknown, numbers or {}, structures)
    if not any(column and column.kind == "image" for column in columns):
        problems.append(
            "row 1 names no column 'image', expected one that tells the scan of each row: its path, its name, its "
            "folder or its PatientID. Name the columns."
        )
    if not problems and not any(column and column.kind in SIZE_KINDS for column in columns):
        problems.append("row 1 names no column of a size, such as 'liver volume_ml'. Add one for each structure.")
    sized = {comparable(column.structure) for column in columns if column and column.kind in SIZE_KINDS}
    sized |= {comparable(as_text(header[index])) for index in unknown}  # type: ignore[arg-type]
    problems += [
        f"row 1, {column} is {_kind_in_words(column.kind)} without a size. Add a column "
        f"'{column.structure} {SIZE_BESIDE.get(column.kind, 'volume_ml')}', or another size."
        for column in columns
        if column and column.structure and comparable(column.structure) not in sized
    ]
    return columns, problems, doubts


def _meant(name: Cell) -> str | None:
    """Return the column that a usual other word names."""
    return None if isinstance(name, ValueError) else OTHER_NAMES.get(re.sub(r"[\s_]+", "_", as_text(name).lower()))


def _named_otherwise(header: Sequence[Cell], unknown: dict[int, str], columns: list[Column | None]) -> Iterator[str]:
    """
    Yield a remark for the column of scans, and one for that of subjects, if a usual other word names it.

    They are added to the columns, and no longer unknown. Without a column of scans, subjects may stand in its place:
    then these stay unknown.

    Args:
        header: cells of the first row.
        unknown: message for each column of an unknown name, by its index.
        columns: the columns, ``None`` where they are unknown.
    """
    for kind in ("image", "subject"):
        named = {column.kind for column in columns if column}
        alike = [index for index in unknown if _meant(header[index]) == kind]
        if kind in named or len(alike) != 1 or (kind == "subject" and "image" not in named):
            continue
        (index,) = alike
        del unknown[index]
        columns[index] = column = Column(as_text(header[index]), get_column_letter(index + 1), kind)  # type: ignore[arg-type]
        yield f"{column} was read as '{kind}'."


def _fractions_by_name(unknown: Iterable[int], numbers: Mapping[int, Sequence[float]]) -> list[int]:
    """Return the columns of unknown names that hold fractions of pictures, all filled, none if they may be another."""
    parts = [index for index in unknown if numbers.get(index)]
    if not parts or len({len(numbers[index]) for index in parts}) > 1:
        return []
    sums = [sum(row) for row in zip(*(numbers[index] for index in parts), strict=True)]
    values = [n for index in parts for n in numbers[index]]
    is_fraction = min(values) >= 0 and max(sums) <= 1 + ROUNDED and any(0 < n < 1 for n in values)
    return parts if is_fraction else []


def _is_count_beside_fraction(name: Cell, columns: Sequence[Column | None], numbers: Sequence[float] | None) -> bool:
    """
    Return whether a column is a count: whole numbers below a structure's name alone, whose size is a fraction.

    Beside an area it is not read as one, as that would make the area the mean of one object.
    """
    if isinstance(name, ValueError) or not numbers or not all(n >= 0 and float(n).is_integer() for n in numbers):
        return False
    of_structure = [c for c in columns if c and c.structure and comparable(c.structure) == comparable(as_text(name))]
    return {c.kind for c in of_structure if c.kind in (*SIZE_KINDS, "count")} == {"fraction"}


def _of_tag(name: str, columns: Sequence[Column | None], structures: dict[str, str]) -> Column:
    """Return what the column of tags says of a structure, as a column that bears its name."""
    tags = next(column for column in columns if column and column.kind == "tags")
    if comparable(name) == "background":
        raise ValueError(f"{tags} lists 'background', which is the rest of the scan. Delete it there.")
    structure = structures.setdefault(comparable(name), name)
    twin = next((c for c in columns if c and (c.kind, c.structure) == ("present", structure)), None)
    if twin is not None:
        raise ValueError(f"{tags} lists '{name}', whose presence {twin} states, too. Delete one of them.")
    return Column(tags.name, tags.letter, "present", structure, is_tag=True)


class _UnknownNameError(ValueError):
    """Error of a column whose name says no kind."""


def _kind_in_words(kind: str) -> str:
    return {"error_percent": "an error", "count": "a count", "smallest_axis_ratio": "an axis ratio"}.get(
        kind, "a click"
    )


def _of_unknown_names(
    header: Sequence[Cell],
    unknown: Mapping[int, str],
    numbers: Mapping[int, Sequence[float]],
    structures: Iterable[str],
) -> Iterator[str]:
    """
    Yield the problems of columns with unknown names, and guess at their kind by the numbers below.

    Args:
        header: cells of the first row.
        unknown: message for each of the columns, by its index.
        numbers: see :func:`read_columns`.
        structures: names of structures in other columns, as :func:`comparable` has them.
    """
    where = {index: f"'{header[index]}' ({get_column_letter(index + 1)})" for index in unknown}
    parts = [index for index in unknown if numbers.get(index) and all(0 <= n <= 1 for n in numbers[index])]
    within = [n for index in parts for n in numbers[index]]
    if all(n in (0, 1) for n in within):
        parts = []
    if parts:
        words = ("columns", "are") if len(parts) > 1 else ("column", "is")
        yield (
            f"row 1, {words[0]} {first_few([where[index] for index in parts])} {words[1]} not known, with numbers from "
            f"{min(within):g} to {max(within):g}. If these are fractions, rename it to '{header[parts[0]]} fraction'; "
            f"{'likewise the others. Delete' if len(parts) > 1 else 'else delete'} what is not the size of a structure."
        )
    for index in (index for index in unknown if index not in parts):
        name = as_text(header[index])  # type: ignore[arg-type]
        is_structure = numbers.get(index) and (comparable(name) in structures or not structures)
        hint = f" If its numbers are volumes in mL, rename it to '{name} volume_ml'" if is_structure else ""
        if is_structure and all(float(n).is_integer() for n in numbers[index]):
            hint += f"; if it counts objects, to '{name} count'"
        hint += "." if hint else ""
        yield f"row 1, column {where[index]} is not known.{hint}{unknown[index]}"


def comparable(structure: str) -> str:
    """Return the name of a structure without what makes no difference: case, spaces and underscores."""
    return " ".join(re.split(r"[\s_]+", structure.lower()))


def _meaning(column: Column) -> tuple[str, str, str]:
    return column.kind, column.structure, column.bound


def _column(cell: Cell, letter: str, structures: dict[str, str]) -> Column:
    if isinstance(cell, ValueError):
        raise cell
    name = as_text(cell)
    plain = " ".join(unicodedata.normalize("NFKC", name).split())  # mm³ becomes mm3
    own = re.sub(r"[\s_(\[]+", "_", plain.lower()).rstrip(")]")
    if own in TAGS:
        return Column(name, letter, "tags")
    if own in OWN_COLUMNS:
        return Column(name, letter, own)
    if begin := WORDS_BEFORE.match(plain):
        plain = plain[begin.end() :]
    if STRUCTURE_COLUMN.fullmatch(plain) is None and (region := ROI_COLUMN.fullmatch(plain)):
        of_one = f"is the region of '{region['structure']}' alone, but a scan has one region of interest"
        fault = of_one if region["structure"] else "names no unit that regions have"
        raise ValueError(
            f"{fault}. Write a box around all structures, in scanner mm, and name it 'roi_mm' (RAS+), or 'roi_lps_mm'."
        )
    if STRUCTURE_COLUMN.fullmatch(plain) is None and (alone := UNIT_ALONE.fullmatch(plain)):
        stem = "area" if alone["of_area"] else "volume"
        plain = f"{alone['structure']} {stem} {alone['unit']}{alone['bound'] or ''}"
    match = STRUCTURE_COLUMN.fullmatch(plain)
    if match is None:
        examples = [*OWN_COLUMNS, *(f"{plain.rsplit(' ', 1)[0]} {kind}" for kind in SIZE_KINDS)]
        raise _UnknownNameError(
            f"{did_you_mean(plain.lower(), examples, cutoff=0.8)} Delete it, or rename it to one of "
            f"{', '.join(OWN_COLUMNS)}, or to a structure's name and one of {', '.join(SIZE_KINDS)}, "
            "such as 'liver volume_ml', with 'low' or 'high' behind it for a bound."
        )
    structure = match["structure"] or ""
    structure = structures.setdefault(comparable(structure), structure)
    stem = match["kind"].lower().replace(" ", "_")
    stem = STEMS.get(stem, stem)
    unit = (match["unit"] or "").lower().replace("^", "")
    unit = UNITS.get(unit, unit)
    kind = f"{stem}_{unit}" if unit else stem
    bound = (match["bound"] or "").lower()
    kinds = (*SIZE_KINDS, *KINDS_BESIDE_SIZES)
    if kind not in kinds:
        known = " or ".join(f"'{structure} {k}'".strip() for k in kinds if k.startswith(stem))
        fault = f"has the unknown unit '{match['unit']}'" if unit else "names no unit"
        factors = {"area": "1 cm² is 100 mm²", "volume": "1 cm³ (cc) is 1 mL", "fraction": "Divide percent by 100"}
        factor = factors.get(stem, "1 cm is 10 mm")
        raise ValueError(f"{fault}. Convert its numbers where necessary, and name it {known}. {factor}.")
    if structure == "" and kind != "error_percent":
        raise ValueError(f"names no structure. Rename it, for example to 'liver {kind}'.")
    if structure.lower() == "background":
        raise ValueError("is for the background, whose size is the rest of the scan. Delete it.")
    if bound and kind in WITHOUT_BOUNDS:
        raise ValueError(f"is a bound of a {kind}, which cannot have bounds. Name it '{structure} {kind}'.")
    return Column(name, letter, kind, structure, bound)
