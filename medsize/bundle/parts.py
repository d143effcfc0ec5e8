"""Parts of a bundle or a run: JSON, YAML and weights. Broken ones are named."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import yaml

__all__ = ["OF_SCRIPTS", "read_object", "read_weights"]

COPY = "Copy it again from where it was made."
OF_SCRIPTS = {"scripts.lean_unet.LeanUNet": "medsize.networks.LeanUNet"}
"""Networks of medsize, by their copies in the scripts of a bundle."""


def read_object(file: Path, advice: str = COPY) -> dict[str, Any]:
    """
    Read a JSON or YAML file that holds an object.

    Args:
        file: the file.
        advice: end of the message if it is broken. Default: copy it again.

    Raises:
        OSError: when it cannot be opened.
        ValueError: naming it, when it is broken or holds something else.
    """
    try:
        content = json.loads(file.read_bytes()) if file.suffix == ".json" else yaml.safe_load(file.read_bytes())
    except (ValueError, yaml.YAMLError) as e:
        kind = "JSON" if file.suffix == ".json" else "YAML"
        raise ValueError(f"{file}: found invalid {kind} ({' '.join(str(e).split())}). {advice}") from e
    if not isinstance(content, dict):
        raise ValueError(f"{file}: found {content!r:.40}, expected an object with keys. {advice}")
    return content


def read_weights(file: Path) -> dict[str, Any]:
    """
    Read the weights of a network.

    Args:
        file: the file.

    Raises:
        ValueError: naming it, when torch cannot read it.
    """
    import torch  # here, since commands that only start others read objects alone

    try:
        state: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as e:
        raise ValueError(f"{file}: found no weights that torch can read. Is the file complete? {COPY}") from e
    return state
