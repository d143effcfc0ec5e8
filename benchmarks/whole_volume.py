"""
Memory and time of two passes over whole scans, beside one pass.

    python -m benchmarks.whole_volume

A small 3D UNet takes a step under size + Potts, always in patches of 128³ voxels: at 128³ (one patch), and at 512³ (64
patches). Memory is the growth of the peak after the imports, in a fresh process each. Time is compared where one pass
still fits. The need of one pass at 512³ follows from its growth between 64³ and 128³.
"""

from __future__ import annotations

import sys
from typing import Any

import torch
from monai.engines import SupervisedTrainer
from monai.networks.nets import UNet

from benchmarks.result import Result, cpu_seconds, machine, paired_ratios, run_module
from medsize.engines import PrepareSizeBatch, TwoPassTrainer
from medsize.handlers.peak_memory import peak_bytes
from medsize.losses import CompositeLoss

CLASSES = 3
PATCH, LARGE = 128, 512
MEMORY_LIMIT_GB = 24
CPU = torch.device("cpu")


def main() -> None:
    """Print the results or, with arguments, take one measurement."""
    if sys.argv[1:]:
        side, patch = map(int, sys.argv[1:])
        print(*memory_and_seconds(side, patch or None))
        return
    print(machine())
    for result in results():
        print(result)


def results() -> list[Result]:
    """Measure the results."""
    small, seconds_small = run_module("benchmarks.whole_volume", PATCH, PATCH)
    large, seconds_large = run_module("benchmarks.whole_volume", LARGE, PATCH)
    volume = 4 * LARGE**3
    one_pass = {side: run_module("benchmarks.whole_volume", side, 0)[0] for side in (64, PATCH)}
    per_voxel = (one_pass[PATCH] - one_pass[64]) / (PATCH**3 - 64**3)
    needed = per_voxel * LARGE**3 / 2**30
    return [
        Result(
            f"two-pass peak memory, {LARGE}³ without the volume over {PATCH}³, patches of {PATCH}³",
            [(large - volume) / (small - 4 * PATCH**3)],
            "≤ 1.15",
            f"{large / 2**30:.2f} GB, of which the volume {volume / 2**30:.2f}, over {small / 2**30:.2f} GB",
        ),
        Result(
            f"a training step at {LARGE}³, two passes: GB at its peak",
            [large / 2**30],
            f"≤ {MEMORY_LIMIT_GB}",
            f"{seconds_large:.0f} s of processor time ({seconds_small:.1f} s at {PATCH}³)",
        ),
        Result(
            f"the same in one pass: GB, by its growth of {per_voxel:.0f} bytes a voxel",
            [needed],
            f"≥ {MEMORY_LIMIT_GB}",
            f"measured up to {PATCH}³, not tried: it would take what else the machine does along",
        ),
        Result(
            "two-pass time over one-pass, 256³ in patches of 128³",
            time_ratios(256, 128, 0, repeats=3),
            "≤ 1.5",
            "by counting: 1.33",
        ),
        Result(
            "the same, 128³ in patches of 64³",
            time_ratios(128, 64, 0),
            "",
            "on CPUs, torch leaves oneDNN for one small patch: batch · channels · two sides up to 20,480",
        ),
        Result(
            "the same with a halo of 8 voxels",
            time_ratios(128, 72, 8),
            "",
            f"by counting: {4 / 3 * (2 * 72 / 128) ** 3:.2f}, as halos are computed twice",
        ),
    ]


def trainer_of(
    side: int, patch: int | None, halo: int = 0, device: torch.device = CPU, **settings: Any
) -> SupervisedTrainer:
    """Make a trainer of one step, in patches or in one pass."""
    torch.manual_seed(0)
    network = UNet(3, 1, CLASSES, channels=(8, 16, 32), strides=(2, 2), num_res_units=1).to(device)
    size = torch.tensor([0.9, 0.08, 0.02])
    batch = {"image": torch.rand(1, 1, side, side, side), "fraction": torch.stack([size, size]).unsqueeze(0)}
    options = {
        "device": device,
        "max_epochs": 1,
        "train_data_loader": [batch],
        "network": network,
        "optimizer": torch.optim.AdamW(network.parameters()),
        "loss_function": CompositeLoss(potts_weight=0.1),
        "prepare_batch": PrepareSizeBatch(),
        "decollate": False,
        **settings,
    }
    if patch is None:
        return SupervisedTrainer(**options)
    return TwoPassTrainer(roi_size=patch, halo=halo, **options)


def memory_and_seconds(side: int, patch: int | None) -> tuple[float, float]:
    """Measure the growth of the peak memory by a step, volume included, and its processor time."""
    trainer_of(8, None).run()  # loads all that torch needs
    before = peak_bytes()
    trainer = trainer_of(side, patch)
    seconds = cpu_seconds(trainer.run)
    return peak_bytes() - before, seconds


def time_ratios(side: int, patch: int, halo: int, repeats: int = 5) -> list[float]:
    """Measure the processor time of a step by two passes over one pass."""
    return paired_ratios(
        lambda: cpu_seconds(trainer_of(side, patch, halo).run),
        lambda: cpu_seconds(trainer_of(side, None).run),
        repeats,
        warm_up=1,
    )


if __name__ == "__main__":
    main()
