"""Processes under torchrun, each with a device of its own, train as one does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.bundles.test_multi_gpu import runs_of, several_follow_one


@pytest.mark.parametrize("processes", [1, 2])
def test_processes_follow_one(
    device: torch.device, fresh: Callable, phantoms: Path, tmp_path: Path, processes: int
) -> None:
    if device.type == "cuda" and torch.cuda.device_count() < processes:
        pytest.skip(f"there is {torch.cuda.device_count()} CUDA device, and {processes} processes need one each")
    run = runs_of(fresh, phantoms, tmp_path)
    several_follow_one(run, tmp_path, 3, [], "--amp", "False", processes=processes)
