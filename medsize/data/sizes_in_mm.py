"""Sizes of a data list, in any of its units, as mm³ and mm²."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from medsize.data.data_list import Item, Lesions, SizeValue
from medsize.items import SizeKey
from medsize.scans.space.scan_header import scan_header
from medsize.suggest import closest_or_all
from medsize.units import MM3_PER_ML

__all__ = ["sizes_in_mm"]


def sizes_in_mm(
    item: Item, image: str, structures: Sequence[str], unit: str | None, where: str, problems: list[str]
) -> dict[SizeKey, torch.Tensor]:
    """
    Return the sizes that an item states, with the keys of :class:`medsize.items.CohortItem`.

    If no volume is stated, it is the sum of the areas in all slices.

    Args:
        item: an item of a data list.
        image: path of its scan, which is read if sizes depend on it.
        structures: names of the classes, without the background.
        unit: the data list's ``size_unit``.
        where: name of the item in messages.
        problems: list that the problems of the sizes are added to.
    """
    found: dict[SizeKey, torch.Tensor] = {}
    if (item.size or item.slice_size) and unit is None:
        problems.append(f"{where}: the data list has no 'size_unit', expected mm3, mL or fraction. Add it.")
        return found
    if item.size is not None:
        lesions = {name: size for name, size in item.size.items() if isinstance(size, Lesions)}
        stated: dict[str, list[SizeValue]] = {
            name: [_total(size) if isinstance(size, Lesions) else size] for name, size in item.size.items()
        }
        box = _intervals(stated, structures, f"{where}: size", problems)
        if box is not None and Path(image).is_file():
            found["volume_mm3"] = box[..., 0] * _unit_in_mm(image, unit, 3, where, problems)
            for name in lesions.keys() & set(structures):
                try:
                    found["volume_mm3"][:, structures.index(name)] += _of_diameters(lesions[name], image)
                except ValueError as e:
                    problems.append(f"{where}: size of '{name}': {e}")
    if item.slice_size is not None:
        box = _intervals(item.slice_size, structures, f"{where}: slice_size", problems)
        if box is not None and Path(image).is_file():
            found["slice_area_mm2"] = box * _unit_in_mm(image, unit, 2, where, problems)
    if "slice_area_mm2" in found and "volume_mm3" not in found:
        slice_distance = _header(image, where, problems)[0][2]
        found["volume_mm3"] = found["slice_area_mm2"].sum(dim=-1) * slice_distance
    return found


def _total(lesions: Lesions) -> tuple[float, float]:
    """Return both ends of the sum of ``each``, see :func:`medsize.sizes.table.measurements.added`."""
    low, high = zip(*lesions.intervals(), strict=True) if lesions.each else ((), ())
    return math.fsum(low), math.fsum(high)


def _of_diameters(lesions: Lesions, image: str) -> float:
    """Return the mm³ of the lesions that state diameters: ellipsoids or, in a scan of one slice, ellipses."""
    if not lesions.diameters_mm:
        return 0.0
    zooms, shape = scan_header(image)
    return lesions.area_mm2() * zooms[2] if shape[2] == 1 else lesions.volume_mm3()


def _intervals(
    stated: Mapping[str, Sequence[SizeValue]], structures: Sequence[str], where: str, problems: list[str]
) -> torch.Tensor | None:
    """Return low and high ends, shape ``(2, K − 1, Z)``."""
    for name in stated:
        if name not in structures:
            hint = closest_or_all(name, structures, "The structures are")
            problems.append(f"{where} names '{name}', which is not a structure of 'labels'.{hint}")
    if len({len(values) for values in stated.values()}) > 1:
        lengths = ", ".join(f"{name}: {len(values)}" for name, values in stated.items())
        problems.append(f"{where} has differing numbers of slices ({lengths}).")
        return None
    num_slices = len(next(iter(stated.values()), [None]))
    box = torch.stack(
        [torch.zeros(len(structures), num_slices), torch.full((len(structures), num_slices), torch.inf)]
    ).double()
    before = len(problems)
    for k, name in enumerate(structures):
        for z, value in enumerate(stated.get(name, [])):
            if value is None:
                continue
            low, high = value if isinstance(value, tuple) else (value, value)
            slice_name = f" in slice {z}" if num_slices > 1 else ""
            if not (math.isfinite(low) and math.isfinite(high)):
                problems.append(f"{where} of '{name}'{slice_name} is {value}: it must be a finite number.")
            elif low < 0:
                problems.append(f"{where} of '{name}'{slice_name} is {value}: a size cannot be negative.")
            elif low > high:
                problems.append(f"{where} of '{name}'{slice_name} is {value}: the low end is above the high end.")
            box[:, k, z] = torch.tensor([low, high], dtype=torch.float64)
    return box if len(problems) == before else None


def _unit_in_mm(image: str, unit: str | None, num_axes: int, where: str, problems: list[str]) -> float:
    """Return the mm³ in one unit of volume for three axes, or the mm² in one unit of area for two."""
    if unit == "fraction":
        zooms, shape = _header(image, where, problems)
        return math.prod(zooms[:num_axes]) * math.prod(shape[:num_axes])
    return MM3_PER_ML if unit == "mL" and num_axes == 3 else 1.0


def _header(image: str, where: str, problems: list[str]) -> tuple[list[float], list[int]]:
    try:
        return scan_header(image)
    except ValueError as e:
        problems.append(f"{where}: {e}.")
        return [1.0] * 3, [1] * 3
