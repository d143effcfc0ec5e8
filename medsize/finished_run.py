"""What a run has left in its output folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

__all__ = ["check_finished"]


def check_finished(run: Path, files: Sequence[str]) -> None:
    """
    Raises:
        ValueError: when the output folder of a run lacks any of these files, naming those.
    """
    missing = [name for name in files if not (run / name).is_file()]
    if missing:
        raise ValueError(f"{run} is no finished run: there is no {', '.join(missing)} in it.")
