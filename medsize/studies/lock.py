"""Locks that let one process at a time into a folder."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["locked"]


@contextmanager
def locked(folder: Path, name: str) -> Iterator[None]:
    """
    Wait for the lock ``name`` in a folder, and hold it; the system releases it when the process dies.

    Args:
        folder: the folder, created if missing.
        name: name of the lock's file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / name).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
