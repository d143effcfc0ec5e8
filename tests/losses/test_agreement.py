"""AgreementLoss is the probability that two views disagree."""

from __future__ import annotations

import pytest
import torch

from medsize.engines import View
from medsize.losses import AgreementLoss, CompositeLoss


def test_closed_form_and_reductions() -> None:
    a, b = torch.randn(2, 3, 5, 5), torch.randn(2, 3, 5, 5)
    expected = 1 - (a.softmax(1) * b.softmax(1)).sum(1).mean((1, 2))
    torch.testing.assert_close(AgreementLoss(reduction="none")(a, b), expected)
    torch.testing.assert_close(AgreementLoss()(a, b), expected.mean())
    torch.testing.assert_close(AgreementLoss(reduction="sum")(a, b), expected.sum())


def test_indecision_costs_even_where_views_agree() -> None:
    assert AgreementLoss()(torch.zeros(1, 4, 3, 3), torch.zeros(1, 4, 3, 3)).item() == pytest.approx(0.75)


def test_other_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="one shape"):
        AgreementLoss()(torch.zeros(1, 2, 3, 3), torch.zeros(1, 2, 3, 4))


def test_composite_brings_the_views_onto_one_grid() -> None:
    view = View(order=(1, 0), flips=(1,))
    logits = 30 * torch.randn(1, 3, 4, 4).sign()
    both = torch.cat([logits, view.apply(logits)])
    loss = CompositeLoss(agreement_weight=1.0)
    expected = AgreementLoss()(logits, logits)
    unknown = torch.tensor([[0.0] * 3, [1.0] * 3]).expand(2, -1, -1)
    torch.testing.assert_close(loss(both, {"view": view, "fraction": unknown}), expected)
    assert set(loss.terms) == {"agreement"}
