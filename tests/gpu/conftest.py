"""Tests that need a CUDA device. MEDSIZE_GPU_TESTS_ON=cpu tries the tests themselves on the CPU."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

NO_DEVICE = "there is no CUDA device: torch.cuda.is_available() is false"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark all tests of this folder."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.gpu)


@pytest.fixture(scope="session")
def device() -> torch.device:
    """The device to test."""
    named = os.environ.get("MEDSIZE_GPU_TESTS_ON", "cuda")
    if named == "cuda" and not torch.cuda.is_available():
        pytest.skip(NO_DEVICE)
    return torch.device(named, 0) if named == "cuda" else torch.device(named)


@pytest.fixture(autouse=True)
def _float32_is_exact(device: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    """Convolutions of float32 do not round to TF32, so that a GPU can be compared with the CPU."""
    if device.type == "cuda":
        monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
        monkeypatch.setattr(torch.backends.cuda.matmul, "allow_tf32", False)


@pytest.fixture
def amp_is_on(device: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mixed precision on the device. MONAI asks for it on CUDA by name; elsewhere it would do nothing."""
    if device.type != "cuda":
        autocast = torch.autocast
        monkeypatch.setattr(torch, "autocast", lambda _, **options: autocast(device.type, **options))
        monkeypatch.setattr(torch.cuda.amp, "GradScaler", lambda: torch.amp.GradScaler(device.type))


@pytest.fixture
def fresh(device: torch.device) -> Callable[..., subprocess.CompletedProcess]:
    """Run a Python module in a fresh process: a forked one could not use CUDA."""
    environment = {**os.environ, "NVIDIA_TF32_OVERRIDE": "0"}
    if device.type != "cuda":
        environment["CUDA_VISIBLE_DEVICES"] = ""

    def run(*arguments: object, cwd: Path) -> subprocess.CompletedProcess:
        command = [sys.executable, "-m", *map(str, arguments)]
        result = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
        if result.returncode:
            pytest.fail(f"{arguments}: exit code {result.returncode}\n{result.stdout[-3000:]}\n{result.stderr[-3000:]}")
        return result

    return run
