"""
Time and peak memory of the first labels of a large cohort, made from scans that exist only while they are read.

    python -m benchmarks.first_labels_scale [--scans 500] [--slices 30] [--side 256] [--per-slice]

A scan is noise with a bright blob for each structure. Its sizes are those of its blobs. For a part of a cohort,
``--stride 4`` gives the grid that 500 such scans would get. Seconds are of the processors, of all threads together:
on an idle machine with two cores, about half of them pass.
"""

from __future__ import annotations

import resource
import time
from collections import defaultdict
from collections.abc import Callable, Hashable
from typing import Annotated, Any

import numpy as np
import torch
import typer
from monai.data import MetaTensor

from medsize.engines import keep_freed_memory
from medsize.first_labels import FirstLabels, Words
from medsize.first_labels import first_labels as method

PARTS = {
    "words": (Words, "fit"),
    "features": (Words, "transform"),
    "iterations chosen": (method, "choose_iterations"),
    "EM": (method, "fit_mixture"),
    "separability": (method, "separability"),
    "atlas": (method, "atlas_rounds"),
}
BRIGHTNESS = (0.35, 0.6, 0.85, 1.0)
AFFINE = torch.diag(torch.tensor([1.5, 1.5, 8.0, 1.0], dtype=torch.float64))


def main(
    scans: Annotated[int, typer.Option(help="Scans in the cohort.")] = 500,
    slices: Annotated[int, typer.Option(help="Slices of a scan.")] = 30,
    side: Annotated[int, typer.Option(help="Voxels along each side of a slice.")] = 256,
    structures: Annotated[int, typer.Option(help="Structures, at most four.")] = 3,
    per_slice: Annotated[bool, typer.Option("--per-slice", help="Give the size of each slice.")] = False,
    stride: Annotated[int | None, typer.Option(help="Voxels between two points of the grid.")] = None,
    threads: Annotated[int, typer.Option(help="Threads.")] = 2,
) -> None:
    """Make the first labels once, and print the seconds of each part and the peak of memory."""
    torch.set_num_threads(threads)
    keep_freed_memory()  # as a bundle's run does
    seconds: dict[str, float] = defaultdict(float)
    for part, (owner, name) in PARTS.items():
        setattr(owner, name, timed(getattr(owner, name), part, seconds))

    def read(number: int) -> dict[Hashable, Any]:
        began = time.process_time()
        item = make_scan(number, slices, side, structures, per_slice)
        seconds["reading"] += time.process_time() - began
        return item

    first_labels = FirstLabels(structures + 1, stride=stride)
    began = time.process_time()
    labels = first_labels(read, scans)
    total = time.process_time() - began
    for part in ("reading", *PARTS):
        print(f"{part}: {seconds[part]:.1f} s")
    print(f"total: {total:.1f} s, {total / scans:.2f} s a scan; {first_labels.iterations} iterations of EM")
    print(f"grid of a scan: {'×'.join(str(n) for n in labels[0].shape[1:])}")
    print(f"peak of memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")


def timed(function: Callable, part: str, seconds: dict[str, float]) -> Callable:
    """Return a function that also adds its seconds to a part, without those of reading scans."""

    def run(*arguments: Any, **options: Any) -> Any:
        began, reading = time.process_time(), seconds["reading"]
        result = function(*arguments, **options)
        seconds[part] += time.process_time() - began - (seconds["reading"] - reading)
        return result

    return run


def make_scan(number: int, slices: int, side: int, structures: int, per_slice: bool) -> dict[Hashable, Any]:
    """Return a scan with its sizes, the same for the same number."""
    rng = np.random.default_rng(number)
    image = rng.random((side, side, slices), dtype=np.float32) * 0.2
    axes = np.ogrid[:side, :side, :slices]
    mask = np.zeros(image.shape, np.uint8)
    for k in range(structures):
        centre = [(0.3 + 0.4 * (k % 2)) * side, (0.3 + 0.4 * (k // 2)) * side, 0.5 * slices]
        radius = rng.uniform(0.06, 0.16) * side
        distance = sum(
            ((a - c - rng.normal(0, 0.02) * side) / r) ** 2
            for a, c, r in zip(axes, centre, (radius, radius, 0.3 * slices), strict=True)
        )
        mask[distance < 1] = k + 1
    image += np.array([0.0, *BRIGHTNESS[:structures]], np.float32)[mask] * 0.8
    one_hot = torch.from_numpy(mask).long()
    areas = torch.stack([(one_hot == k).sum(dim=(0, 1)) * 1.5**2 for k in range(1, structures + 1)]).double()
    key, size = ("slice_area_mm2", areas) if per_slice else ("volume_mm3", areas.sum(dim=1) * 8)
    scan = MetaTensor(torch.from_numpy(image).unsqueeze(0), affine=AFFINE)
    return {"image": scan, "subject": str(number), key: size.expand(2, *size.shape)}


if __name__ == "__main__":
    typer.run(main)
