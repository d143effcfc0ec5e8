"""What was found in a file is not sought again while the file stays as it is."""

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
    """Where facts are kept: the folder that the environment variable MEDSIZE_CACHE_DIR names, or ~/.cache/medsize."""
    named = os.environ.get("MEDSIZE_CACHE_DIR")
    return Path(named) if named else Path.home() / ".cache" / "medsize"


def cached_facts(file: str | Path, what: str, kind: type[Facts], find: Callable[[], Facts]) -> Facts:
    """
    Facts about a file: those found before, if its size and times are still the same, else newly found ones.

    An entry holds neither names nor paths, and is replaced when the file changes. One that is broken is made anew; a
    cache that cannot be written to is warned of, and done without.

    Args:
        file: the file.
        what: which facts, with all that they depend on but the file.
        kind: their class.
        find: finds them. What it raises is passed on, and nothing is kept.

    Raises:
        OSError: when there is no such file.
    """
    path = os.path.abspath(file)  # links are not followed: that takes a look at each folder above
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
    """Tells facts of this form from those that another version of medsize kept."""
    return json.dumps(kind.model_json_schema())


def _read(entry: Path, state: str, kind: type[Facts]) -> Facts | None:
    try:
        first, _, rest = entry.read_text().partition("\n")
        return kind.model_validate_json(rest) if first == state else None
    except (OSError, UnicodeDecodeError, ValidationError):  # not there, or broken
        return None


def _write(entry: Path, state: str, facts: BaseModel) -> None:
    try:
        entry.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with atomic_write(entry, many_writers=True) as partial:
            partial.write_text(f"{state}\n{facts.model_dump_json()}\n")
    except OSError as e:
        warnings.warn(
            f"facts about scans cannot be kept in {cache_dir()}: {e}. They are sought anew each time. "
            "Name a folder by the environment variable MEDSIZE_CACHE_DIR.",
            stacklevel=2,
        )
