"""Sizes of a scan, as its rows in a size table and its grid give them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import nibabel
from nibabel.affines import apply_affine

from medsize.scans.scan_names import comparable_path
from medsize.scans.space.scan_header import scan_header
from medsize.sizes.mask_sizes import measure_structure
from medsize.sizes.table.cells import CLICK_PX
from medsize.sizes.table.measurements import Extent, StatedSize, added
from medsize.sizes.table.size_table import SizeRow, SizeTable, SizeTableError, first_with
from medsize.suggest import did_you_mean

__all__ = ["add_sizes", "scan_sizes"]

TOLERANCE = 0.01
"""Largest relative difference of the size of pixels in a table and a file: both are rounded."""


@dataclass(frozen=True)
class _Scan:
    """Scan that rows are about."""

    file: Path
    dataset_dir: Path
    length_unit: Literal["mm", "px"]
    spacing: Sequence[float]
    """Mm along each axis; NaN if the scan cannot be read."""
    shape: Sequence[int]
    """Voxels along each axis; 0 if the scan cannot be read."""

    @property
    def num_slices(self) -> int:
        return self.shape[2]

    def parts(self, stated: StatedSize, slice_number: int | None) -> Iterator[tuple[int | None, float | list[float]]]:
        """
        Yield a stated size in mm³ for the whole scan (``None``), in mm² or pixels for a slice, with its number.

        Args:
            stated: the size. That of a mask is one of the scan and of each slice.
            slice_number: slice that its row names. A picture is a slice.

        Raises:
            ValueError: when the mask cannot be measured, or the scan does not have such a size.
        """
        is_picture = self.num_slices == 1
        if stated.mask is not None:
            try:
                volume, areas = measure_structure(self.dataset_dir / stated.mask, self.file)
            except ValueError as e:
                raise ValueError(f"{stated.source}: {e}") from e
            if not is_picture:
                yield None, stated.times(volume)
            yield from ((z, stated.times(area)) for z, area in enumerate(areas))
            return
        z = 0 if is_picture else slice_number
        mm = [spacing * voxels for spacing, voxels in zip(self.spacing, self.shape, strict=True)]
        yield z, stated.within(Extent(math.prod(mm if z is None else mm[:2]), z is not None, self.length_unit))

    def places(self, structure: str, row: SizeRow, table: SizeTable) -> list[Any]:
        """
        Return the points and lines of a row in a picture, in scanner mm, RAS+.

        Raises:
            ValueError: when the scan is no picture, or a point lies outside it.
        """
        where = table.where(row, CLICK_PX, structure)
        if self.num_slices != 1:
            raise ValueError(
                f"{where} is for pictures, but the scan '{row.image}' has {self.num_slices} slices. State scanner mm, "
                f"in a column '{structure} click_mm'."
            )
        width, height = self.shape[:2]
        affine = nibabel.load(self.file).affine

        def in_mm(place: Any) -> Any:
            if isinstance(place[0], list):
                return [in_mm(end) for end in place]
            x, y = place
            if not (0 <= x < width and 0 <= y < height):
                raise ValueError(
                    f"{where}: {x:g} {y:g} lies outside the picture, which has {width} × {height} pixels. Correct it."
                )
            return apply_affine(affine, (x, y, 0)).tolist()

        return [in_mm(place) for place in row.clicks_px[structure]]

    def faults(self, row: SizeRow, table: SizeTable) -> Iterator[str]:
        """Yield a problem if a row is of a slice that the scan lacks, or states other pixels than the picture has."""
        if row.slice is not None and row.slice >= self.num_slices:
            yield (
                f"{table.where(row, 'slice')} is {row.slice}, but the scan '{row.image}' has {self.num_slices} slices. "
                f"Count them from 0 to {self.num_slices - 1}."
            )
        if row.pixel_mm is None or self.length_unit == "px" or self.num_slices == 0:
            return
        where = f"{table.where(row, 'pixel_mm')} is {row.pixel_mm:g}"
        if self.num_slices > 1:
            yield f"{where}, but '{row.image}' has {self.num_slices} slices, and is not a picture. Clear the cell."
        elif not all(math.isclose(mm, row.pixel_mm, rel_tol=TOLERANCE) for mm in self.spacing[:2]):
            yield (
                f"{where}, but the pixels of '{row.image}' have {self.spacing[0]:.4g} × {self.spacing[1]:.4g} mm. "
                "Correct one of them."
            )


def scan_sizes(
    table: SizeTable,
    image: str,
    dataset_dir: str | Path = ".",
    length_unit: Literal["mm", "px"] = "mm",
    scan_file: Path | None = None,
) -> dict[str, Any]:
    """
    Return the sizes of a scan, as entries of an item in a data list whose ``size_unit`` is ``mm3``.

    Args:
        table: the table, from :func:`medsize.sizes.table.read.read_size_table`.
        image: path of the scan from the data set's folder. A scan of one slice is a picture: all of its sizes are
            areas.
        dataset_dir: the data set's folder. Where all rows of a scan state volumes or diameters, it need not exist.
        length_unit: ``px`` if the size of the pictures' pixels is unknown.
        scan_file: the scan as NIfTI, if ``image`` is in another format.

    Returns:
        ``size``, mm³ per structure; ``slice_size``, mm² (with ``length_unit`` ``px`` pixels) per structure and
        slice along the last axis; ``clicks``, points and lines per structure in scanner mm, RAS+; ``roi``, a
        centre or a box likewise; ``subject``.
        A size is a number, ``[low, high]``, or ``None`` if unknown. Entries that the table lacks are left out.

    Raises:
        SizeTableError: when the scan has no row or lacks slices that its rows name, when it or a mask cannot be
            read, and when rows state what a scan, slice or picture does not have.
    """
    rows = table.rows_of(image)
    if not rows:
        problem = f"the scan '{image}' has no row. Add one, and leave its sizes empty if they are unknown."
        raise SizeTableError(table.source, [problem])
    scan_file = scan_file or Path(dataset_dir) / image
    scan = _Scan(scan_file, Path(dataset_dir), length_unit, *_grid(table, rows, scan_file, dataset_dir))
    sizes: dict[tuple[str, int | None], float | list[float]] = {}
    clicks: dict[str, list[Any]] = {}
    problems: list[str] = []
    for row in rows:
        problems += scan.faults(row, table)
        if row.slice is not None and row.slice >= scan.num_slices:
            continue
        for structure, places in row.clicks.items():
            clicks.setdefault(structure, []).extend(places)
        for structure in row.clicks_px:
            try:
                clicks.setdefault(structure, []).extend(scan.places(structure, row, table))
            except ValueError as e:
                problems.append(str(e))
        for structure, stated in row.sizes.items():
            try:
                for z, size in scan.parts(stated, row.slice):
                    sizes[structure, z] = added(sizes.get((structure, z), 0.0), size)
            except ValueError as e:
                problems.append(f"row {row.number}, {e}")
    if problems:
        raise SizeTableError(table.source, problems)
    in_slices = dict.fromkeys(structure for structure, z in sizes if z is not None)
    entries: dict[str, Any] = {
        "slice_size": {name: [sizes.get((name, z)) for z in range(scan.num_slices)] for name in in_slices},
        "clicks": clicks,
    }
    if any(z is None for _, z in sizes):
        entries["size"] = {name: sizes.get((name, None)) for name in table.structures}
    entries |= {key: getattr(first_with(key, rows), key, None) for key in ("roi", "subject")}
    return {key: entry for key, entry in entries.items() if entry}


def _grid(
    table: SizeTable, rows: Sequence[SizeRow], scan_file: Path, dataset_dir: str | Path
) -> tuple[list[float], list[int]]:
    """Return mm and voxels along each axis of a scan; NaN and 0 if it cannot be read, and nothing depends on it."""
    try:
        return scan_header(scan_file)
    except ValueError as e:
        stated = [size for row in rows for size in row.sizes.values()]
        of_scans = all(row.slice is None and not row.clicks_px for row in rows)
        if of_scans and all(size.unit == "mm3" for size in stated):
            return [math.nan] * 3, [0] * 3
        problem = f"{table.where(rows[0], 'image')}: {e}. Is '{dataset_dir}' the data set's folder?"
        raise SizeTableError(table.source, [problem]) from e


def add_sizes(
    items: Sequence[Mapping[str, Any]],
    table: SizeTable,
    dataset_dir: str | Path = ".",
    length_unit: Literal["mm", "px"] = "mm",
) -> list[dict[str, Any]]:
    """
    Add the sizes of a table to scans.

    Args:
        items: items of a data list, with ``image``, a path from the data set's folder.
        table: the table, from :func:`medsize.sizes.table.read.read_size_table`.
        dataset_dir: the data set's folder.
        length_unit: see :func:`scan_sizes`.

    Returns:
        new items with the entries of :func:`scan_sizes`, for a data list whose ``size_unit`` is ``mm3``.

    Raises:
        SizeTableError: naming every row without a scan, scan without a row, and scan that is listed twice or has other
            sizes or another subject already; and every problem of :func:`scan_sizes`.
    """
    images = {comparable_path(item["image"]): item["image"] for item in items}
    counts = Counter(comparable_path(item["image"]) for item in items)
    problems = [f"the scan '{images[key]}' is listed {n} times. List it once." for key, n in counts.items() if n > 1]
    for key, rows in table.rows_by_image.items():
        if key not in images:
            hint = did_you_mean(key, images.values()) or " Correct the path, or delete the row."
            further = f" and {len(rows) - 1} more of it" if len(rows) > 1 else ""
            problems.append(f"{table.where(rows[0], 'image')}{further}: there is no scan '{rows[0].image}'.{hint}")
    sized = []
    for item in items:
        try:
            entries = scan_sizes(table, item["image"], dataset_dir, length_unit)
        except SizeTableError as e:
            problems += e.problems
            continue
        problems += [
            f"the scan '{item['image']}' already has another '{key}'. Remove it, or correct the table."
            for key in entries
            if item.get(key) not in (None, entries[key])
        ]
        sized.append({**item, **entries})
    if problems:
        raise SizeTableError(table.source, list(dict.fromkeys(problems)))
    return sized
