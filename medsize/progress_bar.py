"""A progress bar at a terminal."""

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
    Iterate with a progress bar on standard error, which goes when it is done; none where that is not a terminal.

    Args:
        sequence: what to iterate over.
        description: says what is done.
        total: how many there are. Default: the length of the sequence.
    """
    return track(
        sequence,
        description,
        total=total,
        transient=True,
        console=Console(stderr=True),
        disable=not sys.stderr.isatty(),
    )
