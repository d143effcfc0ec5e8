"""Measurements as a size table, see :mod:`medsize.sizes.table.size_table`."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from medsize.files import atomic_write
from medsize.measurements.measurement import Measurement
from medsize.measurements.one_structure import disagreement, lesions, with_crossing_lines
from medsize.units import MM3_PER_ML

__all__ = ["SizeRows", "size_rows"]

UID = re.compile(r"[\d.]{16,}")
MOST_DEGREES = 0.1
"""Angle up to which a box counts as one along the scanner's axes."""
KINDS = ("volume_ml", "volume_ml low", "volume_ml high", "diameters_mm", "area_mm2", "click_mm")


@dataclass
class SizeRows:
    """Rows of a size table."""

    rows: list[dict[str, str]] = field(default_factory=list)
    """Cells by the names of their columns."""
    problems: list[str] = field(default_factory=list)
    """Sizes that contradict each other, and were left out."""

    @property
    def columns(self) -> list[str]:
        """Names of all columns."""
        held = {column for row in self.rows for column in row}
        structures = dict.fromkeys(column.rpartition(" ")[0] for row in self.rows for column in row if " " in column)
        names = dict.fromkeys(re.sub(r" volume_ml$", "", name) for name in structures)
        columns = ["image", *(own for own in ("lesion", "slice", "roi_mm") if own in held)]
        for name in names:
            kinds = [kind for kind in KINDS if f"{name} {kind}" in held]
            # A size table has a size for each structure, even if it is unknown everywhere.
            columns += [f"{name} {kind}" for kind in (kinds if kinds != ["click_mm"] else ["volume_ml", "click_mm"])]
        return [*columns, "source", "comment"]

    def write(self, file: Path) -> None:
        """Write them as CSV, whole or not at all."""
        with atomic_write(file) as partial, partial.open("w", newline="", encoding="utf-8") as opened:
            writer = csv.DictWriter(opened, self.columns, restval="")
            writer.writeheader()
            writer.writerows(self.rows)


def size_rows(
    measurements: Sequence[Measurement], between: bool = False, regions: Sequence[Measurement] = ()
) -> SizeRows:
    """
    Return the rows of measurements whose scans are known.

    A scan has a row, and one for each lesion where a structure has several. The source is the files' format. The
    comment says where each size is from, and the sentence that it stands in.

    Args:
        measurements: with scan, places in mm, and structures.
        between: state a structure that was measured more than once by the bounds of all its sizes. Default: one that
            differs is a problem.
        regions: boxes that are the regions of interest of their scans.
    """
    result = SizeRows()
    for image in dict.fromkeys(m.image for m in measurements):
        of_scan = [m for m in measurements if m.image == image]
        rows: dict[tuple[str, str], dict[str, str]] = {("", ""): {}}
        for structure in dict.fromkeys(m.structure for m in of_scan):
            of_one = [m for m in of_scan if m.structure == structure]
            sized = with_crossing_lines([m for m in of_one if m.mm3 is not None])
            try:
                groups = lesions(sized) if sized else []
                faults = [fault for group in groups if not between and (fault := disagreement(group))]
            except ValueError as e:
                faults = [str(e)]
            if faults:
                result.problems += faults
                continue
            for number, group in enumerate(groups, start=1):
                lesion = _name_of_lesion(structure, number, group, rows) if len(groups) > 1 else ""
                _add(rows.setdefault((lesion, ""), {}), structure, _cells(group, between), group)
            _add_areas(rows, structure, of_one, result)
            if shown := [m for m in of_one if not m.has_size]:
                _add(rows["", ""], structure, {"click_mm": _clicks(shown)}, shown)
        for (lesion, slice_number), cells in rows.items():
            if cells:
                own = {"image": image} | ({"lesion": lesion} if lesion else {})
                result.rows.append(own | ({"slice": slice_number} if slice_number else {}) | cells)
    if regions and not result.rows:
        result.problems.append(
            f"{regions[0]}: found a region of interest, but no size of any scan, expected both. Measure the structures."
        )
        return result
    for image in dict.fromkeys(m.image for m in regions):
        _add_region(result, image, [m for m in regions if m.image == image])
    return result


def _add_region(result: SizeRows, image: str, regions: Sequence[Measurement]) -> None:
    """Add the region of interest of a scan to its first row."""
    box, *others = dict.fromkeys(m.box for m in regions if m.box is not None)
    if others:
        result.problems.append(
            f"{regions[-1]}: found {len(others) + 1} regions of interest of {image}, expected one. Leave the others "
            "out, or name boxes around structures after these."
        )
    elif box.degrees > MOST_DEGREES:
        result.problems.append(
            f"{regions[0]}: found a region of interest that is rotated by {box.degrees:.3g}°, expected one along the "
            "scanner's axes. Rotate it back, or name a box around a structure after it."
        )
    else:
        row = next((row for row in result.rows if row["image"] == image), None)
        if row is None:
            result.rows.append(row := {"image": image})
        row["roi_mm"] = " to ".join(" ".join(f"{round(c, 2) + 0.0:g}" for c in end) for end in (box.low, box.high))
        _tell(row, "region of interest", regions)


def _add(row: dict[str, str], structure: str, cells: dict[str, str], measurements: Sequence[Measurement]) -> None:
    for kind, cell in cells.items():
        column = f"{structure} {kind}"
        row[column] = f"{row[column]}; {cell}" if row.get(column) and kind == "click_mm" else cell
    _tell(row, structure, measurements)


def _tell(row: dict[str, str], structure: str, measurements: Sequence[Measurement]) -> None:
    """Add where sizes are from to the comment of a row, and to its source."""
    said = [f"{structure}: {m.file.name}, {m.where}" + (f" '{m.text}'" if m.text else "") for m in measurements]
    row["comment"] = "; ".join(filter(None, [row.get("comment", ""), *said]))
    formats = [*row.get("source", "").split("; "), *(m.format for m in measurements)]
    row["source"] = "; ".join(dict.fromkeys(filter(None, formats)))


def _cells(group: Sequence[Measurement], between: bool) -> dict[str, str]:
    """Return the cells of a lesion by the kinds of their columns."""
    volumes = [m for m in group if m.volume_mm3 is not None]
    sizes = [m.mm3 / MM3_PER_ML for m in volumes or group if m.mm3 is not None]
    if between and len(sizes) > 1 and max(sizes) > min(sizes):
        cells = {"volume_ml low": f"{min(sizes):.6g}", "volume_ml high": f"{max(sizes):.6g}"}
    elif volumes:
        cells = {"volume_ml": f"{sizes[0]:.6g}"}
    else:
        most = max(group, key=lambda m: len(m.diameters_mm))
        cells = {"diameters_mm": " x ".join(f"{round(d, 2):g}" for d in sorted(most.diameters_mm, reverse=True))}
    return cells | ({"click_mm": clicks} if (clicks := _clicks(group)) else {})


def _clicks(group: Iterable[Measurement]) -> str:
    """Return points and lines as a size table has them, each once."""
    places = dict.fromkeys(
        " to ".join(" ".join(f"{c:g}" for c in point) for point in place.points) for m in group for place in m.places
    )
    return "; ".join(places)


def _name_of_lesion(
    structure: str, number: int, group: Sequence[Measurement], rows: dict[tuple[str, str], dict[str, str]]
) -> str:
    """Return a name that no other lesion of the scan has."""
    stated = next((m.lesion for m in group if m.lesion and not UID.fullmatch(m.lesion)), f"{structure} {number}")
    taken = {lesion for lesion, _ in rows}
    return stated if stated not in taken else next(n for i in range(2, 999) if (n := f"{stated} ({i})") not in taken)


def _add_areas(
    rows: dict[tuple[str, str], dict[str, str]], structure: str, of_one: Sequence[Measurement], result: SizeRows
) -> None:
    """Add the areas in slices to the rows of these slices; those of several outlines add up."""
    areas = [m for m in of_one if m.area_mm2 is not None]
    for number in dict.fromkeys(m.slice for m in areas):
        in_slice = [m for m in areas if m.slice == number]
        if len({m.lesion for m in in_slice}) < len(in_slice):
            result.problems.append(
                f"{in_slice[1]}: found {len(in_slice)} areas of '{structure}' in slice {number}, expected one, or "
                "names that tell them apart. Leave one out, or name them."
            )
            continue
        cell = " + ".join(f"{m.area_mm2:.6g}" for m in in_slice)
        _add(rows.setdefault(("", "" if number is None else str(number)), {}), structure, {"area_mm2": cell}, in_slice)
