"""
Memory and time of the prediction of a picture of 20,000 × 20,000 pixels in colour, a TIFF in tiles.

    python -m benchmarks.large_picture

The 2D bundle's UNet sees it in windows of 256 × 256 that overlap by half. At every pixel these are 24,000 windows,
which takes long on a core: the first strips of the mask are made, since their number does not change the peak. The
whole picture is segmented at every fourth pixel. Each measurement has a fresh process, whose whole peak counts.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from benchmarks.result import Result, cpu_seconds, machine, run_module
from benchmarks.step import bundle_network
from medsize.handlers.peak_memory import peak_bytes
from medsize.inference.large_picture import Window
from medsize.inference.run_network import RunNetwork
from medsize.scans.pictures.rows import TILE, open_rows, write_tiles

SIDE = 20_000
WINDOW = (256, 256)
OVERLAP = 0.5
STRIPS = 4
"""Strips of the mask that are made at every pixel."""
STEP = 4
"""Pixels between those that the network sees of the whole picture."""
LIMIT_GB = 2


def main() -> None:
    """Print the results or, with arguments, take one measurement."""
    if sys.argv[1:]:
        file, step, strips = Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
        print(*measure(file, step, strips))
        return
    print(machine())
    for result in results():
        print(result, flush=True)


def results(side: int = SIDE) -> Iterator[Result]:
    """Yield peak and time at every pixel, and of the whole picture."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "picture.tif")
        write_picture(file, side)
        all_strips = -(-side // TILE)
        size = f"a picture of {side:,} × {side:,} in colour"
        peak, seconds = run_module(__spec__.name, file, 1, min(STRIPS, all_strips))
        remark = f"the network sees every pixel; {STRIPS} of {all_strips} strips, {seconds:.0f} s of processor time"
        yield Result(f"prediction of {size}: GB at its peak", [peak / 1e9], f"≤ {LIMIT_GB}", remark)
        peak, seconds = run_module(__spec__.name, file, STEP, all_strips)
        remark = f"the network sees every {STEP}th pixel, {seconds:.0f} s of processor time"
        yield Result("the same, whole", [peak / 1e9], f"≤ {LIMIT_GB}", remark)


def write_picture(file: Path, side: int) -> None:
    """Write a picture of coloured discs as a TIFF in tiles, never whole in memory."""
    rng = np.random.default_rng(0)
    tile = 512
    y, x = np.mgrid[:tile, :tile]

    def tiles() -> Iterator[np.ndarray]:
        for _ in range((-(-side // tile)) ** 2):
            disc = np.hypot(x - rng.integers(tile), y - rng.integers(tile)) < rng.integers(20, 200)
            yield np.where(disc[..., None], rng.integers(60, 250, 3), [230, 220, 225]).astype(np.uint8)

    options: dict[str, Any] = {"tile": (tile, tile), "compression": "zlib", "photometric": "rgb", "metadata": None}
    tifffile.imwrite(file, tiles(), shape=(side, side, 3), dtype=np.uint8, **options)


def measure(file: Path, step: float, strips: int) -> tuple[float, float]:
    """
    Segment strips of a picture.

    Args:
        file: the picture.
        step: pixels between those that the network sees.
        strips: number of strips of the mask.

    Returns:
        bytes at the process's peak, and seconds of processor time.
    """
    window = Window(bundle_network(2, in_channels=3).eval(), 3, WINDOW, OVERLAP)
    network = RunNetwork(window, (step, step), in_pixels=True, fit_to_window=False, intensity_window=None)

    def segment() -> None:
        with open_rows(file) as rows:
            masks = islice(network.segment(rows, TILE), strips)
            write_tiles(masks, (min(strips * TILE, rows.height), rows.width), file.with_name("mask.tif"))

    seconds = cpu_seconds(segment)
    return peak_bytes(), seconds


if __name__ == "__main__":
    main()
