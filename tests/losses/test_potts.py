"""PottsLoss equals its definition, value and gradient."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from medsize.losses import PottsLoss


def by_definition(
    logits: torch.Tensor,
    image: torch.Tensor,
    mask: torch.Tensor | None,
    radius: int,
    contrast: float,
    spacing: tuple[float, ...],
) -> torch.Tensor:
    """The loss of one item, pair by pair."""
    softmax = logits.softmax(dim=0)
    shape = logits.shape[1:]
    voxels = [p for p in itertools.product(*map(range, shape)) if mask is None or mask[(0, *p)]]
    adjacent, total, weights = [], torch.zeros((), dtype=logits.dtype), 0.0
    for p, q in itertools.combinations(voxels, 2):
        if sum(abs(a - b) for a, b in zip(p, q, strict=True)) == 1:
            adjacent.append(float((image[(slice(None), *p)] - image[(slice(None), *q)]).square().sum()))
    beta = sum(adjacent) / len(adjacent)
    for p, q in itertools.combinations(voxels, 2):
        if max(abs(a - b) for a, b in zip(p, q, strict=True)) > radius:
            continue
        distance = math.sqrt(sum(((a - b) * s) ** 2 for a, b, s in zip(p, q, spacing, strict=True)))
        difference = float((image[(slice(None), *p)] - image[(slice(None), *q)]).square().sum())
        weight = math.exp(-difference / (2 * contrast**2 * beta)) / distance
        total = total + weight * (1 - (softmax[(slice(None), *p)] * softmax[(slice(None), *q)]).sum())
        weights += 1 / distance
    return total / weights


@pytest.mark.parametrize(
    ("spatial", "channels", "radius", "spacing", "masked"),
    [
        ((5, 6), 1, 1, (1.0, 1.0), False),
        ((5, 6), 3, 2, (1.0, 2.0), True),
        ((3, 4, 3), 1, 1, (1.0, 1.0, 3.0), False),
        ((3, 4, 3), 2, 2, (1.0, 1.0, 1.0), True),
    ],
)
def test_value_and_gradient_equal_the_definition(
    spatial: tuple[int, ...], channels: int, radius: int, spacing: tuple[float, ...], masked: bool
) -> None:
    logits = torch.randn(2, 3, *spatial, dtype=torch.float64, requires_grad=True)
    image = torch.rand(2, channels, *spatial, dtype=torch.float64)
    mask = (torch.rand(2, 1, *spatial) > 0.3) if masked else None
    loss = PottsLoss(radius, contrast=0.7, spacing=spacing, reduction="none")(logits, image, mask)
    (gradient,) = torch.autograd.grad(loss.sum(), logits)
    expected = torch.stack(
        [by_definition(logits[b], image[b], None if mask is None else mask[b], radius, 0.7, spacing) for b in range(2)]
    )
    (expected_gradient,) = torch.autograd.grad(expected.sum(), logits)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(gradient, expected_gradient)


def test_uniform_uncertainty_costs_and_certainty_does_not() -> None:
    image = torch.zeros(1, 1, 8, 8)
    uncertain = torch.zeros(1, 4, 8, 8)
    certain = torch.zeros(1, 4, 8, 8)
    certain[:, 2] = 50
    assert PottsLoss()(uncertain, image).item() == pytest.approx(0.75)
    assert PottsLoss()(certain, image).item() == pytest.approx(0, abs=1e-6)


def test_cutting_along_an_edge_is_cheaper_than_across() -> None:
    image = torch.zeros(1, 1, 8, 8)
    image[..., 4:] = 1
    along, across = torch.zeros(1, 2, 8, 8), torch.zeros(1, 2, 8, 8)
    along[:, 0, :, :4] = along[:, 1, :, 4:] = 30
    across[:, 0, :4] = across[:, 1, 4:] = 30
    assert PottsLoss()(along, image) < 0.5 * PottsLoss()(across, image)


def test_intensity_scale_does_not_matter() -> None:
    logits, image = torch.randn(1, 3, 9, 9, dtype=torch.float64), torch.rand(1, 1, 9, 9, dtype=torch.float64)
    torch.testing.assert_close(PottsLoss()(logits, image), PottsLoss()(logits, 1000 * image - 40))


def test_lies_between_0_and_1_for_any_input() -> None:
    loss = PottsLoss(radius=2, reduction="none")(torch.randn(4, 5, 7, 7) * 10, torch.rand(4, 2, 7, 7))
    assert ((loss >= 0) & (loss <= 1)).all()


def test_works_inside_autocast() -> None:
    logits, image = torch.randn(1, 3, 8, 8), torch.rand(1, 1, 8, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = PottsLoss()(logits.bfloat16(), image)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, PottsLoss()(logits.bfloat16().float(), image))


def test_image_without_contrast_has_plain_weights() -> None:
    logits = torch.randn(1, 3, 6, 6)
    loss = PottsLoss()(logits, torch.full((1, 1, 6, 6), 3.0))
    assert loss.isfinite()
    assert loss > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"radius": 0}, "radius"),
        ({"radius": 1.5}, "radius must be a whole number"),
        ({"contrast": 0.0}, "contrast"),
        ({"spacing": (1.0, -1.0)}, "spacing"),
    ],
)
def test_bad_parameters_are_refused(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PottsLoss(**arguments)


def test_shapes_that_do_not_fit_are_refused() -> None:
    logits = torch.zeros(2, 3, 4, 4)
    with pytest.raises(ValueError, match="image must have the shape"):
        PottsLoss()(logits, torch.zeros(2, 1, 4, 5))
    with pytest.raises(ValueError, match="mask must have the shape"):
        PottsLoss()(logits, torch.zeros(2, 1, 4, 4), torch.zeros(2, 2, 4, 4))
    with pytest.raises(ValueError, match="spacing has 3 axes"):
        PottsLoss(spacing=(1, 1, 1))(logits, torch.zeros(2, 1, 4, 4))


def test_an_empty_batch_is_refused() -> None:
    with pytest.raises(ValueError, match="none of them 0, got"):
        PottsLoss()(torch.zeros(0, 2, 4, 4), torch.zeros(0, 1, 4, 4))
