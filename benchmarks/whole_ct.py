"""
Memory and time of a training step on whole CT scans, 512 × 512 × 300 voxels, by the 3D bundle's UNet.

    python -m benchmarks.whole_ct

The step is that of whole_volume.yaml: two passes over patches of 96³ voxels with a halo of 8, each patch in two views,
under size, Potts and agreement. A whole one takes many minutes on one core. So a part of the patches of such a scan is
fed: their number does not change the peak. Smaller scans, fed whole, show the time of a patch. Each measurement has a
fresh process, whose whole peak counts.

The physical limit is 4/3 of one pass, forward and backward, over the same patches, as the first pass goes forward only.
It is measured beside it, as an ordinary training on these patches.
"""

from __future__ import annotations

import statistics
import sys

import torch
from monai.engines import SupervisedTrainer
from monai.utils import set_determinism

from benchmarks.result import Result, cpu_seconds, machine, run_module
from benchmarks.step import CLASSES, bundle_network
from medsize.engines import PrepareSizeBatch, TwoPassTrainer
from medsize.engines.patch import Patch
from medsize.engines.tiling import tiles_of
from medsize.handlers.peak_memory import peak_bytes
from medsize.items import Targets
from medsize.losses import CompositeLoss

SCAN = (512, 512, 300)
SMALLER = ((176, 96, 96), (176, 176, 96))
PATCH, HALO = (96,) * 3, (8,) * 3
FED = 4
"""Patches of the large scan that are fed."""
MEMORY_LIMIT_GB = 24


class _PartTrainer(TwoPassTrainer):
    """Trainer that feeds only the first patches of a scan."""

    fed: int

    def _patches(self, targets: Targets) -> list[Patch]:
        return super()._patches(targets)[: self.fed]


def main() -> None:
    """Print the results or, with arguments, take one measurement."""
    if sys.argv[1:]:
        *shape, fed = map(int, sys.argv[1:])
        print(*measure(tuple(shape), fed))
        return
    print(machine())
    for result in results():
        print(result)


def results() -> list[Result]:
    """Measure the results."""
    patches = len(tiles_of(SCAN, PATCH, HALO))
    peak, seconds, one_pass = run_module("benchmarks.whole_ct", *SCAN, FED)
    small = [run_module("benchmarks.whole_ct", *shape, 0) for shape in SMALLER]
    counts = [len(tiles_of(shape, PATCH, HALO)) for shape in SMALLER]
    ratios = [two / one for _, two, one in ([peak, seconds, one_pass], *small)]
    each = [two / count for (_, two, _), count in zip(small, counts, strict=True)]
    scan = " × ".join(map(str, SCAN))
    return [
        Result(
            f"a training step at {scan}, the bundle's UNet in two passes: GB at its peak",
            [peak / 2**30],
            f"≤ {MEMORY_LIMIT_GB}",
            f"by {FED} of its {patches} patches; smaller scans: " + ", ".join(f"{p / 2**30:.2f}" for p, *_ in small),
        ),
        Result(
            "its processor time over one pass of the same patches",
            ratios,
            "≤ 1.5",
            f"by counting: 1.33; {FED} of {patches} patches, and whole scans of {counts[0]} and {counts[1]}",
        ),
        Result(
            "minutes of processor time for all patches",
            [statistics.mean([seconds / FED, *each]) * patches / 60],
            "",
            f"by {seconds / FED:.1f} s a patch; {' and '.join(f'{s:.1f}' for s in each)} s in smaller scans",
        ),
    ]


def measure(shape: tuple[int, ...], fed: int) -> tuple[float, float, float]:
    """
    Measure a step: the peak memory of the process, its processor time, and that of one pass.

    Args:
        shape: voxels of the scan.
        fed: number of patches to feed; 0 for all.
    """
    part = fed or None
    train((32,) * 3, None)  # loads all that torch needs
    seconds = cpu_seconds(lambda: train(shape, part))
    peak = peak_bytes()
    patches = len(tiles_of(shape, PATCH, HALO)[:part])
    return peak, seconds, cpu_seconds(lambda: train(PATCH, None, steps=patches))


def train(shape: tuple[int, ...], fed: int | None, steps: int = 0) -> None:
    """Take one step in patches, or with ``steps`` so many ordinary ones of a window each."""
    set_determinism(0)
    network = bundle_network(3)
    size = torch.tensor([0.9, 0.06, 0.03, 0.01])[:CLASSES]
    batch = {"image": torch.rand(1, 1, *shape), "fraction": torch.stack([size, size]).unsqueeze(0)}
    options = {
        "device": torch.device("cpu"),
        "max_epochs": 1,
        "train_data_loader": [batch] * max(steps, 1),
        "network": network,
        "optimizer": torch.optim.AdamW(network.parameters()),
        "loss_function": CompositeLoss(potts_weight=0.1, agreement_weight=0.3),
        "prepare_batch": PrepareSizeBatch(channels_last=True, two_views=bool(steps)),
        "decollate": False,
    }
    if steps:
        SupervisedTrainer(**options).run()
        return
    trainer = _PartTrainer(roi_size=PATCH, halo=HALO, two_views=True, **options)
    trainer.fed = fed or sys.maxsize
    trainer.run()


if __name__ == "__main__":
    main()
