"""
Time and memory of the size KL loss over cross-entropy with many classes, on the same logits.

    python -m benchmarks.many_classes

A forward and a backward pass on 104 classes (as TotalSegmentator has) at 64³ voxels. Memory is the growth of the
process's peak over the logits, in a fresh process for each loss.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import torch
from torch.nn import functional as F

from benchmarks.result import Result, cpu_seconds, machine, paired_ratios, run_module
from medsize.handlers.peak_memory import peak_bytes
from medsize.losses import SizeKLLoss

CLASSES, SIDE = 104, 64


def main() -> None:
    """Print the results or, with arguments, take one measurement."""
    if sys.argv[1:]:
        name, classes, side = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
        print(*memory_and_seconds(name, classes, side))
        return
    print(machine())
    for result in results():
        print(result)


def results() -> list[Result]:
    """Measure the results."""
    ours, theirs = (step_of(name, CLASSES, SIDE) for name in ("size", "cross_entropy"))
    time = paired_ratios(lambda: cpu_seconds(ours), lambda: cpu_seconds(theirs), repeats=9)
    memory = [run_module("benchmarks.many_classes", name, CLASSES, SIDE)[0] for name in ("size", "cross_entropy")]
    return [
        Result(f"{CLASSES} classes, {SIDE}³: time of the size KL over cross-entropy's", time, "≤ 1.3"),
        Result(
            f"{CLASSES} classes, {SIDE}³: memory of the size KL over cross-entropy's",
            [memory[0] / memory[1]],
            "≤ 1.3",
            f"{memory[0] / 2**20:.0f} MB over {memory[1] / 2**20:.0f} MB above the logits, gradient included",
        ),
    ]


def step_of(name: str, classes: int, side: int) -> Callable[[], None]:
    """Make a function that runs a forward and a backward pass."""
    torch.manual_seed(0)
    logits = torch.randn(1, classes, side, side, side, requires_grad=True)
    label = torch.randint(classes, (1, side, side, side))
    size = torch.rand(1, classes).softmax(dim=1)
    size_kl = SizeKLLoss()

    def step() -> None:
        logits.grad = None
        loss = size_kl(logits, size) if name == "size" else F.cross_entropy(logits, label)
        loss.backward()

    return step


def memory_and_seconds(name: str, classes: int, side: int) -> tuple[float, float]:
    """Measure the growth of the peak memory by a step, and its processor time."""
    step_of(name, 2, 2)()  # loads all that torch needs
    step = step_of(name, classes, side)
    before = peak_bytes()
    seconds = cpu_seconds(step)
    return peak_bytes() - before, seconds


if __name__ == "__main__":
    main()
