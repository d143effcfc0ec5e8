"""The network of a run in this process, with the settings of its inference."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from medsize.bundle.run.folder import INFERENCE, WEIGHTS
from medsize.bundle.run.inference_settings import inference_config
from medsize.inference.large_picture import (
    Axis,
    Window,
    brightness_range,
    fitted_picture,
    segment_rows,
    spaced_blocks,
)
from medsize.scans.pictures.rows import PictureRows, TiffRows

__all__ = ["RunNetwork"]


@dataclass(frozen=True)
class RunNetwork:
    """Network of a run, for pictures that are segmented row by row."""

    window: Window
    spacing: tuple[float, float]
    """Distance of the points that the network sees, along x and y: mm, or pixels if ``in_pixels``."""
    in_pixels: bool
    fit_to_window: bool
    """True if it sees pictures that are resized to fit its window."""
    intensity_window: tuple[float, float] | None
    """Values that become 0 and 1; ``None``: percentiles of the picture."""

    @classmethod
    def read(cls, run: Path, bundle: Path) -> RunNetwork:
        """
        Read the network and the settings of a run.

        Args:
            run: output folder of the run.
            bundle: its bundle.

        Raises:
            ValueError: when it sees intensities that only its own transforms make.
        """
        parser = inference_config(run, bundle)
        if "@" not in str(parser.get("intensity_transforms") or "@"):
            raise ValueError(
                f"{run / INFERENCE}: found intensity_transforms of its own, expected a window or percentiles. Large "
                "pictures are segmented row by row, which such transforms do not allow: divide them into tiles."
            )
        of_window = ("in_channels", "roi_size", "overlap", "device", "amp")
        keys = (*of_window, "spacing", "length_unit", "fit_to_window", "intensity_window")
        values = {key: parser.get_parsed_content(key) for key in keys}
        network = parser.get_parsed_content("network").eval()
        weights = torch.load(run / WEIGHTS, map_location=values["device"], weights_only=True)
        network.load_state_dict(weights)
        wide, tall = values["roi_size"]
        window = Window(
            network, values["in_channels"], (wide, tall), values["overlap"], values["device"], values["amp"]
        )
        brightness = values["intensity_window"]
        return cls(
            window,
            tuple(values["spacing"][:2]),
            values["length_unit"] == "px",
            values["fit_to_window"],
            None if brightness is None else tuple(brightness),
        )

    def segment(self, rows: TiffRows | PictureRows, strip: int) -> Iterator[np.ndarray]:
        """
        Yield the mask of a picture in strips of rows, from top to bottom.

        Args:
            rows: the picture.
            strip: number of rows of a strip.
        """
        channels, size = self.window.channels, (rows.width, rows.height)
        if self.fit_to_window:
            scale = min(n / m for n, m in zip(self.window.size, size, strict=True))
            x, y = (
                Axis.fitted(m, min(max(round(scale * m), 1), n)) for n, m in zip(self.window.size, size, strict=True)
            )
            picture = fitted_picture(rows, channels, x, y)
            low, high = np.percentile(picture, [0.5, 99.5])
            brightness = self.intensity_window or (float(low), float(high))
            seen = iter([picture])
        else:
            mm = (1.0, 1.0) if self.in_pixels or rows.spacing_mm is None else rows.spacing_mm
            x, y = (Axis.spaced(n, step / pixel) for n, step, pixel in zip(size, self.spacing, mm, strict=True))
            brightness = self.intensity_window or brightness_range(spaced_blocks(rows, channels, x, y), rows.dtype)
            seen = spaced_blocks(rows, channels, x, y)
        return segment_rows(seen, self.window, x, y, size, brightness, strip)
