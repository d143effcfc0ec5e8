"""Structures of a cohort, and the masks that show them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path

import numpy as np
import SimpleITK
from pydantic import BaseModel

from medsize.cohort.conversion import MaskFiles
from medsize.cohort.find import CohortScan, FoundCohort
from medsize.scans.fact_cache import cached_facts
from medsize.scans.image_file import read_image_file
from medsize.scans.scan_facts import first_line
from medsize.scans.structure_name import matching_structures
from medsize.sizes.size_table import SizeTable
from medsize.suggest import first_few

__all__ = ["choose_structures", "decathlon_labels", "holds", "masks_of", "names_used"]


DECATHLON = "dataset.json"
"""File beside label maps that names their values."""


class _Values(BaseModel):
    highest: int


def choose_structures(found: FoundCohort, wanted: Sequence[str], table: SizeTable | None) -> list[str]:
    """
    Choose the structures: those wanted, else those of the size table, if there is one, else those of the masks.

    The masks have the structures that every SEG and RTSTRUCT, or every set of files, holds. If each holds only one, it
    is the common beginning of their names. Label maps have the names in a ``dataset.json`` (Decathlon or nnU-Net)
    beside them.

    Args:
        found: the cohort.
        wanted: names to use. Default if empty: those of the table or the masks.
        table: the size table.

    Returns:
        the names in the order of their classes.

    Raises:
        ValueError: when there is no scan, or no mask and no table; when the masks share no structure, naming theirs;
            when a wanted name fits several of them in every scan, naming these; when ``dataset.json`` names none, or
            others than the table.
    """
    if not found.scans:
        raise ValueError("found no scan, expected DICOM, NIfTI, NRRD or MetaImage files. Check folder and options.")
    if wanted:
        _check_wanted(found, wanted)
        return list(wanted)
    structures = _of_masks(found.scans, found.folder) if table is None else _of_table(table, found)
    if not structures:
        raise ValueError("found no mask, expected masks or a size table. Give a size table: --sizes FILE.")
    return structures


def _check_wanted(found: FoundCohort, wanted: Sequence[str]) -> None:
    """Refuse a wanted name that no scan has, where it is the beginning of several."""
    for name in wanted:
        held = [names for scan in found.scans if (names := _names(scan))]
        fitting = [[names[i] for i in matching_structures(name, names)] for names in held]
        if any(len(fits) > 1 for fits in fitting) and not any(len(fits) == 1 for fits in fitting):
            several = first_few([f"'{fit}'" for fit in dict.fromkeys(fit for fits in fitting for fit in fits)])
            raise ValueError(
                f"--structure '{name}' fits several structures: {several}. Give the whole name of one, or of each."
            )


def names_used(found: FoundCohort, structure: str) -> Counter[str]:
    """Count the scans in which each name of SEG or RTSTRUCT stands for a structure."""
    names = [(scan.drawn_names, matching_structures(structure, scan.drawn_names)) for scan in found.scans if scan.drawn]
    return Counter(held[matching[0]] for held, matching in names if len(matching) == 1)


def _of_table(table: SizeTable, found: FoundCohort) -> list[str]:
    """Return the structures of a size table, in the order of the values in label maps, if these are named."""
    has_label_maps = any(scan.named and _is_label_map(scan) for scan in found.scans)
    named = decathlon_labels(found.folder)[1:] if has_label_maps else []
    if named and set(named) != set(table.structures):
        raise ValueError(
            f"{found.folder / DECATHLON}: found the structures {', '.join(named)}, expected those of {table.source}: "
            f"{', '.join(table.structures)}. Name the structures in the order of the masks' values: --structure NAME, "
            "once for each."
        )
    return named or list(table.structures)


def _of_masks(scans: Sequence[CohortScan], folder: Path) -> list[str]:
    """Return the structures of the masks; none if there is no mask."""
    held = [names for scan in scans if (names := _names(scan)) is not None]
    if held:
        shared = [name for name in held[0] if all(name in names for names in held)]
        if not shared and all(len(names) == 1 for names in held):
            letters = zip(*(names[0] for names in held), strict=False)
            same = takewhile(lambda letter: len(set(letter)) == 1, letters)
            start = "".join(letter[0] for letter in same).rstrip("_-. ")
            shared = [start] if len(start) >= 3 else []
        if not shared:
            counts = Counter(name for names in held for name in names)
            if not counts:
                raise ValueError(
                    f"{scans[0].drawn[0] if scans[0].drawn else folder}: the masks of {len(held)} scans hold no "
                    "structure with a name and an area, expected one. Name and draw it, or give a size table."
                )
            listed = first_few([f"'{name}' ({n})" for name, n in counts.most_common()])
            raise ValueError(
                f"the masks of {len(held)} scans have no structure in common; they hold {listed}. Name the structures "
                "to use: --structure NAME, once for each."
            )
        return shared
    maps = [scan.named[""] for scan in scans if "" in scan.named] or [
        file for scan in scans for file in scan.named.values()
    ]
    if not maps:
        return []
    named = decathlon_labels(folder)[1:]
    highest = max(_highest(file) for file in maps)
    return named or [f"structure_{index}" for index in range(1, highest + 1)]


def masks_of(scan: CohortScan, structures: Sequence[str]) -> MaskFiles:
    """Return the masks of a scan for :func:`medsize.scans.masks.read_masks`; SEG and RTSTRUCT before image files."""
    if scan.drawn:
        return scan.drawn
    if _is_label_map(scan):
        return next(iter(scan.named.values()))
    by_name = {_plain(name): file for name, file in scan.named.items()}
    return {name: by_name[_plain(name)] for name in structures if _plain(name) in by_name}


def holds(scan: CohortScan, structures: Sequence[str]) -> bool:
    """Return whether the scan has masks that may show all these structures."""
    names = _names(scan)
    if names is None:
        return bool(scan.named)
    if scan.drawn:
        return all(len(matching_structures(name, names)) == 1 for name in structures)
    return {_plain(name) for name in structures} <= {_plain(name) for name in names}


def _names(scan: CohortScan) -> list[str] | None:
    """Return the names of the structures in a scan's masks; ``None`` if it has none, or a label map without names."""
    if scan.drawn:
        return list(scan.drawn_names)
    return None if not scan.named or _is_label_map(scan) else list(scan.named)


def _is_label_map(scan: CohortScan) -> bool:
    """Return whether the mask is one file of several classes, or one whose name has no structure."""
    if len(scan.named) != 1:
        return False
    ((name, file),) = scan.named.items()
    return name == "" or _highest(file) > 1


def _plain(name: str) -> str:
    return name.lower().replace(" ", "_").replace("-", "_")


def _highest(file: Path) -> int:
    """Return the highest value of a mask."""

    def find() -> _Values:
        mask = read_image_file(file)
        return _Values(highest=int(np.nan_to_num(SimpleITK.GetArrayViewFromImage(mask)).max(initial=0)))

    return cached_facts(file, "highest value", _Values, find).highest


def decathlon_labels(folder: Path) -> list[str]:
    """
    Read the names of all classes from the ``dataset.json`` in a folder; empty if there is none.

    It may have the Decathlon's form (index to name) or that of nnU-Net (name to index).

    Raises:
        ValueError: when the file does not number the classes 0, 1, ….
    """
    file = folder / DECATHLON
    if not file.is_file():
        return []
    try:
        labels = json.loads(file.read_bytes())["labels"]
        pairs = labels.items() if "0" in labels else [(index, name) for name, index in labels.items()]
        by_index = sorted((int(index), str(name)) for index, name in pairs)
        fault = f"their values are {', '.join(str(index) for index, _ in by_index)}"
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as e:
        by_index, fault = [], f"{type(e).__name__}: {first_line(e)}"
    if len(by_index) < 2 or [index for index, _ in by_index] != list(range(len(by_index))):
        raise ValueError(
            f"{file}: found no usable labels ({fault}), expected "
            '"labels": {"background": 0, "NAME": 1, …} with the values of the masks, from 0 upwards. '
            "Correct it, or name the structures yourself: --structure NAME, once for each."
        )
    return [name for _, name in by_index]
