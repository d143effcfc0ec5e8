"""Options of ``medsize init``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from medsize.cohort.conversion.scans import ConvertOptions

__all__ = ["InitOptions"]


@dataclass(frozen=True)
class InitOptions(ConvertOptions):
    """
    Options of :func:`medsize.cohort.init_cohort`.

    Default of the structures: those of the size table, else of all masks.
    """

    bundle: Path | None = None
    """Folder of the bundle to train. Default: medsize's own whose dimensions fit the scans."""
    window: tuple[float, float] | None = None
    """Intensities that become 0 and 1. Default: chosen from the data."""
    roi_margin_mm: float | None = None
    """Margin of a region of interest around the mask's foreground. Default: no region."""
    num_folds: int = 5
    pixel_mm: float | None = None
    """Side of the pixels of pictures, mm. Default: that of the size table or the files."""
    inside: Mapping[str, str] = field(default_factory=dict)
    """Organ that each structure lies in. Default: sizes are of whole scans."""
    measurements: bool | None = None
    """Use measurements in the folder, if there is no size table. Default: if there is no mask either."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.pixel_mm is not None and not (0 < self.pixel_mm < math.inf):
            raise ValueError(f"--pixel-mm is {self.pixel_mm:g}, expected mm above 0. Correct it.")
        if self.window is not None and self.window[0] >= self.window[1]:
            low, high = self.window
            raise ValueError(f"the window is {low:g} to {high:g}, expected the lower end first. Exchange them.")
