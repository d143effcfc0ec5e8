"""Areas of the structures in pictures, as rows of a table."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from medsize.inference.new_scans import path_of
from medsize.inference.page import Shown
from medsize.inference.pictures import PictureMask
from medsize.metrics.size_error import relative_size_error
from medsize.scans.scan import FoundScan
from medsize.sizes.measurements import Extent, added
from medsize.sizes.size_table import SizeTable, comparable_path

__all__ = ["area_rows", "shown_areas", "stated_areas"]


def shown_areas(masks: Mapping[str, PictureMask]) -> Shown:
    """Return the words of a page of areas: in mm² if all pictures have pixels of known size, else in pixels."""
    known = all(mask.spacing_mm is not None for mask in masks.values())
    unit, name = ("mm²", "mm2") if known else ("px²", "px")
    return Shown("picture", "area", f"area_{name}", unit, f"low_{name}", f"high_{name}", "the edge of the picture")


def area_rows(
    masks: Mapping[str, PictureMask],
    named: Mapping[str, FoundScan],
    folder: Path,
    structures: list[str],
    stated: Mapping[str, Mapping[str, tuple[float, float]]] | None = None,
) -> Iterator[dict[str, Any]]:
    """
    Yield a row for each structure of each picture.

    Args:
        masks: facts about the masks, by the pictures' names.
        named: the pictures by name.
        folder: folder of all pictures.
        structures: names of the classes 1, 2, ….
        stated: low and high end of known areas, see :func:`stated_areas`.
    """
    shown = shown_areas(masks)
    for name, mask in masks.items():
        for index, structure in enumerate(structures, start=1):
            pixels = int(mask.counts[index])
            area = pixels * math.prod(mask.spacing_mm or (math.nan,))
            entry: dict[str, Any] = {"image": path_of(named[name], folder), "mask": mask.file, "structure": structure}
            entry |= {"area_mm2": area, "area_px": pixels, "fraction": pixels / int(mask.counts.sum())}
            entry["lower_bound"] = index in mask.at_edge
            if stated is not None:
                low, high = stated.get(name, {}).get(structure, (math.nan, math.nan))
                entry |= {shown.low: low, shown.high: high}
                entry["relative_size_error"] = float(relative_size_error(entry[shown.column], low, high))
            yield entry


def stated_areas(
    masks: Mapping[str, PictureMask], named: Mapping[str, FoundScan], folder: Path, table: SizeTable
) -> tuple[dict[str, dict[str, tuple[float, float]]], list[str]]:
    """
    Return the areas that a table states, in the unit of :func:`shown_areas`, and the problems of others.

    Args:
        masks: facts about the masks, by the pictures' names.
        named: the pictures by name.
        folder: folder of all pictures.
        table: size table whose images are paths from the folder.
    """
    in_mm = shown_areas(masks).unit == "mm²"
    areas: dict[str, dict[str, tuple[float, float]]] = {}
    problems: list[str] = []
    for name, mask in masks.items():
        pixel = math.prod(mask.spacing_mm) if in_mm and mask.spacing_mm else 1.0
        extent = Extent(float(mask.counts.sum()) * pixel, True, "mm" if in_mm else "px")
        known: dict[str, float | list[float]] = {}
        for row in table.rows_by_image.get(comparable_path(path_of(named[name], folder)), []):
            for structure, size in row.sizes.items():
                try:
                    if size.mask is not None:
                        raise ValueError(f"{size.mask}: masks of pictures are not compared. State the area.")
                    known[structure] = added(known.get(structure, 0.0), size.within(extent))
                except ValueError as e:
                    problems.append(f"{table.source}: row {row.number}: {e}")
        areas[name] = {
            structure: (size[0], size[1]) if isinstance(size, list) else (size, size)
            for structure, size in known.items()
        }
    return areas, problems
