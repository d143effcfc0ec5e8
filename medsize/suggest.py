"""Suggestions for names and paths that do not exist."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable
from pathlib import Path

__all__ = ["did_you_mean", "did_you_mean_path"]


def did_you_mean(name: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """
    `` Did you mean 'liver'?`` for the known name that is closest, or an empty string where none is close.

    Args:
        name: a name that is not known.
        known: those that are.
        cutoff: how much of both names must be alike, from 0 to 1.
    """
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=cutoff)
    return f" Did you mean '{close[0]}'?" if close else ""


def did_you_mean_path(path: Path) -> str:
    """:func:`did_you_mean` for a path: one that exists, and differs from this one in the name of one file or folder."""
    missing = path.absolute()
    while not missing.parent.is_dir():
        missing = missing.parent
    beside = os.listdir(missing.parent) if os.access(missing.parent, os.R_OK) else []
    for close in difflib.get_close_matches(missing.name, beside):
        meant = missing.with_name(close) / path.absolute().relative_to(missing)
        if meant.exists():
            return f" Did you mean '{meant}'?"
    return ""
