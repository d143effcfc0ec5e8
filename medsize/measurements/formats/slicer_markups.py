"""
Markups of 3D Slicer, ``.mrk.json``: lines, boxes, closed curves and points.

Source: the JSON schema of the markups, version 1.0.3,
https://github.com/Slicer/Slicer/blob/main/Modules/Loadable/Markups/Resources/Schema/markups-schema-v1.0.3.json.
Coordinates are LPS unless ``coordinateSystem`` says RAS, and mm unless ``coordinateUnits`` says um; both are the
schema's defaults.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, Field, ValidationError

from medsize.measurements.measurement import Box, Measurement, Place, Readings, ReadOptions, without_number
from medsize.measurements.outline import smooth_closed
from medsize.measurements.ucum import LENGTH, in_mm
from medsize.model_errors import found_and_expected
from medsize.units import lps_to_ras

__all__ = ["ENDING", "REGION_NAME", "is_slicer_markups", "read_slicer_markups"]

ENDING = ".mrk.json"
DEFAULT_NAME = re.compile(r"(F|L|A|OC|CC|P|R|Point List|Markups\w*)([ _-]?\d+)?")
"""Names that 3D Slicer gives to markups: they say nothing of the structure."""
REGION_NAME = re.compile(r"(R|ROI|Crop Volume ROI|Region( of interest)?)([ _-]?\d+)?", re.IGNORECASE)
"""Names of boxes that are the region of interest of a scan."""
Finite = Annotated[float, Field(allow_inf_nan=False)]
Point = tuple[Finite, Finite, Finite]


class _ControlPoint(BaseModel):
    label: str = ""
    position: Point | None = None
    positionStatus: str = "defined"


class _Markup(BaseModel):
    type: str
    name: str = ""
    coordinateSystem: Literal["LPS", "RAS"] = "LPS"
    coordinateUnits: str | tuple[str, str, str] = "mm"
    controlPoints: list[_ControlPoint] = []
    center: Point | None = None
    size: Point | None = None
    orientation: Annotated[list[Finite], Field(min_length=9, max_length=9)] = [1, 0, 0, 0, 1, 0, 0, 0, 1]
    """Directions of the axes of a box, as the columns of a matrix, row by row."""

    @property
    def mm(self) -> float:
        """Length of the unit of its coordinates."""
        unit = self.coordinateUnits
        return in_mm(1.0, unit if isinstance(unit, str) else unit[0], LENGTH)

    def ras(self, point: Point) -> tuple[float, ...]:
        """Return a point in mm, RAS+."""
        x, y, z = (self.mm * c for c in point)
        return (x, y, z) if self.coordinateSystem == "RAS" else lps_to_ras((x, y, z))


class _Markups(BaseModel):
    markups: list[_Markup]


def is_slicer_markups(file: Path, start: bytes) -> bool:
    """Return whether a file is one of markups, by its name or the schema that it names."""
    return file.name.lower().endswith(ENDING) or (file.suffix.lower() == ".json" and b"markups-schema-" in start)


def read_slicer_markups(file: Path, options: ReadOptions) -> Readings:
    """
    Read markups.

    A line is a diameter, a box the three of what it encloses, a closed curve an outline, a point a place alone. The
    structure is the name of the markup, unless 3D Slicer gave it, or it is that of a region of interest; points with
    labels of their own have those. A number behind a name is that of a lesion.

    Raises:
        ValueError: when the file does not follow the schema.
    """
    try:
        markups = _Markups.model_validate(json.loads(file.read_bytes())).markups
    except ValidationError as e:
        fault = found_and_expected(e.errors()[0])
        raise ValueError(f"{file}: {fault} Expected markups of 3D Slicer. Save them again.") from e
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as e:
        raise ValueError(f"{file}: found no JSON ({e}), expected markups of 3D Slicer. Save them again.") from e
    readings = Readings()
    for number, markup in enumerate(markups, start=1):
        where = f"markup {number}" + (f" '{markup.name}'" if markup.name else "")
        try:
            found = list(_measurements(file, where, markup))
        except ValueError as e:
            readings.problems.append(f"{file}, {where}: {e}. Correct it in 3D Slicer.")
            continue
        readings.measurements += found
        if not found:
            readings.left_out.append(
                f"{file}, {where}: it is a {markup.type} without size or place, expected a Line, ROI, ClosedCurve or "
                "Fiducial."
            )
    return readings


def _measurements(file: Path, where: str, markup: _Markup) -> Iterator[Measurement]:
    is_nameless = DEFAULT_NAME.fullmatch(markup.name) or (markup.type == "ROI" and REGION_NAME.fullmatch(markup.name))
    structure, lesion = without_number("" if is_nameless else markup.name)
    stated: dict[str, Any] = {"file": file, "where": where, "structure": structure, "lesion": lesion}
    defined = [p for p in markup.controlPoints if p.positionStatus == "defined" and p.position is not None]
    points = [markup.ras(point.position) for point in defined if point.position is not None]
    if markup.type == "Line":
        if len(points) != 2:
            raise ValueError(f"found a line with {len(points)} points, expected 2")
        length = math.dist(*points)
        if length == 0:
            raise ValueError("found a line of length 0")
        yield Measurement(**stated, diameters_mm=(length,), places=(Place(tuple(points)),))
    elif markup.type == "ROI":
        if markup.center is None or markup.size is None or min(markup.size) <= 0:
            raise ValueError("found a box without a centre or a size, expected both")
        diameters = tuple(sorted((markup.mm * side for side in markup.size), reverse=True))
        center = markup.ras(markup.center)
        box = _box(center, [markup.mm * side for side in markup.size], markup.orientation)
        yield Measurement(**stated, diameters_mm=diameters, places=(Place((center,)),), box=box)
    elif markup.type == "ClosedCurve":
        if len(points) < 3:
            raise ValueError(f"found a closed curve with {len(points)} points, expected 3 or more")
        outline = [tuple(point) for point in smooth_closed(points).tolist()]
        yield Measurement(**stated, places=(Place(tuple(outline)),))
    elif markup.type == "Fiducial":
        for control, point in zip(defined, points, strict=True):
            label = control.label.strip()
            is_default = DEFAULT_NAME.fullmatch(label) or re.fullmatch(rf"{re.escape(markup.name)}([ _-]?\d+)?", label)
            own = {} if is_default or not label else {"structure": label}
            yield Measurement(**{**stated, "lesion": "", **own}, places=(Place((point,)),))


def _box(center: tuple[float, ...], sides: list[float], orientation: list[float]) -> Box:
    """Return a box in mm, RAS+; which way its axes point makes no difference."""
    along = np.abs(np.reshape(orientation, (3, 3)))
    half = np.round(along) @ sides / 2
    low, high = (tuple((center + sign * half).tolist()) for sign in (-1, 1))
    return Box(low, high, math.degrees(math.acos(min(1.0, float(along.max(axis=0).min())))))
