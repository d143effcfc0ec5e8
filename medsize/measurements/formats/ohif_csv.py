"""
Measurements of OHIF (Cornerstone), ``MeasurementReport.csv``.

Source: https://github.com/OHIF/Viewers, ``downloadCSVReport`` (the columns of all rows) and
``extensions/cornerstone/src/utils/measurementServiceMappings`` (those of each tool). Older versions name the unit in
the column, ``Length (mm)``; later ones have a column ``Unit``. ``points`` are ``x y z`` in mm, LPS, with semicolons
between them. OHIF puts no quotation marks around cells, so that a name such as ``Doe, Jane`` takes two.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path

from medsize.measurements.measurement import Measurement, Place, Readings, ReadOptions, without_number
from medsize.measurements.ucum import LENGTH, in_mm
from medsize.sizes.table.spreadsheet import Cell, read_cells
from medsize.units import lps_to_ras

__all__ = ["is_ohif_csv", "read_ohif_csv"]

COMMON = ("Patient ID", "Patient Name", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "Label")
"""First columns, in their order."""
UID = re.compile(r"\d+(\.\d+){2,}")
TOOL = re.compile(r"Cornerstone:\w+")
LINES = ("Length", "Width")
"""Columns of diameters."""
ELLIPSES = {"EllipticalROI", "EllipticalRoi"}
OUTLINES = {"PlanarFreehandROI", "FreehandRoi", "SplineROI", "LivewireContour", "RectangleROI", "RectangleRoi"}


def is_ohif_csv(file: Path, start: bytes) -> bool:
    """Return whether a file is a table of OHIF, by the names of its columns."""
    header = start.splitlines()[0].decode("utf-8-sig", "replace") if start else ""
    return all(name in header for name in COMMON[2:])


def read_ohif_csv(file: Path, options: ReadOptions) -> Readings:
    """
    Read a table of OHIF.

    Lengths, and both axes of a bidirectional line, are diameters; so are the axes of an ellipse and of a circle.
    Outlines and rectangles are outlines, probes places alone. The structure is the label, and a number behind it that
    of a lesion.

    Raises:
        ValueError: when it is not a table.
    """
    try:
        header, *rows = read_cells(file).rows
    except ValueError as e:
        raise ValueError(f"{file}: {e}") from e
    columns = [str(cell) for cell in header]
    readings = Readings()
    for number, row in enumerate(rows, start=2):
        if not any(row):
            continue
        try:
            stated = _aligned(columns, [str(cell) for cell in row])
            measurement = _measurement(file, f"row {number}", stated, options)
        except ValueError as e:
            readings.problems.append(f"{file}, row {number}: {e}. Correct the row, or delete it.")
            continue
        if measurement.has_size or measurement.places:
            readings.measurements.append(measurement)
        else:
            tool = stated.get("AnnotationType") or "row without a tool"
            readings.left_out.append(f"{file}, row {number}: {tool} states no length, axes, outline or point.")
    return readings


def _aligned(columns: Sequence[str], row: Sequence[str]) -> dict[str, str]:
    """Return the cells by column; commas within the patient's name and the label have divided these."""
    at = next((i for i in range(2, len(row) - 1) if UID.fullmatch(row[i]) and UID.fullmatch(row[i + 1])), None)
    first = columns.index("StudyInstanceUID")
    if at is None or at < first or len(row) <= at + 2:
        raise ValueError("found no StudyInstanceUID, SeriesInstanceUID and SOPInstanceUID in a row, expected all three")
    label = at + columns.index("Label") - first
    rest = columns[columns.index("Label") + 1 :]
    tool = next((i for i in range(label + 1, len(row)) if TOOL.fullmatch(row[i])), None)
    shift = at - first
    if tool is not None and "AnnotationType" in rest:
        start = tool - rest.index("AnnotationType")
        named = ", ".join(row[label:start])
    else:
        start, named = label + 1, row[label] if label < len(row) else ""
    common = {name: row[columns.index(name) + shift] for name in COMMON[2:5]}
    common |= {"Patient ID": row[0], "Label": named}
    return common | dict(zip(rest, row[start:], strict=False))


def _measurement(file: Path, where: str, stated: dict[str, str], options: ReadOptions) -> Measurement:
    tool = stated.get("AnnotationType", "").removeprefix("Cornerstone:")
    points = [lps_to_ras(point) for point in _points(stated.get("points", ""))]
    diameters = [mm for name in LINES if (mm := _length(name, stated, options)) is not None]
    places: list[Place] = []
    if tool == "Bidirectional":  # ends of the long axis, then of the short one
        places = [Place(tuple(points[i : i + 2])) for i in range(0, len(points) - 1, 2)]
    elif tool == "Length":
        places = [Place(tuple(points[:2]))] if len(points) >= 2 else []
    elif tool in ELLIPSES and len(points) == 4:  # ends of one axis, then of the other
        diameters = sorted((math.dist(*points[:2]), math.dist(*points[2:])), reverse=True)
        places = [Place((_middle(points),))]
    elif tool.lower() == "circleroi" and len(points) >= 2:  # the centre, and a point on the circle
        diameters, places = [2 * math.dist(*points[:2])], [Place((points[0],))]
    elif tool in OUTLINES and len(points) > 2:
        # The corners of a rectangle stand in two rows.
        ordered = [points[i] for i in (0, 1, 3, 2)] if tool.startswith("Rect") and len(points) == 4 else points
        places = [Place(tuple(ordered))]
    elif tool == "Probe":
        places = [Place((point,)) for point in points]
    if any(d <= 0 for d in diameters):
        raise ValueError("found a length of 0 or below, expected more")
    structure, lesion = without_number(stated["Label"])
    return Measurement(
        file=file,
        where=where,
        structure=structure,
        diameters_mm=tuple(sorted(diameters, reverse=True)) if tool in {"Length", "Bidirectional"} or places else (),
        places=tuple(places),
        lesion=lesion,
        series=(stated["SeriesInstanceUID"],),
        frame_of_reference=stated.get("FrameOfReferenceUID", ""),
        subject=stated["Patient ID"],
    )


def _length(name: str, stated: dict[str, str], options: ReadOptions) -> float | None:
    """Return a length in mm; ``None`` if the row has none."""
    for column, cell in stated.items():
        named = re.fullmatch(rf"{name}(?: \((.+)\))?", column)
        if named and cell not in ("", "undefined", "null"):
            unit = named[1] or stated.get("Unit", "") or options.unit
            if not unit:
                raise ValueError(f"found {name} {cell} without a unit, expected one. State it: --unit mm")
            return in_mm(_number(cell), unit.split()[0], LENGTH)
    return None


def _points(cell: Cell) -> list[tuple[float, float, float]]:
    points = [[_number(c) for c in re.split(r"[\s]+", part.strip())] for part in str(cell).split(";") if part.strip()]
    if any(len(point) != 3 for point in points):
        raise ValueError(f"found points '{cell}', expected x y z of each, with semicolons between them")
    return [(x, y, z) for x, y, z in points]


def _number(cell: str) -> float:
    try:
        number = float(cell)
    except ValueError:
        raise ValueError(f"found '{cell}', expected a number") from None
    if not math.isfinite(number):
        raise ValueError(f"found '{cell}', expected a number")
    return number


def _middle(points: Sequence[Sequence[float]]) -> tuple[float, ...]:
    return tuple(sum(c) / len(points) for c in zip(*points, strict=True))
