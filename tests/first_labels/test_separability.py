"""How well sizes tell structures apart."""

from __future__ import annotations

import pytest
import torch

from medsize.first_labels import rank_of_fractions, separability, separability_of_pairs
from medsize.first_labels.separability import alike_pairs
from tests.first_labels.test_mixture import APPEARANCE, observed, random_fractions


def test_separability_is_high_where_sizes_vary_low_where_they_do_not_and_nan_where_there_are_none() -> None:
    v = random_fractions(30, 3)
    histograms = observed(v, APPEARANCE, points=3000)
    assert bool((separability(histograms, v, v) > 5).all())

    equal = v.clone()
    equal[:, 2] = 0.1
    equal[:, 0] = 1 - equal[:, 1:].sum(dim=1)
    found = separability(observed(equal, APPEARANCE, points=3000), equal, equal)
    assert float(found[0]) > 5
    assert float(found[1]) == pytest.approx(0, abs=1e-3)

    absent = torch.cat([v, torch.zeros(30, 1)], dim=1)
    unknown = [torch.cat([v, torch.full((30, 1), end)], dim=1) for end in (0.0, 1.0)]
    for low, high in ((absent, absent), unknown):
        found = separability(histograms, low, high)
        assert bool((found[:2] > 2).all())
        assert bool(found[2].isnan())


def test_two_organs_of_one_look_are_told_from_the_rest_but_not_from_each_other() -> None:
    """Sizes of kidneys: nearly equal in each scan. Each by itself seems to be told apart, since their sum is."""
    kidney = 0.05 + 0.1 * torch.rand(30, 1, generator=torch.Generator().manual_seed(0))
    twin = kidney * (1 + 0.05 * torch.randn(30, 1, generator=torch.Generator().manual_seed(1)))
    v = torch.cat([1 - kidney - twin, kidney, twin], dim=1)
    ((one, other, correlation),) = alike_pairs(v, v)
    assert ((one, other), correlation > 0.9) == ((1, 2), True)
    look_alike = observed(v, APPEARANCE[[0, 2, 2]], points=3000)
    assert bool((separability(look_alike, v, v) > 3).all())
    assert abs(float(separability_of_pairs(look_alike, v, v, [(1, 2)]))) < 2

    free = random_fractions(30, 3)
    differ = observed(free, APPEARANCE, points=3000)
    assert alike_pairs(free, free) == []
    assert float(separability_of_pairs(differ, free, free, [(1, 2)])) > 3
    absent = torch.tensor([[0.8, 0.2, 0.0]]).expand(30, 3)
    assert bool(separability_of_pairs(differ, absent, absent, [(1, 2)]).isnan())


def test_sizes_of_another_scan_tell_nothing() -> None:
    v, other = random_fractions(30, 3, seed=1), random_fractions(30, 3, seed=2)
    assert bool((separability(observed(other, APPEARANCE), v, v).abs() < 3.5).all())


def test_large_structures_can_be_shuffled() -> None:
    parts = torch.rand(30, 2, generator=torch.Generator().manual_seed(0)) * torch.tensor([0.5, 0.5])
    v = torch.cat([1 - parts.sum(dim=1, keepdim=True), parts], dim=1)
    v[:10] = torch.tensor([0.05, 0.9, 0.05])
    v[10:20] = torch.tensor([0.05, 0.05, 0.9])
    assert bool((separability(observed(v, APPEARANCE, points=3000), v, v) > 3).all())


def test_the_rank_counts_what_sizes_tell_apart_however_small_the_structures() -> None:
    v = random_fractions(20, 4)
    small = v * torch.tensor([1.0, 1e-4, 1e-5, 1e-3])
    small[:, 0] = 1 - small[:, 1:].sum(dim=1)
    assert rank_of_fractions(v, v) == rank_of_fractions(small, small) == 4
    equal = v[:1].expand(20, 4)
    assert rank_of_fractions(equal, equal) == 1
    assert rank_of_fractions(v[:2], v[:2]) == 2
    absent = v * torch.tensor([1.0, 1.0, 0.0, 1.0])
    absent[:, 0] = 1 - absent[:, 1:].sum(dim=1)
    assert rank_of_fractions(absent, absent) == 3
    assert rank_of_fractions(v[:0], v[:0]) == 0
