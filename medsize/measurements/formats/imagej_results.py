"""
Results tables of ImageJ and Fiji.

Source: https://imagej.net/ij/docs/guide/146-30.html, "Analyze > Set Measurements", for the columns: ``Feret`` and
``MinFeret`` are the longest diameter of a selection and its least width, ``Major`` and ``Minor`` the axes of the
ellipse that fits it. ``Label`` is the image's title, the selection's name and the slice, with colons between them. A
table states no unit.
"""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path

from medsize.measurements.formats.volumes import header_of, text_rows
from medsize.measurements.measurement import Measurement, Readings, ReadOptions, without_number
from medsize.measurements.ucum import LENGTH, parse_unit

__all__ = ["is_imagej_results", "read_imagej_results"]

DIAMETERS = (("Feret", "MinFeret"), ("Major", "Minor"))
SIZES = ("Feret", "Major", "Length", "Area")
NUMBERS = (*SIZES, "MinFeret", "Minor", "Angle", "Slice")
DEFAULT_NAME = re.compile(r"[\d-]+")
"""Name that ImageJ gives to a selection, from its slice and place; or the number of a slice."""


def is_imagej_results(file: Path, start: bytes) -> bool:
    """Return whether a file is a table of results, by the names of its columns."""
    names = header_of(start)
    return names[0] in ("", "#") and "Label" in names and any(name in names for name in SIZES)


def read_imagej_results(file: Path, options: ReadOptions) -> Readings:
    """
    Read the diameters of each selection, or the length of a line, or else the area in its slice.

    The structure is the name of the selection, and a number behind it that of a lesion. The scan is the title.

    Raises:
        ValueError: when it is not a table, or the unit is not known.
    """
    header, *rows = text_rows(file)
    if not options.unit:
        raise ValueError(f"{file}: a table of ImageJ states no unit, expected one. State its lengths' unit: --unit mm")
    mm, power = parse_unit(options.unit)
    if power != LENGTH:
        raise ValueError(f"--unit is '{options.unit}', expected a unit of length for {file}, such as mm.")
    readings = Readings()
    numbered = set()
    for number, row in enumerate(rows, start=2):
        cells = dict(zip(header, row, strict=False))
        if not any(row):
            continue
        try:
            numbers = {name: float(cells[name]) for name in NUMBERS if cells.get(name)}
            if not all(map(math.isfinite, numbers.values())):
                raise ValueError(f"found {numbers}")
        except ValueError as e:
            readings.problems.append(f"{file}, row {number}: {e}, expected a number. Correct it.")
            continue
        image, *parts = (part.strip() for part in cells.get("Label", "").split(":"))
        name = next((part for part in parts if not DEFAULT_NAME.fullmatch(part)), "")
        structure, lesion = without_number(name)
        numbered |= {(image, structure)} if lesion else set()
        diameters = next(([numbers[a], numbers[b]] for a, b in DIAMETERS if numbers.get(a) and b in numbers), [])
        if not diameters and "Angle" in numbers and numbers.get("Length"):  # a line
            diameters = [numbers["Length"]]
        area = numbers.get("Area") if not diameters else None
        if not any(diameters) and not area:
            readings.left_out.append(f"{file}, row {number}: it states no Feret, Major, Length or Area.")
            continue
        readings.measurements.append(
            Measurement(
                file,
                f"row {number}",
                structure,
                diameters_mm=tuple(mm * d for d in sorted(diameters, reverse=True) if d > 0),
                area_mm2=None if area is None else mm**2 * area,
                slice=int(numbers["Slice"]) - 1 if "Slice" in numbers and area is not None else None,
                lesion=lesion,
                image=image,
            )
        )
    # ImageJ names the second selection tumour-1, and the first one tumour.
    readings.measurements = [
        replace(m, lesion=m.lesion or m.structure) if (m.image, m.structure) in numbered else m
        for m in readings.measurements
    ]
    return readings
