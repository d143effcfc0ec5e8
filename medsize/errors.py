"""Errors that list all problems at once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

__all__ = ["ProblemsError"]


class ProblemsError(ValueError):
    """
    Error that lists all problems of one source, one a line.

    Args:
        source: the file or folder with the problems.
        problems: a message for each.
    """

    def __init__(self, source: Path | str, problems: Sequence[str]) -> None:
        self.source = source
        self.problems = list(problems)
        count = f"{len(self.problems)} problem{'s' if len(self.problems) > 1 else ''}"
        super().__init__(f"{source}: {count}\n" + "\n".join(f"  - {p}" for p in self.problems))
