"""Overlay file: settings of a cohort over a bundle's train.yaml, each with its reason."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from medsize.files import atomic_write

__all__ = ["Setting", "write_overlay"]


class Setting(NamedTuple):
    """A key of train.yaml, its value, and the reason."""

    key: str
    value: Any
    reason: str


def write_overlay(file: Path, settings: Iterable[Setting], bundle: str, source: str, notes: Sequence[str] = ()) -> None:
    """
    Write settings as an overlay of train.yaml, whole or not at all.

    Args:
        file: file to write.
        settings: the settings.
        bundle: name of the bundle that they are for.
        source: what proposes them, such as a command.
        notes: sentences to put above them.
    """
    lines = [
        f"# Overlay of train.yaml of {bundle} for this cohort, proposed by {source}. Correct it where necessary.",
        *(f"# {note}." for note in notes),
        *(f"{s.key}: {json.dumps(s.value, ensure_ascii=False)}  # {s.reason}" for s in settings),
    ]
    with atomic_write(file) as partial:
        partial.write_text("\n".join(lines) + "\n", encoding="utf-8")
