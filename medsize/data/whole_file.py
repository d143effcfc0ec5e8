"""Files that are there whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["written_whole"]


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """
    Write a file under a temporary name beside it, and give it its own name when it is complete.

    Args:
        path: the file; its folder is created where missing.

    Yields:
        the temporary name, with the same ending.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".partial_{path.name}")
    yield partial
    os.replace(partial, path)
