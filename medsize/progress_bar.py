"""Progress bar at a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TypeVar

from rich.console import Console
from rich.progress import track

__all__ = ["with_progress"]

T = TypeVar("T")


def with_progress(sequence: Iterable[T], description: str, total: int | None = None) -> Iterable[T]:
    """
    Iterate with a progress bar on standard error, if that is a terminal; the bar disappears at the end.

    Args:
        sequence: items to iterate over.
        description: name of the work.
        total: number of items. Default: the length of the sequence.
    """
    return track(
        sequence,
        description,
        total=total,
        transient=True,
        console=Console(stderr=True),
        disable=not sys.stderr.isatty(),
    )
