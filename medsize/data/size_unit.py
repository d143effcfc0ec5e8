"""Unit in which the sizes of a cohort are shown: mL, or for pictures mm² or pixels."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple

from medsize.scans.scan_facts import ImagePlace
from medsize.units import MM3_PER_ML, size_text

__all__ = ["ML", "SizeUnit", "size_unit"]


class SizeUnit(NamedTuple):
    """Unit in which sizes are shown."""

    name: str
    of_one: float
    """mm³ of one; for pictures, whose slice counts as 1 mm thick, mm² or pixels."""

    @property
    def is_flat(self) -> bool:
        """True for pictures."""
        return self.of_one == 1

    def text(self, size: float) -> str:
        """Return a size in mm³ as text in this unit."""
        return f"{size_text(size / self.of_one)} {self.name}"


ML = SizeUnit("mL", MM3_PER_ML)


def size_unit(places: Iterable[ImagePlace], length_unit: Literal["mm", "px"] = "mm") -> SizeUnit:
    """
    Return the unit for a cohort.

    Args:
        places: places of its scans; if all are of one slice 1 mm thick, they are pictures.
        length_unit: ``px`` if the size of the pictures' pixels is unknown.
    """
    if length_unit == "px":
        return SizeUnit("px", 1.0)
    is_flat = all(place.shape[2:] == (1,) and place.zooms[2] == 1 for place in places)
    return SizeUnit("mm²", 1.0) if is_flat else ML
