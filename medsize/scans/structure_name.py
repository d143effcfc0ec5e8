"""Names of structures in files of masks."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from medsize.suggest import did_you_mean, first_few

__all__ = ["choose_structure", "matching_structures"]


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
