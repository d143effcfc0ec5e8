"""Origin of a cohort's sizes, for its data list and the model card of what is trained on them."""

from __future__ import annotations

from collections.abc import Iterable

from medsize.bundle.sharing.model_card import NOT_MEASURED_BY
from medsize.sizes.table.cells import SIZE_KINDS
from medsize.sizes.table.size_table import SizeTable
from medsize.suggest import first_few

__all__ = ["size_source"]


def size_source(table: SizeTable | None, with_row: Iterable[str], scans: Iterable[str]) -> str:
    """
    Return where the sizes of scans come from, as far as that is known.

    Args:
        table: the size table.
        with_row: names of the scans that have a row in it.
        scans: names of all scans with sizes.
    """
    scans, with_row = set(scans), set(with_row)
    told = []
    if in_masks := len(scans - with_row):
        told.append("measured in masks" + (f" of {in_masks} scans" if scans & with_row else ""))
    if table is not None and scans & with_row:
        columns = [column.name for column in table.columns if column.kind in SIZE_KINDS]
        told.append(f"size table {table.source.name} (columns {first_few(columns)})")
        told += dict.fromkeys(row.source for row in table.rows if row.source) or [NOT_MEASURED_BY]
    return "; ".join(told)
