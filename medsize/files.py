"""Files that are there whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

__all__ = ["atomic_write"]


@contextmanager
def atomic_write(path: Path, many_writers: bool = False) -> Iterator[Path]:
    """
    Write a file under a temporary name beside it, and give it its own name when it is complete.

    Args:
        path: the file; its folder is created where missing.
        many_writers: whether several processes may write it at once, each under a temporary name of its own. What a
            killed one leaves is then not overwritten by the next. Defaults to False.

    Yields:
        the temporary name, with the same ending.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".partial_{uuid4().hex if many_writers else ''}{path.name}")
    try:
        yield partial
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    os.replace(partial, path)
