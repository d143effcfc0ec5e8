"""Names of structures in files of masks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

__all__ = ["choose_structure", "matching_structures"]


def matching_structures(wanted: str, names: Sequence[str]) -> list[int]:
    """Return the positions of the names that equal the wanted one, or if none does, that begin with it."""
    same = [i for i, name in enumerate(names) if name == wanted]
    return same or [i for i, name in enumerate(names) if name.startswith(wanted)]


def choose_structure(file: Path, wanted: str, names: Sequence[str]) -> int:
    """
    Return the position of the only structure of a file that has the wanted name, or begins with it.

    Raises:
        ValueError: naming the file and its structures, when none or several have the name.
    """
    matching = matching_structures(wanted, names)
    if len(matching) != 1:
        held = ", ".join(f"'{name}'" for name in names) or "none"
        raise ValueError(
            f"{file}: {len(matching)} of its regions are named '{wanted}…', expected one. "
            f"It holds: {held}. Give the name of one of these."
        )
    return matching[0]
