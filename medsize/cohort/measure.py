"""Items of a data list from converted scans: sizes measured in their masks, or stated by a size table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from medsize.cohort.pseudonym import pseudonym, renamed
from medsize.progress_bar import with_progress
from medsize.scans.fact_cache import cached_facts
from medsize.scans.scan_facts import UNREADABLE, mask_facts
from medsize.sizes.mask_sizes import describe_mask
from medsize.sizes.size_table import SizeTable, SizeTableError, add_sizes

__all__ = ["measured_items", "stated_items"]


class _Measured(BaseModel):
    """What a mask says of sizes."""

    size: dict[str, float]
    slice_size: dict[str, list[float]]


def measured_items(
    rows: Iterable[Mapping[str, str]],
    dataset_dir: Path,
    structures: Sequence[str],
    roi_margin_mm: float | None = None,
) -> tuple[list[dict[str, Any]], list[str]]:
    """
    Measure the masks of converted scans.

    Args:
        rows: of the index of converted scans.
        dataset_dir: folder that their paths start from.
        structures: names of all classes but the background.
        roi_margin_mm: also state a region of interest, so far around the mask's foreground. Default: none.

    Returns:
        items of a data list, with the sizes of those scans that have a mask; and what is wrong with masks, whose scans
        are left out.
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
            if roi_margin_mm is not None and (box := mask_facts(mask).box_mm(roi_margin_mm)) is not None:
                item["roi"] = {"box_mm": box}
        items.append(item)
    return items, problems


def stated_items(
    items: Iterable[Mapping[str, Any]], table: SizeTable, dataset_dir: Path, key: bytes, sources: Mapping[str, str]
) -> list[dict[str, Any]]:
    """
    Put the sizes and subjects of a table in place of those of the masks, where it has a row.

    Args:
        items: from :func:`measured_items`.
        table: sizes by the items' images.
        dataset_dir: folder that the items' paths start from.
        key: a secret, for the pseudonyms of the table's subjects.
        sources: how messages name the images.

    Raises:
        SizeTableError: naming every row that states no size.
    """
    items = list(items)
    bare = [{"image": item["image"]} for item in items if item["image"] in table.rows_by_image]
    try:
        by_image = {item["image"]: item for item in add_sizes(bare, table, dataset_dir)}
    except SizeTableError as e:
        raise SizeTableError(table.source, [renamed(problem, sources) for problem in e.problems]) from e
    joined = []
    for item in items:
        of_table = by_image.get(item["image"], {})
        kept = {k: v for k, v in item.items() if k not in ("size", "slice_size") or "size" not in of_table}
        subject = {"subject": pseudonym(of_table["subject"], key)} if "subject" in of_table else {}
        joined.append({**kept, **of_table, **subject})
    return joined


def _measured(mask: Path, class_names: Sequence[str]) -> _Measured:
    def find() -> _Measured:
        return _Measured.model_validate(describe_mask(mask, class_names))

    return cached_facts(mask, f"sizes of {list(class_names)}", _Measured, find)
