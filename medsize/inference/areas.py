"""Areas of the structures in pictures, as rows of a table."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

import pandas as pd

from medsize.inference.new_scans import NewScans, nothing_left
from medsize.inference.pictures import LARGE, PictureMask, convert_pictures, in_pixels, large_mask, small_mask
from medsize.inference.report.flags import told_flags, told_unchecked
from medsize.inference.report.page import MAX_SHOWN, Shown
from medsize.inference.report.predicted import Predicted
from medsize.inference.segmentation import Segmentation
from medsize.metrics.reliability import OF_PICTURES, CohortFacts, Reliability, reliability
from medsize.metrics.size_error import relative_size_error
from medsize.scans.scan import FoundScan
from medsize.sizes.table.measurements import Extent, StatedSize, added
from medsize.sizes.table.size_table import SizeTable

__all__ = ["predict_areas"]

TOO_LARGE = "it is too large for a network of regions. Crop it first."


def predict_areas(
    segmentation: Segmentation,
    new: NewScans,
    table: SizeTable | None = None,
    pixel_mm: Mapping[str, float] = MappingProxyType({}),
    large: int = LARGE,
) -> Predicted:
    """
    Segment pictures, and measure the structures.

    Args:
        segmentation: the network.
        new: the pictures.
        table: sizes to compare with, by the pictures' paths.
        pixel_mm: side of a pixel, mm, of the pictures by name, whatever they state. Default: what they state.
        large: number of pixels above which a picture is segmented row by row.

    Raises:
        ValueError: when there is no picture to segment, or none could be segmented.
    """
    output, structures = segmentation.output, segmentation.structures
    converted = convert_pictures(new.named, output, segmentation.settings, pixel_mm, large)
    problems = list(converted.problems)
    if not converted.small and not converted.large:
        raise nothing_left(new, "there is no scan to segment.", problems)
    for doubt in converted.doubts:
        segmentation.report(doubt)
    output.write_record()
    left = {name: new.named[name] for name in converted.small if not output.is_finished(name)}
    problems += segmentation.segment(left, new.paths)
    segmented = {name: new.named[name] for name in converted.small if output.is_finished(name)}
    masks = {n: small_mask(output, n, *converted.small[n], structures) for n in segmented}
    if segmentation.look is None:
        of_large, faults = _large_masks(converted.large, segmentation, pixel_mm)
        masks |= of_large
    else:
        faults = [f"{scan.source}: {TOO_LARGE}" for scan in converted.large.values()]
    problems += faults
    if not masks:
        raise nothing_left(new, "no picture could be segmented.", problems)
    lacking = sum(mask.spacing_mm is None for mask in masks.values())
    if lacking and not in_pixels(segmentation.settings):
        segmentation.report(
            f"area_mm2 and circumference_mm are empty for {lacking} of {len(masks)} pictures: their files do not state "
            "the size of a pixel. State it: --pixel-mm, or a column pixel_mm of --sizes."
        )
    known = None
    if table is not None:
        known, faults = _stated_areas(masks, new, table)
        problems += faults
    cohort = CohortFacts.read(segmentation.settings.get("cohort_facts", {}))
    flags = {
        name: reliability(dict(zip(structures, mask.structures, strict=True)), mask.facts, cohort, OF_PICTURES)
        for name, mask in masks.items()
    }
    shown = _shown_areas(masks)
    rows = pd.DataFrame(_area_rows(masks, new, structures, flags, shown, known))
    of_pictures = {new.paths[name]: mask.counts.sum() * _per_pixel(mask, shown) for name, mask in masks.items()}
    pictures = {new.paths[name]: mask.panel.png() for name, mask in masks.items()}
    panels = [mask.panel for mask in masks.values()][:MAX_SHOWN]
    told = told_flags(flags, OF_PICTURES.noun)
    unchecked = told_unchecked(flags.values(), cohort.scans, OF_PICTURES.noun)
    return Predicted(rows, shown, of_pictures, panels, pictures, segmented, problems, told, unchecked)


def _large_masks(
    pictures: Mapping[str, FoundScan], segmentation: Segmentation, pixel_mm: Mapping[str, float]
) -> tuple[dict[str, PictureMask], list[str]]:
    """Segment large pictures row by row; return their masks, and the problems of those that cannot be read."""
    masks: dict[str, PictureMask] = {}
    problems: list[str] = []
    for name, scan in pictures.items():
        try:
            masks[name] = large_mask(segmentation, name, scan, pixel_mm.get(name))
        except ValueError as e:
            problems.append(str(e))
    return masks, problems


def _shown_areas(masks: Mapping[str, PictureMask]) -> Shown:
    """Return the words of a page of areas: in mm² if most pictures have pixels of known size, else in pixels."""
    known = sum(mask.spacing_mm is not None for mask in masks.values())
    unit, name = ("mm²", "mm2") if 2 * known >= len(masks) else ("px", "px")
    return Shown("picture", "area", f"area_{name}", unit, f"low_{name}", f"high_{name}", "the edge of the picture")


def _per_pixel(mask: PictureMask, shown: Shown) -> float:
    """Return the area of a picture's pixel in the unit of the page; NaN if it is unknown."""
    return 1.0 if shown.unit == "px" else _pixel_mm2(mask)


def _pixel_mm2(mask: PictureMask) -> float:
    return math.prod(mask.spacing_mm or (math.nan,))


def _area_rows(
    masks: Mapping[str, PictureMask],
    new: NewScans,
    structures: list[str],
    flags: Mapping[str, Reliability],
    shown: Shown,
    stated: Mapping[str, Mapping[str, tuple[float, float]]] | None = None,
) -> Iterator[dict[str, Any]]:
    """
    Yield a row for each structure of each picture.

    Args:
        masks: facts about the masks, by the pictures' names.
        new: the pictures.
        structures: names of the classes 1, 2, ….
        flags: by the pictures' names.
        shown: words of the page.
        stated: low and high end of known areas, see :func:`_stated_areas`.
    """
    for name, mask in masks.items():
        for index, (structure, found) in enumerate(zip(structures, mask.structures, strict=True), start=1):
            pixels = int(mask.counts[index])
            entry: dict[str, Any] = {"image": new.paths[name], "mask": mask.file, "structure": structure}
            entry |= {
                "area_mm2": pixels * _pixel_mm2(mask),
                "area_px": pixels,
                "fraction": pixels / int(mask.counts.sum()),
            }
            entry["circumference_mm"] = mask.circumferences_mm[index] if mask.circumferences_mm else math.nan
            entry["lower_bound"] = found.at_edge
            if stated is not None:
                low, high = stated.get(name, {}).get(structure, (math.nan, math.nan))
                entry |= {shown.low: low * _per_pixel(mask, shown), shown.high: high * _per_pixel(mask, shown)}
                entry["relative_size_error"] = float(relative_size_error(pixels, low, high))
            sure = math.nan if found.confidence is None else found.confidence
            yield entry | {"confidence": sure} | flags[name].as_row()


def _stated_areas(
    masks: Mapping[str, PictureMask], new: NewScans, table: SizeTable
) -> tuple[dict[str, dict[str, tuple[float, float]]], list[str]]:
    """
    Return the areas that a table states, in pixels of the picture, and the problems of others.

    Args:
        masks: facts about the masks, by the pictures' names.
        new: the pictures.
        table: size table whose images are paths from the folder.
    """
    areas: dict[str, dict[str, tuple[float, float]]] = {}
    problems: list[str] = []
    for name, mask in masks.items():
        known: dict[str, float | list[float]] = {}
        for row in table.rows_of(new.paths[name]):
            for structure, size in row.sizes.items():
                try:
                    if size.mask is not None:
                        raise ValueError(f"{size.mask}: masks of pictures are not compared. State the area.")
                    known[structure] = added(known.get(structure, 0.0), _in_pixels(size, mask))
                except ValueError as e:
                    problems.append(f"{table.source}: row {row.number}: {e}")
        areas[name] = {
            structure: (size[0], size[1]) if isinstance(size, list) else (size, size)
            for structure, size in known.items()
        }
    return areas, problems


def _in_pixels(size: StatedSize, mask: PictureMask) -> list[float]:
    """Return both ends of a size that is stated for a picture."""
    pixels = float(mask.counts.sum())
    if size.unit == "px" or mask.spacing_mm is None:
        extent, per_pixel = Extent(pixels, True, "px"), 1.0
    else:
        per_pixel = _pixel_mm2(mask)
        extent = Extent(pixels * per_pixel, True, "mm")
    ends = size.within(extent)
    return [end / per_pixel for end in (ends if isinstance(ends, list) else [ends, ends])]
