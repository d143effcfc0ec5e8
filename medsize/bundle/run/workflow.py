"""The running bundle workflow."""

from __future__ import annotations

import sys

from monai.bundle import ConfigWorkflow

__all__ = ["running_workflow"]


def running_workflow() -> ConfigWorkflow | None:
    """Return the workflow whose config the caller evaluates; ``None`` outside a workflow."""
    # A config expression cannot name its own workflow, so it is looked up among the callers.
    frame = sys._getframe()
    while frame is not None:
        caller = frame.f_locals.get("self")
        if isinstance(caller, ConfigWorkflow):
            return caller
        frame = frame.f_back  # type: ignore[assignment]
    return None
