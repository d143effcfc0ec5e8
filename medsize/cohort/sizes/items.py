"""Items of a data list from converted scans, with sizes from their masks or a size table."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel

from medsize.checks.plausibility.units import UNUSUAL
from medsize.cohort.conversion.pictures import IGNORED
from medsize.cohort.conversion.pseudonym import pseudonym, renamed
from medsize.progress_bar import with_progress
from medsize.scans.fact_cache import cached_facts
from medsize.scans.scan_facts import UNREADABLE, mask_facts
from medsize.scans.subjects import comparable_subject
from medsize.sizes.mask_sizes import describe_mask
from medsize.sizes.table.scan_sizes import add_sizes
from medsize.sizes.table.size_table import SizeTable, SizeTableError

__all__ = ["SIZES", "measured_items", "stated_items"]

SIZES = {"size", "slice_size"}
"""Keys of sizes in the items of data lists."""


class _Measured(BaseModel):
    """Sizes measured in a mask."""

    size: dict[str, float]
    slice_size: dict[str, list[float]]


def measured_items(
    rows: Iterable[Mapping[str, str]],
    dataset_dir: Path,
    structures: Sequence[str],
    roi_margin_mm: float | None = None,
) -> tuple[list[dict[str, Any]], list[str]]:
    """
    Measure the masks of converted scans. Of a mask that was resampled, the volumes are those before.

    Args:
        rows: lines of the index of converted scans.
        dataset_dir: folder that their paths start from.
        structures: names of all classes but the background.
        roi_margin_mm: margin of a region of interest around the mask's foreground. Default: no region.

    Returns:
        items of a data list, with the sizes of the scans that have a mask; and the problems of masks. The scans of
        these are left out.
    """
    items, problems = [], []
    for row in with_progress(list(rows), "measuring"):
        item: dict[str, Any] = {"image": row["image"], "subject": row["subject"]}
        if row["label"]:
            mask = dataset_dir / row["label"]
            try:
                measured = _measured(mask, ["background", *structures])
            except UNREADABLE as e:
                problems.append(f"{mask}: the mask cannot be measured: {e}")
                continue
            item |= {"label": row["label"], **measured.model_dump()}
            item["size"] |= json.loads(row.get("mask_mm3") or "{}")  # of masks that were resampled
            if roi_margin_mm is not None and (box := mask_facts(mask).box_mm(roi_margin_mm)) is not None:
                item["roi"] = {"box_mm": box}
        items.append(item)
    return items, problems


def stated_items(
    items: Iterable[Mapping[str, Any]],
    table: SizeTable,
    dataset_dir: Path,
    key: bytes,
    sources: Mapping[str, str],
    length_unit: Literal["mm", "px"] = "mm",
) -> list[dict[str, Any]]:
    """
    Replace the sizes and subjects of items by those of a table, if it has a row for them.

    A stated size above that of a mask in which the structure is cut off becomes an interval: at least what the mask
    shows, at most what is stated. A scan whose row names no subject keeps together with the other scans of its own
    subject, whatever the table calls that.

    Args:
        items: from :func:`measured_items`.
        table: sizes by the items' images.
        dataset_dir: folder that the items' paths start from.
        key: secret key for the pseudonyms of the table's subjects.
        sources: names of the images in messages.
        length_unit: see :func:`medsize.sizes.table.scan_sizes.scan_sizes`.

    Raises:
        SizeTableError: naming every row that states no size.
    """
    items = list(items)
    bare = [{"image": item["image"]} for item in items if item["image"] in table.rows_by_image]
    try:
        by_image = {item["image"]: item for item in add_sizes(bare, table, dataset_dir, length_unit)}
    except SizeTableError as e:
        raise SizeTableError(table.source, [renamed(problem, sources) for problem in e.problems]) from e
    joined = []
    named: dict[str, list[str]] = {}
    for item in items:
        of_table = dict(by_image.get(item["image"], {}))
        if "size" in of_table and "label" in item:
            of_table["size"] = _from_view(of_table["size"], item["size"], dataset_dir / item["label"])
        kept = {k: v for k, v in item.items() if k not in SIZES or not SIZES & of_table.keys()}
        subject = {}
        if "subject" in of_table:
            subject = {"subject": pseudonym(comparable_subject(of_table["subject"]), key)}
            named.setdefault(item["subject"], []).append(subject["subject"])
        joined.append({**kept, **of_table, **subject})
    same: dict[str, str] = {}

    def first(subject: str) -> str:
        while subject in same:
            subject = same[subject]
        return subject

    for item in items:
        if "subject" not in by_image.get(item["image"], {}):
            for other in named.get(item["subject"], []):
                one, of_other = first(item["subject"]), first(other)
                if one != of_other:
                    same[one] = of_other
    return [{**item, "subject": first(item["subject"])} for item in joined]


def _from_view(stated: Mapping[str, Any], measured: Mapping[str, float], mask: Path) -> dict[str, Any]:
    """Return the sizes of a scan, those of structures that its mask cuts off as intervals."""
    cut_off = mask_facts(mask).cut_off
    sizes = dict(stated)
    for value, (structure, shown) in enumerate(measured.items(), start=1):
        size = sizes.get(structure)
        if size is None or value not in cut_off:
            continue
        low, high = size if isinstance(size, list | tuple) else (size, size)
        if shown < low and high <= UNUSUAL * shown:  # above, it has another unit
            sizes[structure] = [shown, high]
    return sizes


def _measured(mask: Path, class_names: Sequence[str]) -> _Measured:
    def find() -> _Measured:
        return _Measured.model_validate(
            describe_mask(mask, class_names, ignored=IGNORED if len(class_names) <= IGNORED else None)
        )

    return cached_facts(mask, f"sizes of {list(class_names)} without {IGNORED}", _Measured, find)
