"""Suggestions for names and paths that do not exist."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

__all__ = ["closest_or_all", "did_you_mean", "did_you_mean_path", "first_few"]


def did_you_mean(name: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """
    Return `` Did you mean 'liver'?`` for the closest known name, or an empty string if none is close.

    Args:
        name: an unknown name.
        known: the known names.
        cutoff: smallest similarity of both names, from 0 to 1.
    """
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=cutoff)
    return f" Did you mean '{close[0]}'?" if close else ""


def closest_or_all(name: str, known: Iterable[str], all_are: str = "There are") -> str:
    """
    Return a suggestion like :func:`did_you_mean` or, if no name is close, all known names.

    Args:
        name: an unknown name.
        known: the known names.
        all_are: words in front of these.
    """
    known = list(known)
    return did_you_mean(name, known) or f" {all_are}: {', '.join(known) or 'none'}."


def did_you_mean_path(path: Path) -> str:
    """Suggest an existing path like :func:`did_you_mean`: it differs in the name of one file or folder."""
    missing = path.absolute()
    while not missing.parent.is_dir():
        missing = missing.parent
    beside = os.listdir(missing.parent) if os.access(missing.parent, os.R_OK) else []
    for close in difflib.get_close_matches(missing.name, beside):
        meant = missing.with_name(close) / path.absolute().relative_to(missing)
        if meant.exists():
            return f" Did you mean '{meant}'?"
    return ""


def first_few(names: Sequence[str], most: int = 5) -> str:
    """Return names for a message: the first of them, and how many more there are."""
    more = len(names) - most
    return f"{', '.join(names[:most])} and {more} more" if more > 0 else ", ".join(names)
