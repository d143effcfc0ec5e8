"""Cells of a size table: the values that they may hold, by the kind of their column."""

from __future__ import annotations

import math
import re
import unicodedata
from pathlib import PurePosixPath, PureWindowsPath
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, TypeAdapter, ValidationError, ValidationInfo

from medsize.model_errors import found_and_expected
from medsize.sizes.table.spreadsheet import Cell, Shown, parse_number
from medsize.units import FARTHEST_MM, lps_to_ras

__all__ = [
    "AREA_KINDS",
    "CLICK_KINDS",
    "CLICK_PX",
    "KINDS_BESIDE_SIZES",
    "NUMBERS",
    "RANGED_KINDS",
    "ROI_KINDS",
    "SIZE_KINDS",
    "as_text",
    "ends_of_range",
    "in_ras",
    "is_unknown",
    "read_cell",
    "read_tags",
]

AREA_KINDS = ("area_mm2", "area_um2", "area_px")
SIZE_KINDS = ("volume_ml", "volume_mm3", "diameters_mm", "fraction", *AREA_KINDS, "circumference_mm", "mask", "present")
CLICK_PX = "click_px"
"""Places in a picture: pixels from its left and its upper edge, the first one is 0."""
CLICK_KINDS = ("click_mm", "click_lps_mm", CLICK_PX)
"""Places: in scanner mm, RAS+ as in NIfTI and LPS as in DICOM, and in a picture."""
KINDS_BESIDE_SIZES = ("count", "smallest_axis_ratio", "error_percent", *CLICK_KINDS)
"""Kinds of a structure that state no size by themselves."""
ROI_KINDS = ("roi_mm", "roi_lps_mm")
"""Regions of interest, likewise."""
NUMBERS = {*SIZE_KINDS, "count", "smallest_axis_ratio", "error_percent", "pixel_mm"} - {"mask", "present"}
"""Kinds whose cells hold numbers."""
DASHES = {"-", "--", "\N{EN DASH}", "\N{EM DASH}", "\N{MINUS SIGN}"}
MAY_BE_UNKNOWN = {*NUMBERS, "mask", "present", "tags", *CLICK_KINDS, *ROI_KINDS}
UNKNOWN = {"", "n/a", "na", "n.a.", "?", "unknown", *DASHES}
"""Cells that say that nothing is known. Words such as "none" may mean that the structure is absent."""
LARGEST = 1e15
"""Number above all sizes and lengths in any unit; products of three are still finite."""
PRESENT = {"1": True, "yes": True, "true": True, "x": True, "0": False, "no": False, "false": False}
"""Words that say whether a structure is present."""
NONE_PRESENT = ("none", "nothing", "no", "0")
"""Words in a column of tags for a scan without any structure."""
WITH_UNIT = re.compile(r"(?P<number>\S*\d)\s*(?P<unit>[^\W\d_].*)")
RANGED_KINDS = ("volume_ml", "volume_mm3", "fraction", *AREA_KINDS, "circumference_mm")
"""Kinds whose cells may hold both ends of a range."""
RANGE = re.compile(r"(?P<low>[^+\n]*\d)\s*(?P<percent>%?)\s*(?:[-\u2013\u2014\u2212]|to\b)\s*(?P<high>\d[^+\n]*)")
BETWEEN_LESIONS = re.compile(r"\s*(?:\n|(?<!\de)\+)\s*", re.IGNORECASE)
"""A plus, other than the sign of an exponent, or a new line."""


def is_unknown(cell: Cell, kind: str = "") -> bool:
    """Return whether a cell is empty or, unless its column must have a value, says that it is unknown."""
    if kind in ("present", "tags") and cell in DASHES:  # beside x or names, it may mean that nothing is there
        return False
    if kind == "tags" and isinstance(cell, str) and cell.lower() in ("nan", "null"):  # as programs write it
        return True
    return cell == "" or (kind in MAY_BE_UNKNOWN and isinstance(cell, str) and cell.lower() in UNKNOWN)


def read_cell(kind: str, cell: Cell, decimal_comma: bool) -> Any:
    """
    Read a cell.

    Args:
        kind: kind of its column.
        cell: a cell that is not empty.
        decimal_comma: see :func:`medsize.sizes.table.spreadsheet.parse_number`.

    Raises:
        ValueError: with the content of the cell, its fault and the remedy.
    """
    if isinstance(cell, ValueError):
        raise cell
    if isinstance(cell, Shown):
        if (unit := _plain_unit(cell.text)) not in UNITS.get(kind, {unit}):
            expected = f"expected {kind}. Convert the number, and correct the cell's format."
            raise ValueError(f"is {float(cell):.15g}, but shown with '{cell.text}': {expected}")
        cell = float(cell)
    try:
        context = {"decimal_comma": decimal_comma, "units": UNITS.get(kind, set())}
        return CELLS[kind].validate_python(cell, context=context)
    except ValidationError as e:
        found = found_and_expected({**e.errors()[0], "input": str(cell)}, "")
        raise ValueError(f"{found} {EXPECTED[kind]}") from e


def ends_of_range(cell: Cell) -> tuple[str, str] | None:
    """
    Return both ends of a cell such as ``1200-1500 mL`` or ``3 to 5 %``; ``None`` for any other.

    Args:
        cell: a cell of a kind in :data:`RANGED_KINDS`.
    """
    match = RANGE.fullmatch(cell) if isinstance(cell, str) else None
    if match is None:
        return None
    low, high = match["low"], match["high"]
    return f"{low} %" if match["percent"] or high.endswith("%") else low, high


def _plain_unit(text: str) -> str:
    return unicodedata.normalize("NFKC", text).lower().replace("^", "").strip(" .()[]")


def as_text(cell: str | int | float) -> str:
    """Return a cell as its spreadsheet shows it: a whole number has no point."""
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell)


def _number(cell: str | int | float, info: ValidationInfo) -> float:
    if not isinstance(cell, str):
        return cell
    context: dict[str, Any] = info.context or {}
    with_unit = WITH_UNIT.fullmatch(cell)
    if with_unit and _plain_unit(with_unit["unit"]) in context.get("units", ()):
        cell = with_unit["number"]
    return parse_number(cell, context.get("decimal_comma", False))


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


def _places(cell: str | int | float, axes: int = 3) -> list[Any]:
    """Return the points ``[x, y, z]`` and lines ``[[x, y, z], [x, y, z]]`` of a cell; of a picture, they have no z."""
    places: list[Any] = []
    for place in filter(None, (part.strip() for part in as_text(cell).split(";"))):
        ends = [_point(end, axes) for end in re.split(r"\s+to\s+|\s*(?:->|→)\s*", place)]
        if len(ends) > 2:
            raise ValueError(f"'{place}' is a line with {len(ends)} ends")
        places.append(ends if len(ends) == 2 else ends[0])
    if not places:
        raise ValueError("it holds no point")
    return places


def _places_in_picture(cell: str | int | float) -> list[Any]:
    return _places(cell, axes=2)


def _point(text: str, axes: int) -> list[float]:
    parts = text.strip("()[] ").split()
    if len(parts) == 1:
        parts = parts[0].split(",")
    if len(parts) != axes:
        raise ValueError(f"'{text}' has {len(parts)} coordinates")
    point = [_coordinate(part.strip(",")) for part in parts]
    if any(abs(mm) > FARTHEST_MM for mm in point):
        raise ValueError(f"'{text}' is more than {FARTHEST_MM / 1000:.0f} m away")
    return point


def _coordinate(text: str) -> float:
    # No scanner is so large that its mm are written with a thousands separator: one sign is that of decimals.
    return parse_number(text.replace(",", ".") if text.count(",") + text.count(".") == 1 else text)


def _one_region(places: list[Any]) -> Any:
    """Return the only place: a centre, or the two corners of a box."""
    if len(places) != 1:
        raise ValueError(f"found {len(places)} regions, but a scan has one")
    (place,) = places
    if isinstance(place[0], list) and sum(a == b for a, b in zip(*place, strict=True)) > 1:
        raise ValueError("its corners span no box")
    return place


def in_ras(place: Any, kind: str) -> Any:
    """
    Return a point, or points within lists, in RAS+.

    Args:
        place: value of a cell.
        kind: kind of its column.
    """
    if "_lps_" not in kind:
        return place
    return [in_ras(point, kind) for point in place] if isinstance(place[0], list) else list(lps_to_ras(place))


def _is_present(cell: str | int | float) -> bool:
    word = as_text(cell).lower()
    if word in DASHES:
        raise ValueError("it may mean absent or unknown")
    if word not in PRESENT:
        raise ValueError("it is neither yes nor no")
    return PRESENT[word]


def read_tags(cell: str | int | float) -> list[str]:
    """
    Return the structures that a cell lists.

    Raises:
        ValueError: when it says something else.
    """
    text = as_text(cell).strip()
    if text in DASHES:
        raise ValueError("it may mean that none is present, or that this is unknown")
    names = [name for name in re.split(r"\s*[;,+|\n]\s*", text.strip(" ;,+|")) if name]
    if not names:
        raise ValueError("it names no structure")
    if len(names) == 1 and names[0].lower() in NONE_PRESENT:
        return []
    no_names = {"none", "nothing", *UNKNOWN} if len(names) > 1 else {*PRESENT, *UNKNOWN}
    if wrong := [name for name in names if name.lower() in no_names]:
        raise ValueError(f"'{wrong[0]}' is no structure")
    return names


def _path_below(cell: str | int | float) -> str:
    path = as_text(cell).replace("\\", "/")  # as Windows writes it
    if path.startswith("/") or PureWindowsPath(path).drive or ".." in PurePosixPath(path).parts:
        raise ValueError("it is outside the data set's folder")
    return str(PurePosixPath(path))


NotNegative = Annotated[float, Field(ge=0, le=LARGEST, allow_inf_nan=False)]
Size = TypeAdapter(Annotated[list[NotNegative], BeforeValidator(_sizes), AfterValidator(math.fsum)])
Fraction = TypeAdapter(
    Annotated[list[Annotated[float, Field(ge=0, le=1)]], BeforeValidator(_fractions), AfterValidator(_sum_of_fractions)]
)
Diameters = list[Annotated[float, Field(gt=0, le=LARGEST, allow_inf_nan=False)]]
RelativePath = TypeAdapter(Annotated[str, BeforeValidator(_path_below)])
CELLS: dict[str, TypeAdapter] = {
    "image": RelativePath,
    "subject": TypeAdapter(Annotated[str, BeforeValidator(as_text)]),
    "slice": TypeAdapter(Annotated[int, BeforeValidator(_number), Field(ge=0)]),
    "lesion": TypeAdapter(Annotated[str, BeforeValidator(as_text)]),
    "comment": TypeAdapter(Any),
    "tags": TypeAdapter(Annotated[list[str], BeforeValidator(read_tags)]),
    "source": TypeAdapter(Annotated[str, BeforeValidator(as_text)]),
    "present": TypeAdapter(Annotated[bool, BeforeValidator(_is_present)]),
    "error_percent": TypeAdapter(Annotated[float, BeforeValidator(_percentage), Field(ge=0, lt=100)]),
    "volume_ml": Size,
    "volume_mm3": Size,
    "diameters_mm": TypeAdapter(Annotated[list[Diameters], BeforeValidator(_diameters)]),
    "fraction": Fraction,
    **dict.fromkeys(AREA_KINDS, Size),
    "circumference_mm": TypeAdapter(Annotated[list[NotNegative], BeforeValidator(_sizes)]),
    "count": TypeAdapter(Annotated[NotNegative, BeforeValidator(_number)]),
    "smallest_axis_ratio": TypeAdapter(Annotated[float, BeforeValidator(_number), Field(gt=0, le=1)]),
    "pixel_mm": TypeAdapter(Annotated[float, BeforeValidator(_number), Field(gt=0, le=LARGEST, allow_inf_nan=False)]),
    "mask": RelativePath,
    **dict.fromkeys(("click_mm", "click_lps_mm"), TypeAdapter(Annotated[list[Any], BeforeValidator(_places)])),
    CLICK_PX: TypeAdapter(Annotated[list[Any], BeforeValidator(_places_in_picture)]),
    **dict.fromkeys(
        ROI_KINDS, TypeAdapter(Annotated[list[Any], BeforeValidator(_places), AfterValidator(_one_region)])
    ),
}

UNITS = {
    "volume_ml": {"ml", "milliliter", "millilitre", "cm3", "ccm", "cc"},
    "volume_mm3": {"mm3", "cmm"},
    "diameters_mm": {"mm", "millimeter", "millimetre"},
    "area_mm2": {"mm2"},
    "area_um2": {"um2", "\N{GREEK SMALL LETTER MU}m2"},
    "area_px": {"px", "pixel", "pixels"},
    "circumference_mm": {"mm", "millimeter", "millimetre"},
    "pixel_mm": {"mm", "mm/px", "millimeter", "millimetre"},
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
    "volume_ml": f"Write the volume in mL, such as 1510 or 12.5, or a range such as 1200-1500; {EMPTY_OR_ZERO}",
    "volume_mm3": f"Write the volume in mm³, such as 1510000; {EMPTY_OR_ZERO}",
    "diameters_mm": (
        "Write 1 to 3 diameters in mm, such as 34 x 28 x 40.5, with + between several lesions, as in 12 x 9 + 15; "
        "leave the cell empty where they are unknown, and write 0 in a column 'STRUCTURE volume_ml' or, for pictures, "
        "'STRUCTURE fraction' where the structure is absent."
    ),
    "fraction": (
        "Write a fraction of the whole scan, slice or picture, such as 0.04, or a percentage with its sign, such as "
        f"4 %; {EMPTY_OR_ZERO}"
    ),
    "area_mm2": f"Write the area in mm², such as 320.5; {EMPTY_OR_ZERO}",
    "area_um2": f"Write the area in µm², such as 48.5; {EMPTY_OR_ZERO}",
    "area_px": f"Write the number of pixels of the original picture, such as 5310; {EMPTY_OR_ZERO}",
    "circumference_mm": f"Write the circumference in mm, such as 175.3; {EMPTY_OR_ZERO}",
    "count": "Write the number of objects, such as 125, or 0 where there is none.",
    "smallest_axis_ratio": "Write the short over the long diameter of the flattest shape, such as 0.7; a circle has 1.",
    "pixel_mm": "Write the side of a pixel in mm, such as 0.12, or leave the cell empty where the picture states it.",
    "mask": PATH,
    "present": "Write 1 or yes where the structure is present, 0 or no where it is absent; leave the cell empty where "
    "that is unknown.",
    "tags": "Name all structures that are there, with semicolons between them; write none where none is; leave the "
    "cell empty where that is unknown.",
    CLICK_PX: "Write x y in pixels from the upper left corner, as in 212 87; several points with semicolons between "
    "them; a line as 0 1 to 3 4.",
    **dict.fromkeys(
        ("click_mm", "click_lps_mm"),
        "Write x y z in mm, as in 12.5 -30 44; several points with semicolons between them; a line as 0 1 2 to 3 4 2.",
    ),
    **dict.fromkeys(
        ROI_KINDS,
        "Write two opposite corners of a box around all structures in mm, as in -80 -60 10 to 90 75 140, or its "
        "centre, as in 5 8 75.",
    ),
}
"""Advice for a faulty cell, by the kind of its column."""
