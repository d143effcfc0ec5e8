"""The size table of all readings, as ``medsize init --sizes`` reads it."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from medsize.files import atomic_write
from medsize.measure.readings import Reading
from medsize.units import MM3_PER_ML

__all__ = ["EDITED", "TABLE", "table_rows", "write_table"]

TABLE = "sizes.csv"
EDITED = "sizes_of_readings.csv"
"""Name of the table if somebody has changed ``sizes.csv`` by hand: what people write is not overwritten."""
STATE = ".sizes.sha256"
UNITS = {"volume_mm3": "volume_ml", "fraction": "fraction"}


def table_rows(readings: Iterable[Reading], structures: Sequence[str]) -> list[dict[str, str]]:
    """
    Return the rows of a size table, by column.

    Where several readers, or rounds, have read the same, the interval is from the lowest end to the highest, and the
    click is the first one. Case makes no other structure.

    Args:
        readings: the latest reading of each reader, round, scan and structure.
        structures: names of the first structures, in the order of the columns. Others that were read follow.
    """
    names = {name.casefold(): name for name in structures}
    of_scans: dict[str, dict[str, list[Reading]]] = {}
    for reading in readings:
        name = names.setdefault(reading.structure.casefold(), reading.structure)
        of_scans.setdefault(reading.scan, {}).setdefault(name, []).append(reading)
    structures = list(names.values())
    rows = [_row(scan, of_scans[scan], structures) for scan in sorted(of_scans)]
    filled = {column for row in rows for column in row}
    columns = [
        column
        for structure in structures
        for kind in (*(f"{unit} {end}" for unit in UNITS.values() for end in ("low", "high")), "click_mm")
        if (column := f"{structure} {kind}") in filled
        or (kind.startswith("volume_ml") and not filled & {f"{structure} {unit} low" for unit in UNITS.values()})
    ]
    return [{name: row.get(name, "") for name in ("image", *columns, "source", "comment")} for row in rows]


def _row(scan: str, read: Mapping[str, Sequence[Reading]], structures: Sequence[str]) -> dict[str, str]:
    """Return the filled cells of a scan, by column."""
    methods = dict.fromkeys(reading.method for of_one in read.values() for reading in of_one)
    row = {"image": scan, "source": f"medsize measure ({', '.join(methods)})"}
    remarks = []
    for structure in structures:
        readings = read.get(structure, [])
        sized = [reading for reading in readings if reading.kind != "none"]
        if sized:
            unit = UNITS[sized[0].kind]
            per = MM3_PER_ML if unit == "volume_ml" else 1.0
            row[f"{structure} {unit} low"] = f"{min(reading.low or 0.0 for reading in sized) / per:.6g}"
            row[f"{structure} {unit} high"] = f"{max(reading.high or 0.0 for reading in sized) / per:.6g}"
        if clicks := next((reading.clicks for reading in readings if reading.clicks), None):
            row[f"{structure} click_mm"] = "; ".join(_place(click) for click in clicks)
        remarks += [f"{structure}: {r.reader}, {r.method}, {r.seconds:.0f} s" for r in readings]
    return row | {"comment": "; ".join(remarks)}


def write_table(folder: Path, rows: Sequence[Mapping[str, str]]) -> tuple[Path, str]:
    """
    Write the size table, unless it was edited by hand: then write another one beside it.

    Returns:
        path of the table, and a remark if it is not :data:`TABLE`.

    Raises:
        OutputError: when it cannot be written.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else ["image"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    content = text.getvalue().encode()
    table, state = folder / TABLE, folder / STATE
    known = state.read_text().split() if state.is_file() else []
    if table.exists() and _sum(table.read_bytes()) not in known:
        with atomic_write(folder / EDITED) as partial:
            partial.write_bytes(content)
        return folder / EDITED, f"{table} was edited by hand, and is kept: {EDITED} has the readings."
    with atomic_write(state) as partial:  # of both tables: a kill may come before the second is there
        partial.write_text("\n".join([_sum(content), *known[:1]]))
    with atomic_write(table) as partial:
        partial.write_bytes(content)
    return table, ""


def _sum(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _place(click: Any) -> str:
    """Return a point or a line in the form of a size table."""
    if isinstance(click[0], list | tuple):
        return " to ".join(_place(end) for end in click)
    return " ".join(f"{value:.2f}" for value in click)
