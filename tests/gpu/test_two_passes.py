"""The two-pass trainer has the same gradient on the device as on the CPU."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from medsize.losses import CompositeLoss
from tests.engines.test_two_pass_trainer import (
    CLASSES,
    batch_of,
    gradients,
    network_of,
    one_pass,
    relative_error,
    trainer_of,
    two_passes,
)

STEPS = 12
"""Steps of float16, each of which may halve the scale of the gradients."""


def batch_with_all_labels() -> dict[str, Any]:
    """Slices of two scans, with an organ, a mask, clicks and soft labels."""
    scribble = torch.full((4, 1, 20, 12), 255, dtype=torch.uint8)
    scribble[0, :, 3, 4:9] = 1
    label = torch.randint(CLASSES, (4, 1, 20, 12), dtype=torch.uint8)
    label[2:] = 255
    valid = torch.ones(4, 1, 20, 12, dtype=torch.uint8)
    valid[0, :, 5:], valid[3, :, :9] = 0, 0
    soft = torch.rand(4, CLASSES, 20, 12, dtype=torch.float64).softmax(dim=1)
    more = {"scribble": scribble, "label": label, "valid": valid, "soft_label": soft}
    batch = batch_of(4, 20, 12, group=torch.tensor([0, 0, 1, 1]), **more)
    batch["fraction"] = batch["fraction"][[0, 0, 2, 2]]
    return batch


@pytest.mark.parametrize("loader_on_device", [False, True], ids=["batch on the CPU", "batch on the device"])
def test_gradient_is_that_of_the_cpu(device: torch.device, loader_on_device: bool) -> None:
    network, batch = network_of(2), batch_with_all_labels()
    loss = CompositeLoss(potts_weight=0.3, agreement_weight=0.2, outside_weight=0.5)
    options: dict[str, Any] = {"roi_size": 8, "halo": 1, "sw_batch_size": 3, "two_views": True}
    expected, value = two_passes(network, batch, loss, **options)
    names = set(loss.terms)
    network.zero_grad()
    network.to(device)
    if loader_on_device:
        batch = {key: x.to(device) for key, x in batch.items()}
    found, loss_value = two_passes(network, batch, loss, device=device, **options)
    assert set(loss.terms) == names == {"size", "potts", "scribble", "mask", "soft_label", "agreement", "outside"}
    assert relative_error(found.cpu(), expected) < 1e-6
    assert loss_value == pytest.approx(value)


def test_dropout_is_replayed(device: torch.device) -> None:
    network = network_of(3, dropout=0.4).to(device)
    batch = {key: x.to(device) for key, x in batch_of(1, 12, 12, 12).items()}
    loss = CompositeLoss(potts_weight=0.1)
    expected, _ = one_pass(network, batch, loss, (8, 8, 8), 1)
    found, _ = two_passes(network, batch, loss, device=device, roi_size=8, halo=1)
    assert relative_error(found, expected) < 1e-6


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision_follows_float32(device: torch.device, amp_is_on: None, dtype: torch.dtype) -> None:
    network, batch = network_of(3, torch.float32).to(device), batch_of(1, 20, 12, 12, dtype=torch.float32)
    loss = CompositeLoss(potts_weight=0.1)
    full, value = two_passes(network, batch, loss, device=device, roi_size=8, halo=1)
    seen = []
    network.register_forward_hook(lambda *arguments: seen.append(arguments[-1].dtype))
    options: dict[str, Any] = {"device": device, "roi_size": 8, "halo": 1, "amp": True, "amp_kwargs": {"dtype": dtype}}
    trainer = trainer_of(network, [batch] * STEPS, loss, **options)  # float16 skips steps until its scale fits
    trainer.run()
    assert set(seen) == {dtype}
    assert float(trainer.state.output["loss"]) == pytest.approx(value, rel=0.02)
    assert 0 < relative_error(gradients(network), full) < 0.1
