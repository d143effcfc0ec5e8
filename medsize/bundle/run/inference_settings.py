"""Settings of a run's inference: ``inference.json``."""

from __future__ import annotations

import sys
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
    return settings


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
