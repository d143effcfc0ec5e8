"""
Cost of size supervision beside mask supervision: time of a training step, and memory of the Potts term.

    python -m benchmarks.step

A step of the 2D bundle's UNet (96 × 96, batch of 16, 4 classes) under size + Potts (radius 2) is compared with one
under DiceCE, step by step in turn, in one process. The Potts term's memory is the growth of the process's peak, over
the softmax's own size, in a fresh process for each radius.
"""

from __future__ import annotations

import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import torch
from monai.bundle import ConfigParser
from monai.losses import DiceCELoss
from monai.networks.nets import UNet

from medsize.losses import CompositeLoss, PottsLoss

PROJECT = Path(__file__).parent.parent
CONFIG = PROJECT / "bundles" / "size_seg_2d" / "configs" / "train.yaml"
BATCH, CLASSES, SIDE = 16, 4, 96
REPEATS = 30
MEMORY_SIDE = 768
"""Side of the images for the memory figures, large enough for the softmax to outweigh everything else."""


def main() -> None:
    """Print the ratios."""
    if sys.argv[1:2] == ["--potts-memory"]:
        print(potts_memory(int(sys.argv[2])))
        return
    print(
        f"{platform.machine()}, {torch.get_num_threads()} threads, Python {platform.python_version()}, "
        f"torch {torch.__version__}, monai {version('monai')}, medsize {version('medsize')}"
    )
    ratios = step_ratios()
    quartiles = statistics.quantiles(ratios, n=4)
    print(
        f"step with size + Potts over DiceCE: {statistics.median(ratios):.3f} "
        f"(quartiles {quartiles[0]:.3f} to {quartiles[2]:.3f}, {len(ratios)} pairs; limit 1.25)"
    )
    for radius in (1, 2, 4):
        command = [sys.executable, "-m", "benchmarks.step", "--potts-memory", str(radius)]
        result = subprocess.run(command, check=True, capture_output=True, text=True)
        print(f"Potts memory at radius {radius}: {float(result.stdout):.1f} copies of the softmax (limit 8)")


def step_ratios() -> list[float]:
    """Seconds of a step under size + Potts over seconds of one under DiceCE, pair by pair."""
    parser = ConfigParser(ConfigParser.load_config_file(str(CONFIG)))
    parser["num_classes"] = CLASSES
    network: UNet = parser.get_parsed_content("network_def")
    optimizer = torch.optim.AdamW(network.parameters())
    image = torch.rand(BATCH, 1, SIDE, SIDE)
    label = torch.randint(CLASSES, (BATCH, 1, SIDE, SIDE))
    size = torch.rand(BATCH, CLASSES).softmax(dim=1).unsqueeze(1).expand(-1, 2, -1)
    targets = {"image": image, "size": size}
    composite = CompositeLoss(potts_loss=PottsLoss(radius=2), potts_weight=0.1)
    dice_ce = DiceCELoss(softmax=True, to_onehot_y=True)

    def step(loss: Callable[[torch.Tensor], torch.Tensor]) -> float:
        started = time.perf_counter()
        optimizer.zero_grad()
        loss(network(image)).backward()
        optimizer.step()
        return time.perf_counter() - started

    def under_sizes(logits: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = composite(logits, targets)
        return result

    def under_masks(logits: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = dice_ce(logits, label)
        return result

    pairs = [(step(under_sizes), step(under_masks)) for _ in range(REPEATS + 3)]
    return [ours / theirs for ours, theirs in pairs[3:]]


def potts_memory(radius: int) -> float:
    """Growth of the peak memory by a forward and backward pass of the Potts term, in copies of the softmax."""
    logits = torch.randn(BATCH, CLASSES, MEMORY_SIDE, MEMORY_SIDE, requires_grad=True)
    image = torch.rand(BATCH, 1, MEMORY_SIDE, MEMORY_SIDE)
    before = peak_bytes()
    PottsLoss(radius=radius)(logits, image).backward()
    return (peak_bytes() - before) / (logits.numel() * logits.element_size())


def peak_bytes() -> int:
    """Peak memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    main()
