"""
Times and memory on a GPU, as ratios of parts that are measured in turn.

    python -m benchmarks.gpu [--device cuda]

It compares a step under size + Potts with one under DiceCE, two passes over a whole scan with one pass over a scan that
fits, inference in mixed precision with float32, and first labels with those made on the CPU. Where there is no GPU it
says so, and measures nothing. ``--device cpu`` tries it, with sizes for a CPU.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, NamedTuple

import torch
import typer
from monai.inferers import SliceInferer
from monai.transforms import Compose, LoadImaged, ScaleIntensityRangePercentilesd

from benchmarks.result import Result, cpu_seconds, machine, paired_ratios
from benchmarks.step import BATCH, bundle_network, step_ratios
from benchmarks.whole_volume import trainer_of
from medsize.data import load_cohort, write_phantom_cohort
from medsize.first_labels import FirstLabels

CPU = torch.device("cpu")


class Sizes(NamedTuple):
    """Sizes that a device is measured at."""

    side_2d: int
    side_3d: int
    large: int
    """Side of the scan that takes two passes; patches, and the scan of one pass, have half of it."""
    slices: int
    """Slices to segment, each with twice the pixels of a window along both axes."""
    phantoms: int
    repeats: int


ON_GPU = Sizes(side_2d=96, side_3d=64, large=256, slices=128, phantoms=24, repeats=9)
ON_CPU = Sizes(side_2d=32, side_3d=16, large=32, slices=4, phantoms=3, repeats=1)


def main(device: Annotated[str, typer.Option(help="Device to measure: cuda, cuda:1, cpu.")] = "cuda") -> None:
    """Print the results."""
    if device.startswith("cuda") and not torch.cuda.is_available():
        print("There is no CUDA device: nothing was measured. --device cpu tries this benchmark on the CPU.")
        return
    chosen = torch.device(device)
    name = torch.cuda.get_device_name(chosen) if chosen.type == "cuda" else "the CPU, which only tries this benchmark"
    print(f"{machine()}; measured on {name}")
    for result in results(chosen, ON_CPU if chosen.type == "cpu" else ON_GPU):
        print(result, flush=True)


def results(device: torch.device, sizes: Sizes) -> Iterator[Result]:
    """Measure the results one after the other."""
    for amp in (False, True):
        precision = "mixed precision" if amp else "float32"
        for axes, batch, side, radius in ((2, BATCH, sizes.side_2d, 2), (3, 1, sizes.side_3d, 1)):
            ratios = step_ratios(axes, batch, side, radius, sizes.repeats, device, timer_of(device), amp)
            yield Result(f"{axes}D step with size + Potts over DiceCE, {side}{'²³'[axes - 2]}, {precision}", ratios)
    yield from two_pass_results(device, sizes)
    yield inference_result(device, sizes)
    yield first_labels_result(device, sizes)


def two_pass_results(device: torch.device, sizes: Sizes) -> Iterator[Result]:
    """Measure a step by two passes over a whole scan beside one by one pass over a scan of an eighth of its voxels."""
    seconds = timer_of(device)
    large, small = sizes.large, sizes.large // 2
    runs = [
        (lambda: trainer_of(large, small, device=device).run),
        (lambda: trainer_of(small, None, device=device).run),
    ]
    two, one = ((lambda run=run: seconds(run())) for run in runs)
    times = paired_ratios(two, one, max(sizes.repeats // 3, 1), warm_up=1)
    yield Result(
        f"time of two passes at {large}³, patches of {small}³, over one pass at {small}³, for each voxel",
        [ratio / 8 for ratio in times],
        remark="by counting: 1.33",
    )
    if device.type == "cuda":
        peaks = [peak_bytes_of(run(), device) for run in runs]
        remark = f"{peaks[0] / 2**30:.2f} over {peaks[1] / 2**30:.2f} GB"
        yield Result("their peak memory", [peaks[0] / peaks[1]], remark=remark)


def inference_result(device: torch.device, sizes: Sizes) -> Result:
    """Measure the segmentation of slices in mixed precision beside float32."""
    network = bundle_network(2).eval().to(device)
    inferer = SliceInferer(roi_size=[sizes.side_2d] * 2, spatial_dim=2, sw_batch_size=16, overlap=0.5, mode="gaussian")
    scan = torch.rand(1, 1, 2 * sizes.side_2d, 2 * sizes.side_2d, sizes.slices, device=device)
    found: list[float] = []

    def segment(amp: bool) -> float:
        with torch.inference_mode(), torch.autocast(device.type, enabled=amp):
            found.append(timer_of(device)(lambda: inferer(scan, network)))
        return found[-1]

    ratios = paired_ratios(lambda: segment(True), lambda: segment(False), sizes.repeats)
    rates = [sizes.slices / seconds for seconds in found[-2:]]
    remark = f"{rates[0]:.0f} and {rates[1]:.0f} slices of {2 * sizes.side_2d}² a second in the last repeat"
    return Result("time of 2D inference in mixed precision over float32", ratios, remark=remark)


def first_labels_result(device: torch.device, sizes: Sizes) -> Result:
    """Measure first labels whose features are computed on the device beside those of the CPU."""
    loading = Compose(
        [
            LoadImaged("image", image_only=True, ensure_channel_first=True),
            ScaleIntensityRangePercentilesd("image", 0.5, 99.5, 0.0, 1.0, clip=True),
        ]
    )
    labels: dict[str, torch.Tensor] = {}
    with TemporaryDirectory() as folder:
        write_phantom_cohort(Path(folder), num_scans=sizes.phantoms)
        items = load_cohort(Path(folder) / "datalist.json", folder).training_items("size", None, "volume", None)

        def make(where: torch.device) -> float:
            method = FirstLabels(4, vocabularies=(200,), rounds=2, device=where)
            began = time.perf_counter()
            made = method(lambda number: loading(dict(items[number])), len(items))
            seconds = time.perf_counter() - began
            labels[str(where)] = torch.cat([label.flatten(1).argmax(dim=0) for label in made])
            return seconds

        ratios = paired_ratios(lambda: make(device), lambda: make(CPU), 1, warm_up=0)
    alike = float((labels[str(device)] == labels["cpu"]).float().mean())
    return Result(
        f"time of first labels of {len(items)} phantoms over those made on the CPU, on the wall",
        ratios,
        remark=f"one vocabulary; {100 * alike:.1f} % of the points have the same class",
    )


def timer_of(device: torch.device) -> Callable[[Callable[[], object]], float]:
    """Return what measures the seconds of a step: processor time of a CPU, time on the wall of a GPU."""
    if device.type == "cpu":
        return cpu_seconds

    def seconds(step: Callable[[], object]) -> float:
        torch.cuda.synchronize(device)
        began = time.perf_counter()
        step()
        torch.cuda.synchronize(device)
        return time.perf_counter() - began

    return seconds


def peak_bytes_of(step: Callable[[], object], device: torch.device) -> int:
    """Measure the growth of a CUDA device's peak memory by a step."""
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    step()
    return torch.cuda.max_memory_allocated(device) - before


if __name__ == "__main__":
    typer.run(main)
