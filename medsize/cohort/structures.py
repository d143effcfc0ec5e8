"""Which structures a cohort has, and which masks show them."""

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
from medsize.cohort.find import CohortScan
from medsize.scans.fact_cache import cached_facts
from medsize.scans.image_file import read_image_file
from medsize.scans.structure_name import matching_structures

__all__ = ["holds", "masks_of", "propose_structures"]


class _Values(BaseModel):
    highest: int


def propose_structures(scans: Sequence[CohortScan], folder: Path, of_table: Sequence[str] | None = None) -> list[str]:
    """
    Names of the structures: those of the size table, if there is one, else those that the masks show.

    These are what every SEG and RTSTRUCT, or every set of files, holds, or where each holds one, what their names begin
    with; of label maps, the names in a Decathlon ``dataset.json`` beside them.

    Args:
        scans: those of the cohort.
        folder: its folder.
        of_table: structures of the size table.

    Returns:
        the names in the order of their classes; none where there is no mask.

    Raises:
        ValueError: when the masks share no structure, naming what they hold.
    """
    if of_table is not None:
        named = _decathlon_names(folder)
        return named if set(named) == set(of_table) else list(of_table)
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
            listed = ", ".join(f"'{name}' ({n})" for name, n in counts.most_common(30))
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
    named = _decathlon_names(folder)
    highest = max(_highest(file) for file in maps)
    return named or [f"structure_{index}" for index in range(1, highest + 1)]


def masks_of(scan: CohortScan, structures: Sequence[str]) -> MaskFiles:
    """The masks of a scan as :func:`medsize.scans.masks.read_masks` takes them; SEG and RTSTRUCT before image files."""
    if scan.drawn:
        return scan.drawn
    if _is_label_map(scan):
        return next(iter(scan.named.values()))
    by_name = {_plain(name): file for name, file in scan.named.items()}
    return {name: by_name[_plain(name)] for name in structures if _plain(name) in by_name}


def holds(scan: CohortScan, structures: Sequence[str]) -> bool:
    """Whether the scan has masks that may show all these structures."""
    names = _names(scan)
    if names is None:
        return bool(scan.named)
    if scan.drawn:
        return all(matching_structures(name, names) for name in structures)
    return {_plain(name) for name in structures} <= {_plain(name) for name in names}


def _names(scan: CohortScan) -> list[str] | None:
    """Names of the structures in a scan's masks; ``None`` where it has none, or a label map, which has no names."""
    if scan.drawn:
        return list(scan.drawn_names)
    return None if not scan.named or _is_label_map(scan) else list(scan.named)


def _is_label_map(scan: CohortScan) -> bool:
    """One file of several classes, or one whose name says nothing."""
    if len(scan.named) != 1:
        return False
    ((name, file),) = scan.named.items()
    return name == "" or _highest(file) > 1


def _plain(name: str) -> str:
    return name.lower().replace(" ", "_").replace("-", "_")


def _highest(file: Path) -> int:
    """Highest value of a mask."""

    def find() -> _Values:
        mask = read_image_file(file)
        return _Values(highest=int(np.nan_to_num(SimpleITK.GetArrayViewFromImage(mask)).max(initial=0)))

    return cached_facts(file, "highest value", _Values, find).highest


def _decathlon_names(folder: Path) -> list[str]:
    """The labels of a ``dataset.json``, as the Decathlon (index to name) or nnU-Net (name to index) writes it."""
    file = folder / "dataset.json"
    try:
        labels = json.loads(file.read_text())["labels"]
        pairs = labels.items() if "0" in labels else [(index, name) for name, index in labels.items()]
        by_index = {int(index): str(name) for index, name in pairs}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # not there, or of something else
        return []
    if sorted(by_index) != list(range(len(by_index))):
        return []
    return [by_index[index] for index in range(1, len(by_index))]
