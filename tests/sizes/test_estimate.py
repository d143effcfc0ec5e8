"""Intervals that are estimates become their middle; bounds stay as they are."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from medsize.sizes.estimate import middle_of_estimates


@given(st.floats(1e-3, 1e6), st.floats(1, 9.9))
def test_an_estimate_is_its_middle(low: float, factor: float) -> None:
    size = torch.tensor([[low], [low * factor]], dtype=torch.float64)
    torch.testing.assert_close(middle_of_estimates(size), size.mean(dim=0).expand(2, 1))


@given(st.floats(1e-3, 1e6), st.floats(10.1, 1e5))
def test_wide_bounds_stay(low: float, factor: float) -> None:
    size = torch.tensor([[low], [low * factor]], dtype=torch.float64)
    assert torch.equal(middle_of_estimates(size), size)


def test_absent_unknown_and_at_most_stay_as_they_are() -> None:
    size = torch.tensor([[0.0, 0.0, 0.0, 7.0], [0.0, torch.inf, 5.0, torch.inf]])
    assert torch.equal(middle_of_estimates(size), size)
