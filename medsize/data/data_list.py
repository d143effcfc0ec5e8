"""
Data list: a file that names the scans, and states what is known of each.

It is JSON in the Decathlon layout:

    {"labels": {"0": "background", "1": "liver"}, "size_unit": "mL",
     "training": [{"image": "scan_1.nii.gz", "size": {"liver": 1510}, "subject": "1", "fold": 0}, …]}

An item may have ``label`` (a mask), ``scribble``, ``size`` (one number per structure; ``null`` if unknown;
``[low, high]`` if only bounds are known), ``slice_size`` (per structure, one number per slice along the last axis),
``roi``, ``subject`` and ``fold``. ``size_unit`` is ``mm3`` or ``mL``, with ``slice_size`` in mm², or ``fraction`` of
the scan's (the slice's) original field of view. ``length_unit`` is ``mm``, or ``px`` for pictures whose pixels have
no known size: a pixel then counts as 1 mm × 1 mm, and sizes are shown in pixels. Structures that ``size`` does not
name are unknown.
The size of several lesions of a structure is ``{"each": [1.2, [0.5, 0.9]]}``, or ``{"diameters_mm": [[12], [15, 11]]}``
with one to three diameters of each, or one or two in a picture: they add up.
``circumference_mm``, ``{"head": 175}``, is what somebody measured in a picture; only the evaluation compares it.
``clicks`` says where structures are, in scanner mm: for each structure points ``[x, y, z]`` and lines
``[[x, y, z], [x, y, z]]``.
``click_space`` is ``RAS`` (as in NIfTI; the default) or ``LPS`` (as in DICOM). ``inside`` names the organ that each
structure lies in, ``{"lesion": "liver"}``. Then an item has ``organs``, masks of these, ``{"liver": "1.nii.gz"}``.
``mask_ignored``, 255, is the value in masks of voxels that belong to no class; without it, 255 is a mistake.

:func:`medsize.data.load_cohort` reads and checks it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    Tag,
    ValidationError,
    model_validator,
)

from medsize.errors import ProblemsError
from medsize.files import atomic_write
from medsize.model_errors import found_and_expected
from medsize.sizes.ellipse import ellipse_area
from medsize.sizes.ellipsoid import ellipsoid_volume
from medsize.units import FARTHEST_MM, lps_to_ras

__all__ = [
    "DataList",
    "DataListError",
    "Item",
    "Lesions",
    "Roi",
    "SizeValue",
    "middle_of_clicks",
    "parse_data_list",
    "write_data_list",
]


class DataListError(ProblemsError):
    """Error that lists all problems of a data list."""


PARTS_OF_TYPES = ("tuple[", "float", "list[", "one", "several", "a point", "a line", "constrained-float")
"""Beginnings of pydantic's names of types, in the places of errors."""


def _kind_of_place(place: object) -> str:
    return "a line" if isinstance(place, list | tuple) and place and isinstance(place[0], list | tuple) else "a point"


Coordinate = Annotated[float, Field(ge=-FARTHEST_MM, le=FARTHEST_MM, allow_inf_nan=False)]
Point = tuple[Coordinate, Coordinate, Coordinate]
Place = Annotated[
    Annotated[Point, Tag("a point")] | Annotated[tuple[Point, Point], Tag("a line")],
    Discriminator(_kind_of_place),
]
SizeValue = float | tuple[float, float] | None
"""A size; its low and high end; or None if it is unknown."""


class Lesions(BaseModel):
    """Several lesions of one structure, whose sizes add up to its size."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    each: list[NonNegativeFloat | tuple[NonNegativeFloat, NonNegativeFloat]] = []
    """Sizes, or their low and high ends."""
    diameters_mm: list[Annotated[list[PositiveFloat], Field(min_length=1, max_length=3)]] = []
    """One to three diameters of each."""

    @model_validator(mode="after")
    def _has_any(self) -> Lesions:
        if not self.each and not self.diameters_mm:
            raise ValueError("it names no lesion. List their sizes in each, or their diameters in diameters_mm")
        if any(low > high for low, high in self.intervals()):
            raise ValueError("the low end of a lesion is above its high end")
        return self

    def intervals(self) -> list[tuple[float, float]]:
        """Return the low and high ends of ``each``, equal for a number."""
        return [size if isinstance(size, tuple) else (size, size) for size in self.each]

    def volume_mm3(self) -> float:
        """Return the volume of the ellipsoids of ``diameters_mm`` together."""
        return math.fsum(map(ellipsoid_volume, self.diameters_mm))

    def area_mm2(self) -> float:
        """
        Return the area of the ellipses of ``diameters_mm`` together, in a picture.

        Raises:
            ValueError: when one has three diameters.
        """
        return math.fsum(map(ellipse_area, self.diameters_mm))


class Roi(BaseModel):
    """Region of interest in scanner mm (RAS+): a centre point, or two opposite corners of a box."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    center_mm: tuple[float, float, float] | None = None
    box_mm: tuple[tuple[float, float, float], tuple[float, float, float]] | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> Roi:
        if (self.center_mm is None) == (self.box_mm is None):
            raise ValueError("a roi states either center_mm or box_mm")
        return self


VolumeValue = Annotated[
    Annotated[SizeValue, Tag("one")] | Annotated[Lesions, Tag("several")],
    Discriminator(lambda size: "several" if isinstance(size, dict | Lesions) else "one"),
]


class Item(BaseModel):
    """One scan. Paths are relative to the data set's folder."""

    model_config = ConfigDict(extra="forbid")

    image: str
    label: str | None = None
    scribble: str | None = None
    clicks: dict[str, list[Place]] | None = None
    size: dict[str, VolumeValue] | None = None
    slice_size: dict[str, list[SizeValue]] | None = None
    circumference_mm: dict[str, PositiveFloat] | None = None
    """Circumferences as somebody measured them in a picture; only the evaluation compares them."""
    organs: dict[str, str] | None = None
    """Masks of organs, other than 0 within each."""
    roi: Roi | None = None
    subject: str | None = None
    fold: int | None = None


class DataList(BaseModel):
    """Content of the file; other top-level keys of the Decathlon layout are allowed and ignored."""

    model_config = ConfigDict(extra="allow")

    labels: dict[str, str]
    training: list[Item] = []
    validation: list[Item] = []
    size_unit: Literal["mm3", "mL", "fraction"] | None = None
    length_unit: Literal["mm", "px"] = "mm"
    """Unit of spacings, and of what is derived from them: ``px`` for pictures whose pixels have no known size."""
    scribble_unlabelled: int = 255
    mask_ignored: Literal[255] | None = None
    """Value in masks of voxels that belong to no class: they are left out of losses and of the evaluation."""
    click_space: Literal["RAS", "LPS"] = "RAS"
    inside: dict[str, str] | None = None
    """Organ, or other structure, that each structure lies in."""


def parse_data_list(content: bytes, source: Path) -> DataList:
    """
    Return the data list that a file holds.

    Args:
        content: bytes of the file.
        source: the file, for messages.

    Raises:
        DataListError: naming all invalid keys and values.
    """
    try:
        raw = json.loads(content)
    except ValueError as e:  # no JSON, or no text at all
        raise DataListError(source, [f"it is not JSON: {e}."]) from e
    if not isinstance(raw, dict):
        raise DataListError(source, ["a data list must be a JSON object with the keys labels and training."])
    try:
        return DataList.model_validate(raw)
    except ValidationError as e:
        raise DataListError(source, [_describe(error, raw) for error in e.errors()]) from e


def middle_of_clicks(
    clicks: Mapping[str, Sequence[Any]], space: str = "RAS", background: str = ""
) -> list[float] | None:
    """
    Return the mean place of the clicks in structures, RAS+: the region of interest of a scan that states none.

    Args:
        clicks: points and lines of each structure.
        space: their ``click_space``.
        background: name of the background, whose clicks do not count.

    Returns:
        the place; ``None`` if no structure is clicked.
    """
    places = [place for name, of_one in clicks.items() if name != background for place in of_one]
    if not places:
        return None
    middles = np.array([np.reshape(place, (-1, 3)).mean(axis=0) for place in places])
    middle = [float(mm) for mm in middles.mean(axis=0)]
    return middle if space == "RAS" else list(lps_to_ras(middle))


def write_data_list(
    path: Path, class_names: Sequence[str], items: Sequence[Mapping[str, Any]], **top_level: Any
) -> None:
    """Write a data list, whole or not at all."""
    content = {
        "labels": {str(k): name for k, name in enumerate(class_names)},
        **top_level,
        "numTraining": len(items),
        "training": list(items),
    }
    with atomic_write(path) as file:
        file.write_text(json.dumps(content, indent=1) + "\n")


def _describe(error: Any, raw: dict[str, Any]) -> str:
    """Return a pydantic error in the terms of a data list."""
    location = list(error["loc"])
    where = ""
    if len(location) >= 2 and location[0] in ("training", "validation") and isinstance(location[1], int):
        item = raw[location[0]][location[1]]
        image = item.get("image", "no image") if isinstance(item, dict) else item
        where = f"{location[0]}[{location[1]}] ({image}): "
        location = location[2:]
    key = ".".join(str(part) for part in location if not str(part).startswith(PARTS_OF_TYPES))
    return where + found_and_expected(error, key, Item.model_fields if where else ())
