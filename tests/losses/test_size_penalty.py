"""The published alternatives keep their closed forms and take SizeKLLoss's place."""

from __future__ import annotations

import math

import pytest
import torch

from medsize.losses import (
    LogBarrierSizeLoss,
    QuadraticSizeLoss,
    ReverseKLSizeLoss,
    SizeKLLoss,
    SizeL1Loss,
    SizeL2Loss,
    SizeLoss,
)

ALL = [SizeKLLoss, QuadraticSizeLoss, LogBarrierSizeLoss, ReverseKLSizeLoss, SizeL1Loss, SizeL2Loss]


def logits_of(*fractions: float) -> torch.Tensor:
    """A uniform prediction of these fractions."""
    return torch.tensor(fractions, dtype=torch.float64).log().view(1, -1, 1, 1).expand(1, -1, 3, 3)


TARGET = torch.tensor([[0.8, 0.2]], dtype=torch.float64)


def test_quadratic_penalty_counts_what_lies_outside_the_bounds() -> None:
    loss = QuadraticSizeLoss(tolerance=0.1)
    assert loss(logits_of(0.81, 0.19), TARGET).item() == pytest.approx(0)
    expected = (0.8 * 0.9 - 0.5) ** 2 + (0.5 - 0.2 * 1.1) ** 2
    assert loss(logits_of(0.5, 0.5), TARGET).item() == pytest.approx(expected)


def test_log_barrier_is_smooth_at_its_knee_and_linear_beyond() -> None:
    t = 5.0
    loss = LogBarrierSizeLoss(t=t, tolerance=0.0)
    value = loss(logits_of(0.5, 0.5), TARGET).item()

    def barrier(z: float) -> float:
        return -math.log(-z) / t if z <= -1 / t**2 else t * z - math.log(1 / t**2) / t + 1 / t

    expected = barrier(0.3) + barrier(-0.3) + barrier(-0.3) + barrier(0.3)
    assert value == pytest.approx(expected)
    assert barrier(-1 / t**2 + 1e-9) == pytest.approx(barrier(-1 / t**2), abs=1e-6)


def test_log_barrier_sharpens_with_t() -> None:
    loss = LogBarrierSizeLoss(t=5.0)
    soft = loss(logits_of(0.4, 0.6), TARGET)
    loss.t = 50.0
    assert loss(logits_of(0.4, 0.6), TARGET) > 5 * soft


def test_reverse_kl_is_the_divergence_of_prediction_from_target() -> None:
    expected = 0.5 * math.log(0.5 / 0.8) + 0.5 * math.log(0.5 / 0.2)
    assert ReverseKLSizeLoss()(logits_of(0.5, 0.5), TARGET).item() == pytest.approx(expected)


def test_l1_and_l2_are_distances_of_fractions() -> None:
    assert SizeL1Loss()(logits_of(0.5, 0.5), TARGET).item() == pytest.approx(0.6)
    assert SizeL2Loss()(logits_of(0.5, 0.5), TARGET).item() == pytest.approx(0.18)


@pytest.mark.parametrize("kind", [SizeKLLoss, QuadraticSizeLoss, ReverseKLSizeLoss, SizeL1Loss, SizeL2Loss])
def test_intervals_are_free_inside(kind: type[SizeLoss]) -> None:
    box = torch.tensor([[[0.3, 0.2], [0.8, 0.7]]], dtype=torch.float64)
    assert kind()(logits_of(0.5, 0.5), box).item() == pytest.approx(0, abs=1e-9)
    assert kind()(logits_of(0.05, 0.95), box).item() > 0.01


@pytest.mark.parametrize("kind", ALL)
def test_all_are_called_alike_and_lead_to_the_target(kind: type[SizeLoss]) -> None:
    logits = torch.zeros(2, 3, 6, 6, requires_grad=True)
    target = torch.tensor([[0.7, 0.2, 0.1], [0.9, 0.1, 0.0]])
    optimizer = torch.optim.Adam([logits], lr=0.05)
    loss = kind(reduction="mean")
    for _ in range(400):
        optimizer.zero_grad()
        loss(logits, target, torch.ones(2, 1, 6, 6)).backward()
        optimizer.step()
    reached = logits.detach().softmax(dim=1).flatten(2).mean(dim=-1)
    torch.testing.assert_close(reached, target, rtol=0, atol=0.06)


@pytest.mark.parametrize("kind", ALL)
def test_bad_targets_are_refused_by_all(kind: type[SizeLoss]) -> None:
    with pytest.raises(ValueError, match="item 0 of the batch does not sum to 1"):
        kind()(torch.zeros(1, 2, 4), torch.tensor([[0.5, 0.6]]))


def test_bad_parameters_are_refused() -> None:
    with pytest.raises(ValueError, match="tolerance"):
        QuadraticSizeLoss(tolerance=1.0)
    with pytest.raises(ValueError, match="t must be positive"):
        LogBarrierSizeLoss(t=0)
    with pytest.raises(ValueError, match="floor"):
        ReverseKLSizeLoss(floor=0)
    with pytest.raises(ValueError, match="not a valid LossReduction"):
        SizeL1Loss(reduction="median")
