"""
Training step by several processes: the 2D bundle's network in DistributedDataParallel, on the CPU (gloo).

    python -m benchmarks.distributed_step PROCESSES

Each process has one thread and its own batch (16 slices of 96 × 96), as in the bundle's multi_gpu_train.yaml. More
processes therefore do more work in a step. The time on the wall suffers from other work of the machine; the processor
time of the first process does not, and leaves out its waiting.
"""

from __future__ import annotations

import os
import sys
import time

import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

from benchmarks.result import cpu_seconds, machine, run_module
from benchmarks.step import BATCH, CLASSES, bundle_network
from medsize.losses import SizeKLLoss

SIDE, WARM_UP = 96, 2


def main() -> None:
    """Print the times of a step or, in a process that torchrun started, measure them."""
    if "RANK" in os.environ:
        figures = wall_and_processor_seconds(int(sys.argv[1]))
        if os.environ["RANK"] == "0":
            print(*figures)
        return
    print(machine())
    wall, processor, parameters = step_of(int(sys.argv[1]))
    print(f"a step: {wall:.3g} s, {processor:.3g} s of processor time; {parameters / 1e6:.3g} MB of parameters")


def step_of(processes: int, repeats: int = 10) -> list[float]:
    """Measure the shortest time and processor time of a step, and the bytes that are averaged."""
    torchrun = ("torch.distributed.run", "--standalone", f"--nproc_per_node={processes}")
    return run_module(*torchrun, "-m", "benchmarks.distributed_step", repeats)


def wall_and_processor_seconds(repeats: int) -> tuple[float, float, int]:
    """Measure the same in one of the processes."""
    torch.set_num_threads(1)
    distributed.init_process_group("gloo")
    network = bundle_network(2)
    parallel = DistributedDataParallel(network)
    optimizer = torch.optim.AdamW(network.parameters())
    image = torch.rand(BATCH, 1, SIDE, SIDE)
    size = torch.rand(BATCH, CLASSES).softmax(dim=1)
    size_kl = SizeKLLoss()

    def step() -> None:
        optimizer.zero_grad()
        size_kl(parallel(image), size).backward()
        optimizer.step()

    walls, processor = [], []
    for _ in range(WARM_UP + repeats):
        distributed.barrier()
        started = time.perf_counter()
        processor.append(cpu_seconds(step))
        walls.append(time.perf_counter() - started)
    distributed.barrier()
    distributed.destroy_process_group()
    averaged = sum(p.numel() * p.element_size() for p in network.parameters())
    return min(walls[WARM_UP:]), min(processor[WARM_UP:]), averaged


if __name__ == "__main__":
    main()
