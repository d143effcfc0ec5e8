"""SizeKLLoss keeps its closed forms, its gradient and its contracts."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from medsize.losses import SizeKLLoss, log_average_softmax, nearest_in_box


def random_logits(*shape: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(*shape, dtype=dtype)


def fractions_of(logits: torch.Tensor) -> torch.Tensor:
    return logits.softmax(dim=1).flatten(2).mean(dim=-1)


@pytest.mark.parametrize("spatial", [(7,), (5, 6), (3, 4, 5)])
def test_equals_kl_divergence_of_the_average_softmax(spatial: tuple[int, ...]) -> None:
    logits = random_logits(3, 4, *spatial)
    target = random_logits(3, 4).softmax(dim=1)
    expected = (target * (target / fractions_of(logits)).log()).sum(dim=1)
    torch.testing.assert_close(SizeKLLoss(reduction="none")(logits, target), expected)
    torch.testing.assert_close(SizeKLLoss()(logits, target), expected.mean())
    torch.testing.assert_close(SizeKLLoss(reduction="sum")(logits, target), expected.sum())


def test_gradient_is_the_closed_form() -> None:
    logits = random_logits(1, 3, 4, 5).requires_grad_()
    target = torch.tensor([[0.9, 0.1, 0.0]], dtype=torch.float64)
    SizeKLLoss()(logits, target).backward()
    softmax = logits.detach().softmax(dim=1)
    ratio = (target / fractions_of(logits.detach())).view(1, 3, 1, 1)
    expected = softmax * ((ratio * softmax).sum(dim=1, keepdim=True) - ratio) / (4 * 5)
    torch.testing.assert_close(logits.grad, expected)


def test_absent_class_is_pushed_down() -> None:
    logits = torch.zeros(1, 3, 4, 4, requires_grad=True)
    SizeKLLoss()(logits, torch.tensor([[0.5, 0.5, 0.0]])).backward()
    assert (logits.grad[:, 2] > 0).all()


def test_is_zero_for_a_uniform_prediction_of_the_target() -> None:
    target = torch.tensor([[0.7, 0.2, 0.1]])
    logits = target.log().view(1, 3, 1, 1).expand(1, 3, 6, 6)
    assert SizeKLLoss()(logits, target).item() == pytest.approx(0, abs=1e-6)


def test_stays_finite_for_extreme_logits_and_empty_classes() -> None:
    logits = torch.zeros(1, 3, 8, 8)
    logits[:, 0] = 1e4
    logits.requires_grad_()
    loss = SizeKLLoss()(logits, torch.tensor([[0.99, 0.01, 0.0]]))
    loss.backward()
    assert math.isfinite(loss.item())
    assert logits.grad.isfinite().all()


def test_half_precision_logits_keep_small_organs() -> None:
    logits = torch.zeros(1, 2, 64, 64, 64)
    logits[:, 0] = 12.0
    exact = SizeKLLoss()(logits.double(), torch.tensor([[0.9999, 0.0001]]))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = SizeKLLoss()(logits.bfloat16(), torch.tensor([[0.9999, 0.0001]]))
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss.double(), exact, rtol=1e-3, atol=0)


def test_only_the_mask_counts() -> None:
    logits = random_logits(2, 3, 6, 6)
    mask = torch.zeros(2, 1, 6, 6)
    mask[..., :4] = 1
    target = random_logits(2, 3).softmax(dim=1)
    torch.testing.assert_close(SizeKLLoss()(logits, target, mask), SizeKLLoss()(logits[..., :4].contiguous(), target))


def test_empty_or_misshapen_mask_is_refused() -> None:
    logits, target = torch.zeros(2, 2, 4, 4), torch.full((2, 2), 0.5)
    mask = torch.ones(2, 1, 4, 4)
    mask[1] = 0
    with pytest.raises(ValueError, match="mask of item 1 holds no voxel"):
        SizeKLLoss()(logits, target, mask)
    with pytest.raises(ValueError, match="mask must have the shape"):
        SizeKLLoss()(logits, target, torch.ones(2, 1, 4, 5))


def test_unknown_classes_are_merged_with_the_background() -> None:
    logits = random_logits(2, 4, 5, 5)
    target = torch.tensor([[0.6, 0.1, 0.3, 0.0], [0.2, 0.2, 0.5, 0.1]], dtype=torch.float64)
    known = torch.tensor([True, False, True, False])
    fractions = fractions_of(logits)
    merged = torch.stack([fractions[:, [0, 1, 3]].sum(dim=1), fractions[:, 2]], dim=1)
    merged_target = torch.stack([target[:, [0, 1, 3]].sum(dim=1), target[:, 2]], dim=1)
    expected = (merged_target * (merged_target / merged).log()).sum(dim=1).mean()
    torch.testing.assert_close(SizeKLLoss()(logits, target, known=known), expected)
    torch.testing.assert_close(SizeKLLoss()(logits, target, known=known.expand(2, -1)), expected)


def test_merging_leaves_the_gradient_of_the_merged_loss() -> None:
    logits = random_logits(1, 3, 4).requires_grad_()
    SizeKLLoss()(logits, torch.tensor([[0.5, 0.2, 0.3]]), known=torch.tensor([True, False, True])).backward()
    other = logits.detach().clone().requires_grad_()
    fractions = fractions_of(other)
    merged = torch.stack([fractions[:, :2].sum(dim=1), fractions[:, 2]], dim=1)
    target = torch.tensor([[0.7, 0.3]], dtype=torch.float64)
    (target * (target / merged).log()).sum().backward()
    torch.testing.assert_close(logits.grad, other.grad, rtol=1e-6, atol=1e-8)


def test_interval_is_zero_inside_and_the_nearest_end_outside() -> None:
    logits = torch.zeros(1, 2, 4, 4)
    inside = torch.tensor([[[0.4, 0.3], [0.7, 0.6]]])
    outside = torch.tensor([[[0.0, 0.7], [0.3, 1.0]]])
    assert SizeKLLoss()(logits, inside).item() == pytest.approx(0, abs=1e-7)
    nearest = 0.7 * math.log(0.7 / 0.5) + 0.3 * math.log(0.3 / 0.5)
    assert SizeKLLoss()(logits, outside).item() == pytest.approx(nearest, rel=1e-5)


def test_closed_interval_equals_the_point_target() -> None:
    logits = random_logits(3, 4, 6, 6)
    target = random_logits(3, 4).softmax(dim=1)
    torch.testing.assert_close(SizeKLLoss()(logits, torch.stack([target, target], dim=1)), SizeKLLoss()(logits, target))


@settings(max_examples=60)
@given(st.integers(2, 5), st.integers(0, 10_000))
def test_nearest_distribution_in_a_box_is_what_an_optimiser_finds(num_classes: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    s = rng.dirichlet(np.ones(num_classes))
    v = rng.dirichlet(np.ones(num_classes))
    low = np.where(rng.uniform(size=num_classes) < 0.3, 0.0, v * rng.uniform(0, 1, num_classes))
    high = np.where(rng.uniform(size=num_classes) < 0.3, 1.0, v + (1 - v) * rng.uniform(0, 1, num_classes))
    found = nearest_in_box(*(torch.tensor(x)[None] for x in (np.log(s), low, high)))[0].numpy()
    assert found.sum() == pytest.approx(1)
    assert (found >= low - 1e-9).all()
    assert (found <= high + 1e-9).all()

    def divergence(x: np.ndarray) -> float:
        x = np.clip(x, 1e-300, None)
        return float((x * np.log(x / s)).sum())

    best = minimize(
        divergence,
        v,
        bounds=list(zip(low, high, strict=True)),
        method="SLSQP",
        constraints={"type": "eq", "fun": lambda x: x.sum() - 1},
    )
    assert divergence(found) <= best.fun + 1e-5


def test_unknown_everything_has_no_loss_and_no_gradient() -> None:
    logits = random_logits(1, 3, 5, 5).requires_grad_()
    box = torch.stack([torch.zeros(1, 3), torch.ones(1, 3)], dim=1)
    loss = SizeKLLoss()(logits, box)
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-12)
    torch.testing.assert_close(logits.grad, torch.zeros_like(logits), rtol=0, atol=1e-9)


def test_a_group_shares_one_average() -> None:
    logits = random_logits(5, 3, 4, 4)
    group = torch.tensor([7, 2, 7, 2, 7])
    targets = random_logits(2, 3).softmax(dim=1)
    target = targets[(group == 7).long()]
    volumes = [logits[group == g].transpose(0, 1).flatten(1)[None] for g in (2, 7)]
    expected = torch.cat([SizeKLLoss(reduction="none")(v, t[None]) for v, t in zip(volumes, targets, strict=True)])
    torch.testing.assert_close(SizeKLLoss(reduction="none")(logits, target, group=group), expected)


def test_a_group_weighs_its_items_by_their_masks() -> None:
    logits = random_logits(2, 2, 4, 4)
    mask = torch.ones(2, 1, 4, 4)
    mask[1, ..., 1:] = 0
    target = torch.tensor([[0.3, 0.7]] * 2, dtype=torch.float64)
    kept = torch.cat([logits[0].flatten(1), logits[1, ..., :1].flatten(1)], dim=1)[None]
    torch.testing.assert_close(
        SizeKLLoss()(logits, target, mask, group=torch.zeros(2, dtype=torch.long)),
        SizeKLLoss()(kept, target[:1]),
    )


def test_a_group_of_differing_targets_is_refused() -> None:
    with pytest.raises(ValueError, match="targets of a group differ"):
        SizeKLLoss()(torch.zeros(2, 2, 4), torch.tensor([[0.5, 0.5], [0.4, 0.6]]), group=torch.zeros(2))


def test_gradcheck() -> None:
    logits = random_logits(2, 3, 4).requires_grad_()
    target = random_logits(2, 3).softmax(dim=1)
    assert torch.autograd.gradcheck(lambda x: SizeKLLoss()(x, target), (logits,))
    box = torch.tensor([[[0.0, 0.5, 0.1], [0.4, 0.9, 0.3]]] * 2, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: SizeKLLoss()(x, box), (logits,), atol=1e-4)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ([[0.5, 0.5], [0.5, 0.6]], r"item 1 of the batch does not sum to 1 \(sum: 1.1\)"),
        ([[0.5, 0.5], [-0.1, 1.1]], "item 1 of the batch has a negative fraction"),
        ([[math.nan, 0.5], [0.5, 0.5]], "item 0 of the batch is not finite"),
        ([[0.2, 0.3, 0.5], [0.2, 0.3, 0.5]], r"must have the shape \(B, K\)"),
        (
            [[[0.5, 0.4], [0.4, 0.6]], [[0.5, 0.4], [0.6, 0.6]]],
            "item 0 of the batch has a low end above its high end",
        ),
        ([[[0.6, 0.6], [1.0, 1.0]], [[0.5, 0.4], [0.6, 0.6]]], "item 0 of the batch does not sum to 1"),
    ],
)
def test_bad_targets_are_refused_by_item(target: list, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SizeKLLoss()(torch.zeros(2, 2, 4, 4), torch.tensor(target))


def test_a_target_that_is_no_tensor_is_refused() -> None:
    with pytest.raises(TypeError, match=r"size target must be a torch\.Tensor, got list"):
        SizeKLLoss()(torch.zeros(1, 2, 4, 4), [[0.5, 0.5]])


def test_logits_without_space_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(B, K, \*spatial\)"):
        log_average_softmax(torch.zeros(2, 3))


@pytest.mark.parametrize("lowest", [-59.0, -61.0, -300.0], ids=["softmax", "just underflows", "underflows"])
@pytest.mark.parametrize("masked", [False, True], ids=["all voxels", "some voxels"])
def test_a_class_that_is_nearly_nowhere_keeps_its_value_and_gradient(lowest: float, masked: bool) -> None:
    logits = torch.randn(2, 3, 6, 7, 5)
    logits[:, 2] += lowest
    logits.requires_grad_()
    mask = torch.rand(2, 1, 6, 7, 5) > 0.3 if masked else torch.ones(2, 1, 6, 7, 5)
    found = log_average_softmax(logits, mask if masked else None)
    (gradient,) = torch.autograd.grad(found[:, 2].sum(), logits)
    exact = logits.detach().double().requires_grad_()
    inside = (mask != 0).flatten(2)
    log_softmax = exact.log_softmax(dim=1).flatten(2).masked_fill(~inside, -torch.inf)
    expected = log_softmax.logsumexp(dim=-1) - inside.sum(dim=-1).log()
    (expected_gradient,) = torch.autograd.grad(expected[:, 2].sum(), exact)
    torch.testing.assert_close(found.double(), expected, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(gradient.double(), expected_gradient, rtol=1e-4, atol=1e-8)


def test_an_empty_batch_and_groups_of_another_number_are_refused() -> None:
    target = torch.tensor([[0.9, 0.1]] * 2)
    for shape in ((0, 2, 4, 4), (2, 2, 0, 4)):
        with pytest.raises(ValueError, match="none of them 0, got"):
            SizeKLLoss()(torch.zeros(shape), target[: shape[0]])
    with pytest.raises(ValueError, match=r"group must have the shape \(B,\) = \(2,\), got \(1,\)"):
        SizeKLLoss()(torch.zeros(2, 2, 4, 4), target, group=torch.tensor([0]))
