"""Likely sizes lie within what is stated, and nearer to the truth than the middles where errors are large."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from medsize.sizes import with_likely_sizes
from medsize.sizes.likely_sizes import likely_sizes


def intervals(low: float = 1e-3, high: float = 1e6) -> st.SearchStrategy[torch.Tensor]:
    """Sizes of a structure in several scans, ``(2, 1, N)``: exact ones, estimates, bounds and unknown ones."""
    size = st.tuples(st.floats(low, high), st.floats(1, 20)).map(lambda ends: (ends[0], ends[0] * ends[1]))
    exact = st.floats(low, high).map(lambda value: (value, value))
    other = st.sampled_from([(0.0, 0.0), (0.0, torch.inf), (0.0, 5.0), (7.0, torch.inf)])
    listed = st.lists(st.one_of(size, exact, other), min_size=1, max_size=8)
    return listed.map(lambda ends: torch.tensor(ends, dtype=torch.float64).T.unsqueeze(1))


@given(intervals())
def test_a_likely_size_lies_within_its_interval(size: torch.Tensor) -> None:
    likely = likely_sizes(size)
    assert bool((likely >= size[:1]).all())
    assert bool((likely <= size[1:]).all())


@given(st.lists(st.floats(1e-3, 1e6), min_size=1, max_size=8))
def test_exact_sizes_stay(sizes: list[float]) -> None:
    exact = torch.tensor(sizes, dtype=torch.float64).expand(2, 1, -1)
    assert torch.equal(likely_sizes(exact), exact)


@given(st.floats(1e-3, 1e6), st.floats(1, 9.9))
def test_the_likely_size_of_one_scan_is_the_middle(low: float, factor: float) -> None:
    size = torch.tensor([low, low * factor], dtype=torch.float64).view(2, 1, 1)
    torch.testing.assert_close(likely_sizes(size), size.mean(dim=0).expand(2, 1, 1))


def test_absent_unknown_at_most_and_wide_bounds_stay() -> None:
    size = torch.tensor([[[0.0, 0.0, 0.0, 7.0, 1.0]], [[0.0, torch.inf, 5.0, torch.inf, 10.1]]], dtype=torch.float64)
    assert torch.equal(likely_sizes(size), size)


def test_exact_scans_tell_what_is_likely_in_a_rough_one() -> None:
    exact = torch.full((2, 1, 20), 100.0, dtype=torch.float64) * torch.tensor([0.99, 1.01]).repeat(10)
    rough = torch.tensor([105.0, 195.0], dtype=torch.float64).view(2, 1, 1)
    assert float(likely_sizes(torch.cat([exact, rough], dim=-1))[0, 0, -1]) == pytest.approx(105, abs=0.1)


@pytest.mark.parametrize(("spread", "at_most"), [(0.2, 0.7), (1.0, 1.0)])
def test_likely_sizes_have_smaller_errors_than_stated_ones(spread: float, at_most: float) -> None:
    generator = torch.Generator().manual_seed(0)
    true = (4 + spread * torch.randn(1, 500, generator=generator, dtype=torch.float64)).exp()
    stated = true * (0.3 * torch.randn(1, 500, generator=generator, dtype=torch.float64)).exp()
    likely = likely_sizes(torch.stack([0.7 * stated, 1.3 * stated]))[0]
    assert float((likely / true - 1).abs().mean()) < at_most * float((stated / true - 1).abs().mean())


def test_scans_share_what_they_know_and_slices_keep_their_middles() -> None:
    scans = [{"image": str(n), "volume_mm3": torch.tensor([[70.0], [130.0]]) * n} for n in (1, 1, 1, 1.6)]
    assert float(with_likely_sizes(scans)[-1]["volume_mm3"][0]) < 150
    slices = [{"image": str(n), "slice_area_mm2": torch.tensor([[[70.0, 7.0]], [[130.0, 13.0]]]) * n} for n in (1, 2)]
    for item, made in zip(slices, with_likely_sizes(slices), strict=True):
        torch.testing.assert_close(made["slice_area_mm2"], item["slice_area_mm2"].mean(dim=0).expand(2, 1, 2).double())


def test_items_without_a_size_and_the_given_items_stay_as_they_are() -> None:
    items = [{"image": "a", "volume_mm3": torch.tensor([[1.0], [2.0]])}, {"image": "b", "label": "mask"}]
    made = with_likely_sizes(items)
    assert made[1] == items[1]
    assert items[0]["volume_mm3"].tolist() == [[1.0], [2.0]]
