"""Mistaken units: the factors by which they make sizes too large, and the usual sizes of organs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TypeAlias

import numpy as np

from medsize.units import MM3_PER_ML, size_text

__all__ = ["OF_FRACTIONS", "OF_VOLUMES", "UNUSUAL", "Mistake", "against_usual", "explained", "too_wide"]

Mistake: TypeAlias = tuple[float, str]
"""The factor by which a size gets too large, and the reason."""
OF_FRACTIONS: tuple[Mistake, ...] = (
    (100.0, "a percentage, read as a fraction"),
    (1 / 100, "a fraction, read as a percentage"),
)
OF_VOLUMES: tuple[Mistake, ...] = (
    (MM3_PER_ML, "mm³, read as mL"),
    (1 / MM3_PER_ML, "mL, read as mm³; litres, read as mL; or diameters in cm, read as mm"),
    (8.0, "a doubled diameter"),
    (1 / 8, "a radius, read as a diameter"),
)
"""Factors by which sizes may be too large, and their causes."""
USUAL_ML = {
    "brain": 1400.0,
    "liver": 1700.0,
    "spleen": 140.0,
    "kidney": 150.0,
    "kidneys": 300.0,
    "pancreas": 130.0,
    "heart": 800.0,
    "thyroid": 20.0,
    "prostate": 16.0,
    "uterus": 75.0,
    "lung": 2500.0,
    "lungs": 5000.0,
    "hippocampus": 3.0,
    "myocardium": 130.0,
}
"""
Volumes of adults, mL, rounded: ICRP Publication 89 (2002), masses at about 1.05 g/mL (heart with blood; one kidney is
half of both). Air-filled lungs, one hippocampus and the left ventricle's muscle have usual values of imaging.
"""
UNUSUAL = 30.0
"""Factor above which a size has another unit, rather than an unusual organ."""
WIDE_MM = 1000.0
"""Width above which a structure in a picture is doubtful."""


def against_usual(
    structure: str, volumes: np.ndarray, voxels: np.ndarray, measured: bool, mistakes: Sequence[Mistake]
) -> Iterator[str]:
    """
    Yield a message if all sizes of a structure, mm³, are in another unit.

    Args:
        structure: its name.
        volumes: its sizes.
        voxels: mm³ of a voxel of each scan.
        measured: whether the sizes were measured in masks, so that no unit explains them.
        mistakes: what may explain it.
    """
    if not len(volumes):
        return
    median = float(np.median(volumes))
    voxel = float(np.median(voxels))
    if median < voxel:
        yield (
            f"'{structure}': its sizes, {size_text(median, 3)} mm³ in the middle, are below one voxel "
            f"({size_text(voxel, 3)} mm³). Are they mL, read as mm³? Correct the unit."
        )
        return
    words = structure.lower().replace("_", " ").replace("-", " ").split()
    usual = next((USUAL_ML[word] * MM3_PER_ML for word in words if word in USUAL_ML), None)
    if usual is not None and not 1 / UNUSUAL < median / usual < UNUSUAL:
        yield (
            f"'{structure}': its sizes are {size_text(median / MM3_PER_ML, 3)} mL in the middle, those of adults about "
            f"{size_text(usual / MM3_PER_ML, 3)} mL. "
            + (
                "They were measured in masks: do these show it, and is the scans' spacing right?"
                if measured
                else explained(median / usual, mistakes, tolerance=4.0) or "Is the unit right?"
            )
        )


def too_wide(structure: str, areas: np.ndarray, pixels: np.ndarray, names: Sequence[str]) -> Iterator[str]:
    """Yield a message for a structure in pictures that is wider than anyone is."""
    widths = 2 * np.sqrt(areas / np.pi)
    if len(wide := np.flatnonzero(widths > WIDE_MM)):
        at = wide[0]
        yield (
            f"{names[at]}: '{structure}' is {widths[at] / 1000:.2g} m wide, as a disc of its "
            f"{size_text(areas[at])} mm², with pixels of {math.sqrt(pixels[at]):.4g} mm; so are {len(wide)} of "
            f"{len(widths)}. Is pixel_mm right, or is it in µm?"
        )


def explained(ratio: float, mistakes: Sequence[Mistake], tolerance: float = 2.0) -> str:
    """Return the mistake that makes sizes too large by this factor, if there is one."""
    factor, mistake = min(mistakes, key=lambda m: abs(math.log(ratio / m[0])))
    return f"Is it {mistake}?" if abs(math.log(ratio / factor)) <= math.log(tolerance) else ""
