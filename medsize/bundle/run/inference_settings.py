"""Settings of a run's inference: ``inference.json``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from medsize.bundle.parts import COPY, read_object
from medsize.bundle.run.folder import INFERENCE, WEIGHTS

__all__ = ["inference_settings", "own_weights"]

LISTS = ("structures", "spacing", "roi_size")
"""Keys that hold lists; the first is in every run's file."""


def inference_settings(run: Path) -> dict[str, Any]:
    """
    Return the settings of a run's inference.

    Args:
        run: output folder of the run.

    Raises:
        OSError: when there is no such file.
        ValueError: when it is broken, with what was found.
    """
    file = run / INFERENCE
    settings = read_object(file)
    for key in LISTS:
        if (key in settings or key == LISTS[0]) and not isinstance(settings.get(key), list):
            raise ValueError(f"{file}: found {settings.get(key)!r:.40} as {key}, expected a list. {COPY}")
    return settings


def own_weights(run: Path) -> list[str]:
    """Return the option that leads the inference to the weights in a run's folder, if the run was copied or moved."""
    weights = run.resolve() / WEIGHTS
    stated = Path(str(inference_settings(run).get("checkpoint", ""))).resolve()
    return [] if stated == weights else ["--checkpoint", str(weights)]
