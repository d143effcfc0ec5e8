"""A compiled network is the same network."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from monai.data import MetaTensor
from torch import nn

from medsize.engines import compile_network

PROGRAM = "from torch import nn; from medsize.engines import compile_network; compile_network(nn.Linear(2, 2))"


def test_a_compiled_network_gives_the_same_and_keeps_its_names() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 4), nn.PReLU())
    image, names = torch.rand(2, 3), list(network.state_dict())
    expected = network(image)
    if shutil.which(os.environ.get("CXX", "g++")) is None:
        pytest.skip("there is no C++ compiler")
    compile_network(network)
    found = network(MetaTensor(image))  # as MONAI's loaders have it
    torch.testing.assert_close(found, expected)
    found.sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
    with torch.no_grad():
        torch.testing.assert_close(network(image), expected)
    assert list(network.state_dict()) == names


def test_what_torch_cannot_compile_is_refused() -> None:
    with pytest.raises(ValueError, match=r"pads by replication\. Set compile to false"):
        compile_network(nn.Sequential(nn.Conv2d(1, 2, 3, padding=1, padding_mode="replicate")))


def test_without_a_compiler_the_run_does_not_begin(tmp_path: Path) -> None:
    environment = {**os.environ, "CXX": "no-such-compiler", "TORCHINDUCTOR_CACHE_DIR": str(tmp_path)}
    run = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, env=environment, check=False)
    assert run.returncode
    assert "compile is true, but nothing can be compiled for cpu" in run.stderr
    assert "set compile to false" in run.stderr
