"""Errors that list all that is wrong at once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

__all__ = ["ProblemsError"]


class ProblemsError(ValueError):
    """
    Report all that is wrong with one source, a problem a line.

    Args:
        source: the file or folder that the problems were found in.
        problems: one message each.
    """

    def __init__(self, source: Path | str, problems: Sequence[str]) -> None:
        self.source = source
        self.problems = list(problems)
        count = f"{len(self.problems)} problem{'s' if len(self.problems) > 1 else ''}"
        super().__init__(f"{source}: {count}\n" + "\n".join(f"  - {p}" for p in self.problems))
