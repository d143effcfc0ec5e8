"""Settings under which a run's network was trained, as defaults of its evaluation."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medsize.bundle.run.folder import INFERENCE, SUMMARY
from medsize.data.cohort import Cohort
from medsize.data.proposal import UNET_LEVELS, Proposal

__all__ = ["RunProposal"]


class RunProposal(Proposal):
    """
    Settings that a run recorded beside its weights; where there are none, those that fit the cohort.

    Args:
        cohort: what to evaluate on.
        spatial_dims: dimensions of the network, 2 or 3.
        checkpoint: the run's weights.
    """

    def __init__(self, cohort: Cohort, spatial_dims: int, checkpoint: str) -> None:
        super().__init__(cohort, spatial_dims)
        run = Path(checkpoint).parent
        summary, inference = _read(run / SUMMARY), _read(run / INFERENCE)
        names = {"use_roi": "roi", "size_level": "size_level"}
        self._recorded = {key: summary[name] for key, name in names.items() if name in summary}
        keys = ("spacing", "roi_size", "intensity_window", "in_channels", "fit_to_window")
        self._recorded |= {key: inference[key] for key in keys if key in inference}
        if inference:
            self._recorded["orientation"] = inference.get("orientation", "")  # older runs saw scans as they are stored
        strides = inference.get("strides", inference.get("network_def", {}).get("strides"))  # older runs: there only
        if isinstance(strides, list):
            self._recorded["strides"] = strides
        self._reason = f"as in the training, {run}"

    def in_channels(self) -> int:
        """See :meth:`medsize.data.Proposal.in_channels`."""
        return int(self._recall("in_channels")) if "in_channels" in self._recorded else super().in_channels()

    def fit_to_window(self, use_roi: bool | None = None) -> bool:
        """See :meth:`medsize.data.Proposal.fit_to_window`."""
        if "fit_to_window" in self._recorded:
            return bool(self._recall("fit_to_window"))
        return super().fit_to_window(use_roi)

    def orientation(self) -> str:
        """See :meth:`medsize.data.Proposal.orientation`."""
        return str(self._recall("orientation")) if "orientation" in self._recorded else super().orientation()

    def use_roi(self) -> bool:
        """See :meth:`medsize.data.Proposal.use_roi`."""
        return bool(self._recall("use_roi")) if "use_roi" in self._recorded else super().use_roi()

    def spacing(self, use_roi: bool | None = None, fits: bool | None = None) -> list[float]:
        """See :meth:`medsize.data.Proposal.spacing`."""
        return list(self._recall("spacing")) if "spacing" in self._recorded else super().spacing(use_roi, fits)

    def median_spacing(self) -> list[float]:
        """See :meth:`medsize.data.Proposal.median_spacing`."""
        return list(self._recall("spacing")) if "spacing" in self._recorded else super().median_spacing()

    def roi_size(
        self, spacing: Sequence[float] | None = None, use_roi: bool | None = None, fits: bool | None = None
    ) -> list[int]:
        """See :meth:`medsize.data.Proposal.roi_size`."""
        if "roi_size" in self._recorded:
            return list(self._recall("roi_size"))
        return super().roi_size(spacing, use_roi, fits)

    def strides(self, spacing: Sequence[float], roi_size: Sequence[int]) -> list[list[int]]:
        """See :meth:`medsize.data.Proposal.strides`. A bundle's own weights are of levels that halve every axis."""
        if "strides" in self._recorded:
            return list(self._recall("strides"))
        return [[2] * self.spatial_dims] * UNET_LEVELS[self.spatial_dims]

    def intensity_window(self) -> list[float] | None:
        """See :meth:`medsize.data.Proposal.intensity_window`."""
        if "intensity_window" not in self._recorded:
            return super().intensity_window()
        window: list[float] | None = self._recall("intensity_window")
        return window

    def size_level(self) -> str:
        """See :meth:`medsize.data.Proposal.size_level`."""
        return str(self._recall("size_level")) if "size_level" in self._recorded else super().size_level()

    def _recall(self, key: str) -> Any:
        self.reasons[key] = self._reason
        return self._recorded[key]


def _read(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text())
    except (OSError, ValueError):  # not a run's folder, or a run that broke off
        return {}
    return content if isinstance(content, dict) else {}
