"""The command that runs a cell of a study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medsize.bundle.run_command import training_command
from medsize.studies.cohort_setting import as_options

__all__ = ["NOISE_OVERLAY", "cell_command"]

NOISE_OVERLAY = Path(__file__).with_name("noise.yaml")
"""An overlay of a bundle's train.yaml, by which labels can be made wrong, and that is recorded."""


def cell_command(bundle: Path, overlays: Sequence[str], overrides: Mapping[str, Any]) -> list[str]:
    """
    Return ``python -m monai.bundle run`` of a cell.

    Args:
        bundle: its folder.
        overlays: configs to put over ``train.yaml`` and :data:`NOISE_OVERLAY`.
        overrides: values of single keys.

    Raises:
        ValueError: when the bundle has no such overlay.
    """
    return training_command(bundle, [NOISE_OVERLAY, *overlays], as_options(dict(overrides)))
