"""
Drawings of a reader on a scan: the geometry of each method, in scanner mm (RAS+, as in NIfTI).

Pictures whose pixel size is not known have pixels in place of mm.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = [
    "Absent",
    "CannotTell",
    "Click",
    "Disc",
    "Ellipse",
    "Ellipses",
    "Geometry",
    "Lines",
    "Percent",
    "PointCounts",
    "SlicePercents",
]

Number = Annotated[float, Field(strict=True, allow_inf_nan=False, ge=-1e7, le=1e7)]
Every = Annotated[int, Field(strict=True, ge=1)]
"""Number of slices from one counted slice to the next."""
Place = tuple[Number, Number, Number]
Line = tuple[Place, Place]


class _Geometry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Lines(_Geometry):
    """One to three diameters."""

    method: Literal["lines"] = "lines"
    lines: list[Line] = Field(min_length=1, max_length=3)


class Ellipse(_Geometry):
    """An ellipse in a plane: its two axes, which cross in their middle."""

    long: Line
    short: Line


class Ellipses(_Geometry):
    """An ellipse on a picture; on a scan, one or two in different planes, which are sections of an ellipsoid."""

    method: Literal["ellipse"] = "ellipse"
    ellipses: list[Ellipse] = Field(min_length=1, max_length=2)


class PointCounts(_Geometry):
    """Points of a square grid inside the structure, on each n-th slice."""

    method: Literal["points"] = "points"
    step: Number = Field(gt=0, le=1e4)
    """Distance of the grid's points."""
    every: Every
    points: list[Place] = Field(min_length=1, max_length=20000)
    """The points inside."""


class Percent(_Geometry):
    """Part of a picture, in percent; the place is that of the reference disc."""

    method: Literal["percent"] = "percent"
    percent: Number = Field(gt=0, le=100)
    at: Place


class Disc(_Geometry):
    """Part of a slice, in percent, and the place of the reference disc."""

    percent: Number = Field(gt=0, le=100)
    at: Place


class SlicePercents(_Geometry):
    """Parts of a scan's slices, on each n-th slice that shows the structure."""

    method: Literal["percent_of_slices"] = "percent_of_slices"
    every: Every
    discs: list[Disc] = Field(min_length=1, max_length=5000)


class Click(_Geometry):
    """A place inside the structure, without a size."""

    method: Literal["click"] = "click"
    at: Place


class Absent(_Geometry):
    """The structure is not there."""

    method: Literal["absent"] = "absent"


class CannotTell(_Geometry):
    """The reader cannot tell the size."""

    method: Literal["cannot_tell"] = "cannot_tell"


Geometry = Annotated[
    Lines | Ellipses | PointCounts | Percent | SlicePercents | Click | Absent | CannotTell,
    Field(discriminator="method"),
]
