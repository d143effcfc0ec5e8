"""Rows of a size table that contradict each other, or whose sizes would count twice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from medsize.sizes.table.size_table import SizeRow, SizeTable, first_with

__all__ = ["contradictions"]


def contradictions(table: SizeTable) -> Iterator[str]:
    """Yield a problem for rows of the same scan that contradict each other."""
    for rows in table.rows_by_image.values():
        first: dict[tuple[int | None, str | None], SizeRow] = {}
        masks = {structure: row for row in rows for structure, stated in row.sizes.items() if stated.mask}
        for row in rows:
            twin = first.setdefault((row.slice, row.lesion), row)
            if twin is not row:
                what = "scan" if row.slice is None else f"slice {row.slice} of the scan"
                what = what if row.lesion is None else f"lesion '{row.lesion}' in the same {what}"
                yield (
                    f"{table.where(row, 'image')}: row {twin.number} is of the same {what}, '{row.image}'. Delete one "
                    "of them; of two measurements, write the bounds into columns with 'low' and 'high' behind their "
                    "names; number several lesions in a column 'lesion'."
                )
            yield from _stated_otherwise(table, row, rows)
            yield from _counted_twice(table, row, rows)
            for structure in row.sizes.keys() & masks.keys():
                if row.slice is not None:
                    yield (
                        f"{table.where(masks[structure], 'mask', structure)} tells the size of '{structure}' in every "
                        f"slice, but row {row.number} states it in slice {row.slice}. Clear one of them."
                    )


def _stated_otherwise(table: SizeTable, row: SizeRow, rows: Sequence[SizeRow]) -> Iterator[str]:
    """Yield a problem for what a row says of the whole scan, if the first row to say so says something else."""
    for key in ("subject", "pixel_mm", "roi"):
        said, earlier = getattr(row, key), first_with(key, rows)
        if earlier is None or said in (None, getattr(earlier, key)):
            continue
        if key == "roi":
            yield (
                f"row {row.number} states another region of interest than row {earlier.number} of the same scan, "
                f"'{row.image}', expected one. Write a box around both, or clear one of them."
            )
        else:
            yield (
                f"{table.where(row, key)} is {said!r}, but row {earlier.number} of the same scan says "
                f"{getattr(earlier, key)!r}. Correct one of them."
            )


def _counted_twice(table: SizeTable, row: SizeRow, rows: Sequence[SizeRow]) -> Iterator[str]:
    """Yield a problem for sizes that would add up, though they are not those of several lesions."""
    before = [other for other in rows if other.slice == row.slice and other.number < row.number]
    first = {name: other for other in reversed(before) for name in row.sizes if name in other.sizes}
    totals = [name for name, other in first.items() if (other.lesion is None) != (row.lesion is None)]
    where = table.where(row, "image")
    if totals:
        yield (
            f"{where}: the size of '{totals[0]}' stands in row {first[totals[0]].number}, too, and only one of both "
            "names a lesion: sizes of lesions add up. Fill in 'lesion' in both, or clear one of the sizes."
        )
    elif row.lesion is not None and len(first) > 1:
        yield (
            f"{where}: the sizes of {' and '.join(map(repr, first))} stand in several rows of the scan, and would add "
            "up. State one structure in the row of a lesion, and sizes of the whole scan in one row only."
        )
