"""Sliding windows find the same on the device as on the CPU."""

from __future__ import annotations

import pytest
import torch
from monai.bundle import ConfigParser

from tests.conftest import PROJECT

SCANS = {2: (1, 1, 96, 80, 5), 3: (1, 1, 48, 40, 36)}


@pytest.mark.parametrize("dimensions", [2, 3])
def test_logits_are_those_of_the_cpu(device: torch.device, dimensions: int) -> None:
    parser = ConfigParser()
    parser.read_config(PROJECT / "bundles" / f"size_seg_{dimensions}d" / "configs" / "inference.yaml")
    parser["roi_size"] = [32] * dimensions
    network, inferer = parser.get_parsed_content("network_def").eval(), parser.get_parsed_content("inferer")
    scan = torch.rand(SCANS[dimensions])
    with torch.no_grad():
        expected = inferer(scan, network)
        network.to(device)
        found = inferer(scan.to(device), network).cpu()
        with torch.autocast(device.type):
            half = inferer(scan.to(device), network).float().cpu()
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)
    assert float((found.argmax(dim=1) == expected.argmax(dim=1)).float().mean()) > 0.999
    assert float((half.argmax(dim=1) == expected.argmax(dim=1)).float().mean()) > 0.95
