"""Cache of facts about files, valid while a file stays as it is."""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from medsize.files import atomic_write

__all__ = ["cache_dir", "cached_facts"]

Facts = TypeVar("Facts", bound=BaseModel)
_known: dict[tuple[str, str], BaseModel] = {}
"""Facts by the entry's name and the file's state, for this process."""


def cache_dir() -> Path:
    """Return the cache's folder: that of the environment variable MEDSIZE_CACHE_DIR, or else ~/.cache/medsize."""
    named = os.environ.get("MEDSIZE_CACHE_DIR")
    return Path(named) if named else Path.home() / ".cache" / "medsize"


def cached_facts(file: str | Path, what: str, kind: type[Facts], find: Callable[[], Facts]) -> Facts:
    """
    Return facts about a file: those found before if its size and times are still the same, else newly found ones.

    An entry holds neither names nor paths, and is replaced when the file changes. A broken entry is made anew. If the
    cache cannot be written to, a warning is given and nothing is kept.

    Args:
        file: the file.
        what: name of the facts, with everything but the file that they depend on.
        kind: their class.
        find: finds them. Its exceptions are passed on, and nothing is kept then.

    Raises:
        OSError: when the file does not exist.
    """
    path = os.path.abspath(file)  # links are not followed, which would read each folder above
    stat = os.stat(path)
    state = json.dumps([stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns])
    name = hashlib.sha256(json.dumps([path, what, _form(kind)]).encode()).hexdigest()
    if (name, state) in _known:
        return _known[name, state]  # type: ignore[return-value]
    entry = cache_dir() / name[:2] / f"{name}.json"
    facts = _read(entry, state, kind)
    if facts is None:
        facts = find()
        _write(entry, state, facts)
    _known[name, state] = facts
    return facts


@cache
def _form(kind: type[BaseModel]) -> str:
    """Describe the form of facts, to tell them from those that another version of medsize kept."""
    return json.dumps(kind.model_json_schema())


def _read(entry: Path, state: str, kind: type[Facts]) -> Facts | None:
    try:
        first, _, rest = entry.read_text().partition("\n")
        return kind.model_validate_json(rest) if first == state else None
    except (OSError, UnicodeDecodeError, ValidationError):  # missing or broken
        return None


def _write(entry: Path, state: str, facts: BaseModel) -> None:
    try:
        entry.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with atomic_write(entry, many_writers=True) as partial:
            partial.write_text(f"{state}\n{facts.model_dump_json()}\n")
    except OSError as e:
        warnings.warn(
            f"facts about scans cannot be kept in {cache_dir()}: {e}. They are sought anew each time. "
            "Set the environment variable MEDSIZE_CACHE_DIR to a folder that can be written to.",
            stacklevel=2,
        )
