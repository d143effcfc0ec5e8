"""
Cost of size supervision beside mask supervision: time of a training step, and memory of the Potts term.

    python -m benchmarks.step

A step of the bundles' UNets (2D: 96 × 96, batch of 16, Potts radius 2; 3D: 64³, batch of 1, radius 1; 4 classes) under
size + Potts is compared with one under DiceCE, in turn, in one process, by processor time. The Potts term's memory is
the growth of the process's peak, over the softmax's own size, in a fresh process for each radius.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import torch
from monai.bundle import ConfigParser
from monai.losses import DiceCELoss
from monai.networks.nets import UNet

from benchmarks.result import Result, cpu_seconds, machine, paired_ratios, run_module
from medsize.handlers.peak_memory import peak_bytes
from medsize.losses import CompositeLoss, PottsLoss

BUNDLES = Path(__file__).parent.parent / "bundles"
BATCH, CLASSES = 16, 4
CPU = torch.device("cpu")
MEMORY_SIDE = 768
"""Side of the images for the memory, so large that the softmax outweighs everything else."""


def main() -> None:
    """Print the results or, with arguments, take one measurement."""
    if sys.argv[1:2] == ["--potts-memory"]:
        print(potts_memory(int(sys.argv[2])))
        return
    print(machine())
    for result in results():
        print(result)


def results() -> list[Result]:
    """Measure the results."""
    return [
        Result("2D step with size + Potts over DiceCE, 96², UNet", step_ratios(2, BATCH, 96, 2, repeats=15), "≤ 1.25"),
        Result("3D step with size + Potts over DiceCE, 64³, UNet", step_ratios(3, 1, 64, 1, repeats=9), "≤ 1.2"),
        *(
            Result(
                f"Potts memory at radius {radius}: copies of the softmax",
                run_module("benchmarks.step", "--potts-memory", radius),
                "≤ 8",
            )
            for radius in (1, 2, 4)
        ),
    ]


def step_ratios(
    axes: int,
    batch: int,
    side: int,
    radius: int,
    repeats: int,
    device: torch.device = CPU,
    seconds: Callable[[Callable[[], object]], float] = cpu_seconds,
    amp: bool = False,
) -> list[float]:
    """Measure the time of a step under size + Potts over one under DiceCE, pair by pair."""
    network = bundle_network(axes).to(device)
    optimizer = torch.optim.AdamW(network.parameters())
    scaler = torch.amp.GradScaler(device.type, enabled=amp)
    image = torch.rand(batch, 1, *(side,) * axes, device=device)
    label = torch.randint(CLASSES, image.shape, device=device)
    size = torch.rand(batch, CLASSES, device=device).softmax(dim=1).unsqueeze(1).expand(-1, 2, -1)
    targets = {"image": image, "fraction": size}
    composite = CompositeLoss(potts_loss=PottsLoss(radius=radius), potts_weight=0.1)
    dice_ce = DiceCELoss(softmax=True, to_onehot_y=True)

    def step(loss: Callable[[torch.Tensor], torch.Tensor]) -> None:
        optimizer.zero_grad()
        with torch.autocast(device.type, enabled=amp):
            value = loss(network(image))
        scaler.scale(value).backward()
        scaler.step(optimizer)
        scaler.update()

    return paired_ratios(
        lambda: seconds(lambda: step(lambda logits: composite(logits, targets))),
        lambda: seconds(lambda: step(lambda logits: dice_ce(logits, label))),
        repeats,
    )


def bundle_network(axes: int, in_channels: int = 1) -> UNet:
    """Build the network of the bundle for this number of axes, as it trains on a CPU."""
    config = BUNDLES / f"size_seg_{axes}d" / "configs" / "inference.yaml"
    parser = ConfigParser(ConfigParser.load_config_file(str(config)))
    parser["num_classes"], parser["in_channels"] = CLASSES, in_channels
    memory_format = torch.channels_last if axes == 2 else torch.channels_last_3d
    network: UNet = parser.get_parsed_content("network_def").to(memory_format=memory_format)
    return network


def potts_memory(radius: int) -> float:
    """Measure the peak memory of a forward and backward pass of the Potts term, in copies of the softmax."""
    logits = torch.randn(BATCH, CLASSES, MEMORY_SIDE, MEMORY_SIDE, requires_grad=True)
    image = torch.rand(BATCH, 1, MEMORY_SIDE, MEMORY_SIDE)
    before = peak_bytes()
    PottsLoss(radius=radius)(logits, image).backward()
    return (peak_bytes() - before) / (logits.numel() * logits.element_size())


if __name__ == "__main__":
    main()
