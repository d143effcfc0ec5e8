"""Sizes of a cohort's scans: from the size table, else from their masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from medsize.cohort.conversion.scans import Converted, Converter
from medsize.cohort.organs import write_organs
from medsize.cohort.sizes.items import SIZES, measured_items, stated_items
from medsize.cohort.sizes.matched import Matched
from medsize.cohort.sizes.unpaired import unpaired
from medsize.errors import ProblemsError
from medsize.sizes.table.match_rows import rows_of
from medsize.sizes.table.size_table import SizeTableError

__all__ = ["Sized", "size_scans"]


@dataclass(frozen=True)
class Sized:
    """Scans with sizes."""

    items: list[dict[str, Any]]
    """Items of a data list, yet without folds."""
    problems: list[str]
    """Problems of masks, and scans without any size."""
    num_unknown: int
    """Number of scans in the table whose sizes are all unknown."""

    @property
    def images(self) -> list[str]:
        """Paths of the scans from the output folder."""
        return [item["image"] for item in self.items]


def size_scans(
    matched: Matched,
    converted: Converted,
    converter: Converter,
    roi_margin_mm: float | None,
    length_unit: Literal["mm", "px"] = "mm",
) -> Sized:
    """
    Collect the scans' sizes, from the table, else from the masks, and the masks of the organs that structures lie in.

    Args:
        matched: the cohort.
        converted: its scans.
        converter: their converter.
        roi_margin_mm: see :class:`medsize.cohort.InitOptions`.
        length_unit: ``px`` if the size of the pictures' pixels is unknown.

    Raises:
        SizeTableError: naming the rows that do not fit their scans, beside the other problems of the cohort.
        ProblemsError: when there are clicks alone.
    """
    output_dir, sources = converter.output_dir, matched.sources(converted)
    items, problems = measured_items(converted.rows.values(), output_dir, matched.structures, roi_margin_mm)
    if matched.table is not None:
        images = {sources[item["image"]]: item["image"] for item in items}
        listed = {name: images[path] for name, path in matched.rows.scans.items() if path in images}
        of_images = rows_of(matched.table, listed, converter.folder)
        try:
            items = stated_items(items, of_images, output_dir, converter.key, sources, length_unit)
        except SizeTableError as e:
            others = [*matched.found.problems, *unpaired(matched.found, matched.rows), *converted.problems]
            raise SizeTableError(e.source, [*e.problems, *others]) from e
    with_row = set(matched.rows.scans.values())
    unsized = [item["image"] for item in items if not {*SIZES, "clicks"} & item.keys()]
    untold = [image for image in unsized if sources[image] not in with_row]
    problems += [f"{output_dir / image}: found no size: it has no row and no mask. Add one." for image in untold]
    kept = [item for item in items if item["image"] not in set(unsized)]
    if kept and not any(SIZES & item.keys() for item in kept):
        raise ProblemsError(
            matched.table.source if matched.table is not None else converter.folder,
            ["found clicks, but no size of any scan, expected some. Fill in sizes."],
        )
    unknown = {"size": dict.fromkeys(matched.structures)}
    kept = [item if SIZES & item.keys() else {**item, **unknown} for item in kept]  # clicked alone
    organs, of_organs = _organs(kept, matched, converted, converter)
    kept = [item | ({"organs": organs[item["image"]]} if item["image"] in organs else {}) for item in kept]
    return Sized(kept, [*problems, *of_organs], len(unsized) - len(untold))


def _organs(
    items: Sequence[Mapping[str, Any]], matched: Matched, converted: Converted, converter: Converter
) -> tuple[dict[str, dict[str, str]], list[str]]:
    """Return the masks of the organs of each image, if these are drawn, and the problems of those masks."""
    by_source = {scan.scan.source: scan for scan in matched.found.scans}
    scans = {item["image"]: by_source[converted.scans[item["image"]].source] for item in items}
    return write_organs(scans, matched.organs, converter) if matched.organs else ({}, [])
