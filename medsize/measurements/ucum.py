"""
Units of lengths, areas and volumes, by their codes in UCUM.

Source: The Unified Code for Units of Measure, https://ucum.org/ucum; DICOM PS3.16, CID 7460 to 7462. Spellings that are
common in reports and tables are understood, too: cc, ccm, mm^3, mm³, "cubic mm".
"""

from __future__ import annotations

import re
import unicodedata

__all__ = ["AREA", "LENGTH", "VOLUME", "in_mm", "parse_unit"]

LENGTH, AREA, VOLUME = 1, 2, 3
"""Power of mm that a unit is a multiple of."""
METRES = {"nm": 1e-6, "um": 1e-3, "mm": 1.0, "cm": 10.0, "dm": 100.0, "m": 1000.0, "[in_i]": 25.4}
"""mm in each unit of length."""
LITRES = {"u": 1.0, "m": 1e3, "c": 1e4, "d": 1e5, "": 1e6}
"""mm³ in a litre with each prefix."""
SPELLINGS = {
    "cc": ("cm", 3),
    "ccm": ("cm", 3),
    "cmm": ("mm", 3),
    "millimeter": ("mm", 1),
    "millimetre": ("mm", 1),
    "centimeter": ("cm", 1),
    "centimetre": ("cm", 1),
    "micron": ("um", 1),
    "microns": ("um", 1),
    "inch": ("[in_i]", 1),
    "in": ("[in_i]", 1),
}


def parse_unit(unit: str) -> tuple[float, int]:
    """
    Return the multiple of mm, mm² or mm³ that a unit is, and the power of mm.

    Raises:
        ValueError: when it is not a unit of length, area or volume.
    """
    plain = unicodedata.normalize("NFKC", unit).strip().replace("μ", "u").replace("µ", "u")
    plain = re.sub(r"\^|\*\*", "", plain).removesuffix(".")
    if match := re.fullmatch(r"(?:cubic|cu) ?(\w+)|(?:square|sq) ?(\w+)", plain, re.IGNORECASE):
        plain = f"{match[1]}3" if match[1] else f"{match[2]}2"
    if plain.lower() in SPELLINGS:
        length, power = SPELLINGS[plain.lower()]
        return METRES[length] ** power, power
    if match := re.fullmatch(r"([umcd]?)[lL]", plain) or re.fullmatch(r"([m])L", plain, re.IGNORECASE):
        return LITRES[match[1].lower()], VOLUME
    if match := re.fullmatch(r"([a-z]+|\[in_i\])([123]?)", plain.lower()):
        length, power = match[1], int(match[2] or 1)
        if length in METRES:
            return METRES[length] ** power, power
    raise ValueError(
        f"the unit '{unit}' is not one of length, area or volume, expected mm, cm, mm2, cm3, mL or the like"
    )


def in_mm(value: float, unit: str, power: int) -> float:
    """
    Return a value in mm, mm² or mm³.

    Args:
        value: number.
        unit: its unit.
        power: 1, 2 or 3: that of a length, an area or a volume.

    Raises:
        ValueError: when the unit is not one of that power.
    """
    factor, found = parse_unit(unit)
    if found != power:
        kinds = {LENGTH: "a length", AREA: "an area", VOLUME: "a volume"}
        raise ValueError(f"the unit '{unit}' is one of {kinds[found]}, expected {kinds[power]}")
    return value * factor
