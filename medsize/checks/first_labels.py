"""First labels in a config: made before the first step, with one message of what is wrong or doubtful."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from medsize.checks.findings import Finding, RunRefused, refuse_or_warn
from medsize.first_labels import FirstLabels, make_first_labels
from medsize.first_labels.label_folder import REPORT, SUMMARY
from medsize.first_labels.report import advice

__all__ = ["open_first_labels"]


def open_first_labels(
    items: Sequence[Mapping[Any, Any]],
    transform: Callable[[Any], Any],
    first_labels: FirstLabels,
    folder: str | Path,
    class_names: Sequence[str],
    rank: int = 0,
) -> Path:
    """
    Make or find first labels in a config, see :func:`medsize.first_labels.make_first_labels`.

    Structures that the sizes do not tell from the rest are printed to stderr, with what would help.

    Args:
        items: training items.
        transform: the deterministic transforms of the training.
        first_labels: the method with its settings.
        folder: where to keep them.
        class_names: names of the classes, the background first.
        rank: number of this process; only the first one prints. Defaults to 0.

    Raises:
        RunRefused: with one message, when they cannot be made or kept.
    """
    try:
        made = make_first_labels(items, transform, first_labels, folder, class_names)
    except (ValueError, OSError) as e:
        raise RunRefused([Finding("first labels", str(e))]) from e
    if rank == 0:
        summary = json.loads((made / SUMMARY).read_text(encoding="utf-8"))
        print(f"First labels of {summary['scans']} scans, made in {summary['seconds']} s: {made / REPORT}", flush=True)
        refuse_or_warn([Finding("first labels", sentence, is_warning=True) for sentence in advice(summary)])
    return made
