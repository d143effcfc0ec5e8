"""Settings of a run's inference: ``inference.json``."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from medsize.bundle.parts import COPY, read_object
from medsize.bundle.run.folder import INFERENCE, WEIGHTS

__all__ = ["inference_config", "inference_settings", "own_weights"]

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
    for problem in _contradictions(settings):
        raise ValueError(f"{file}: {problem} {COPY}")
    return settings


def _contradictions(settings: Mapping[str, Any]) -> Iterator[str]:
    """Yield what does not go together, as after a change by hand."""
    structures = settings["structures"]
    if settings.get("num_classes") not in (None, len(structures) + 1):
        yield (
            f"found {len(structures)} structures and num_classes {settings['num_classes']!r:.40}, expected "
            f"{len(structures) + 1}, one more for the background."
        )
    axes = {key: len(settings[key]) for key in ("spacing", "roi_size") if settings.get(key)}
    if len(set(axes.values())) > 1:
        yield f"found {axes['spacing']} numbers in spacing and {axes['roi_size']} in roi_size, expected as many."
    calibration = settings.get("calibration") or {}
    for name, of_one in calibration.items() if isinstance(calibration, Mapping) else ():
        ends = [of_one.get(key) for key in ("low", "high", "least_ml")] if isinstance(of_one, Mapping) else ["none"]
        if not (all(end is None for end in ends) or all(isinstance(end, int | float) for end in ends)):
            yield f"found {of_one!r:.60} as the calibration of '{name}', expected the numbers low, high and least_ml."


def inference_config(run: Path, bundle: Path) -> ConfigParser:
    """Return the config of a run's inference by a bundle, whose scripts can be imported from then on."""
    sys.path.insert(1, str(bundle.resolve()))
    parser = ConfigParser()
    parser.read_config([bundle / "configs" / "inference.yaml", run / INFERENCE])
    parser["bundle_root"] = str(bundle.resolve())
    return parser


def own_weights(run: Path) -> list[str]:
    """Return the option that leads the inference to the weights in a run's folder, if the run was copied or moved."""
    weights = run.resolve() / WEIGHTS
    stated = Path(str(inference_settings(run).get("checkpoint", ""))).resolve()
    return [] if stated == weights else ["--checkpoint", str(weights)]
