"""Names of structures: in files of masks, and of a left and a right one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from medsize.suggest import did_you_mean, first_few

__all__ = ["are_left_and_right", "choose_structure", "matching_structures"]

SIDES = {"left": -1, "l": -1, "lt": -1, "right": 1, "r": 1, "rt": 1}
CHAMBERS = {("ventricle",), ("atrium",), ("heart", "ventricle"), ("heart", "atrium")}
"""The heart's left and right chambers differ in look: they are not mirror images."""


def are_left_and_right(names: Sequence[str]) -> bool:
    """Return whether two of the names differ in the side alone, such as "left kidney" and "kidney_R"."""
    found: set[tuple[tuple[str, ...], int]] = set()
    for name in names:
        words = re.findall(r"[^\W\d_]+", name.casefold())
        sides = [SIDES[word] for word in words if word in SIDES]
        rest = tuple(word for word in words if word not in SIDES)
        if len(sides) == 1 and rest and rest not in CHAMBERS:
            found.add((rest, sides[0]))
    return any((rest, -side) in found for rest, side in found)


def matching_structures(wanted: str, names: Sequence[str]) -> list[int]:
    """
    Return the positions of the names that equal the wanted one, or if none does, that begin with it.

    Case and the signs between words count only where they tell names apart.
    """
    if same := [i for i, name in enumerate(names) if name == wanted]:
        return same
    plain = [_plain(name) for name in names]
    alike = [i for i, name in enumerate(plain) if name == _plain(wanted)]
    return alike or [i for i, name in enumerate(plain) if name.startswith(_plain(wanted))]


def choose_structure(file: Path, wanted: str, names: Sequence[str]) -> int:
    """
    Return the position of the only structure of a file that has the wanted name, or begins with it.

    Raises:
        ValueError: naming the file and its structures, when none or several have the name.
    """
    matching = matching_structures(wanted, names)
    if len(matching) != 1:
        held = first_few([f"'{names[i]}'" for i in matching or range(len(names))]) or "none"
        close = "" if matching else did_you_mean(wanted, names)
        raise ValueError(
            f"{file}: {len(matching)} of its regions are named '{wanted}…', expected one. "
            f"It holds: {held}.{close} Give the name of one of these."
        )
    return matching[0]


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", "_", name.strip().casefold())
