"""What a run has left in its output folder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

__all__ = ["check_finished", "summary_for_inference"]


def check_finished(run: Path, files: Sequence[str]) -> None:
    """
    Raises:
        ValueError: when the output folder of a run lacks any of these files, naming those.
    """
    missing = [name for name in files if not (run / name).is_file()]
    if missing:
        raise ValueError(f"{run} is no finished run: there is no {', '.join(missing)} in it.")


def summary_for_inference(run: Path, on_regions: str) -> dict[str, Any]:
    """
    ``summary.json`` of a run whose network can be applied to whole scans.

    Args:
        run: its output folder.
        on_regions: what to do about a run that was cropped to regions of interest.

    Raises:
        ValueError: when the run is not finished, or was cropped.
    """
    check_finished(run, ["model.pt", "inference.json", "summary.json"])
    summary: dict[str, Any] = json.loads((run / "summary.json").read_text())
    if summary["roi"]:
        raise ValueError(f"{run} was cropped to regions of interest (use_roi){on_regions}")
    return summary
