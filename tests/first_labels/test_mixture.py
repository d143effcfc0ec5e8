"""EM with known proportions: closed forms, a likelihood that never falls, and what sizes cannot tell."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from medsize.first_labels import (
    choose_iterations,
    fit_mixture,
    rank_of_fractions,
    separability,
    separability_of_pairs,
)
from medsize.first_labels.mixture import alike_pairs

APPEARANCE = torch.tensor([[0.7, 0.2, 0.1, 0.0], [0.1, 0.0, 0.6, 0.3], [0.0, 0.1, 0.3, 0.6]])
"""Distribution of four words in the background and two structures that look alike."""


def random_fractions(regions: int, classes: int, seed: int = 0) -> torch.Tensor:
    parts = torch.rand(regions, classes, generator=torch.Generator().manual_seed(seed)) + 0.05
    parts[:, 0] += classes
    return parts / parts.sum(dim=1, keepdim=True)


def observed(fractions: torch.Tensor, words: torch.Tensor, points: int = 400, seed: int = 0) -> torch.Tensor:
    """Draw the histogram of as many points of each region."""
    drawn = torch.multinomial(
        fractions @ words, points, replacement=True, generator=torch.Generator().manual_seed(seed)
    )
    return torch.stack([torch.bincount(row, minlength=words.shape[1]) for row in drawn]) / points


def test_disjoint_words_are_separated_exactly() -> None:
    truth = torch.tensor([[0.5, 0.5, 0, 0, 0], [0, 0, 1, 0, 0], [0, 0, 0, 0.3, 0.7]])
    v = random_fractions(12, 3)
    found = fit_mixture(v @ truth, v, v, iterations=5000)
    torch.testing.assert_close(found.words, truth, atol=2e-3, rtol=0)
    torch.testing.assert_close(found.fractions, v)


def test_one_class_has_the_mean_histogram() -> None:
    histograms = torch.rand(5, 7).softmax(dim=1)
    ones = torch.ones(5, 1)
    found = fit_mixture(histograms, ones, ones, iterations=1)
    torch.testing.assert_close(found.words[0], histograms.mean(dim=0))


def test_a_class_that_is_absent_everywhere_changes_nothing_for_the_others() -> None:
    v = random_fractions(8, 3)
    histograms = observed(v, APPEARANCE)
    with_it = torch.cat([v[:, :1], torch.zeros(8, 1), v[:, 1:]], dim=1)
    found = fit_mixture(histograms, with_it, with_it, iterations=50)
    without = fit_mixture(histograms, v, v, iterations=50)
    torch.testing.assert_close(found.words[[0, 2, 3]], without.words)
    assert bool((found.fractions[:, 1] == 0).all())
    torch.testing.assert_close(found.words[1], torch.full((4,), 0.25))


def test_certain_words_alone_give_their_distribution() -> None:
    nothing = torch.zeros(0, 3)
    certain = torch.tensor([[3.0, 1.0, 0.0, 0.0], [0.0, 0.0, 2.0, 0.0], [0.0, 1.0, 0.0, 1.0]])
    found = fit_mixture(torch.zeros(0, 4), nothing, nothing, certain, iterations=2)
    torch.testing.assert_close(found.words, certain / certain.sum(dim=1, keepdim=True))


def test_certain_words_tell_classes_of_equal_sizes_apart() -> None:
    v = torch.tensor([[0.6, 0.2, 0.2]]).expand(6, 3)
    histograms = observed(v, APPEARANCE, points=20_000)
    found = fit_mixture(histograms, v, v, certain=APPEARANCE, iterations=500)
    torch.testing.assert_close(found.words, APPEARANCE, atol=0.03, rtol=0)
    alone = fit_mixture(histograms, v, v, iterations=500)
    torch.testing.assert_close(alone.words[1], alone.words[2])


@settings(max_examples=60)
@given(
    st.integers(0, 2**16),
    st.integers(1, 9),
    st.integers(2, 5),
    st.floats(0, 0.5),
    st.floats(0, 1),
    st.booleans(),
)
def test_the_likelihood_never_falls_and_fractions_stay_in_their_boxes(
    seed: int, regions: int, classes: int, width: float, unknown: float, has_certain: bool
) -> None:
    generator = torch.Generator().manual_seed(seed)
    v = random_fractions(regions, classes, seed)
    v[torch.rand(regions, classes, generator=generator) < 0.2] = 0
    v[:, 0] += 1 - v.sum(dim=1)
    low, high = v * (1 - width), (v * (1 + width)).clamp_max(1)
    hidden = torch.rand(regions, classes, generator=generator) < unknown
    low, high = low.masked_fill(hidden, 0), high.masked_fill(hidden, 1)
    sparse = torch.rand(regions, 8, generator=generator) ** 8
    histograms = sparse / sparse.sum(dim=1, keepdim=True)
    certain = torch.rand(classes, 8, generator=generator) if has_certain else None
    found = fit_mixture(histograms, low, high, certain, iterations=40)
    assert float(found.log_likelihood.diff().min()) >= -1e-9
    assert bool(((found.fractions >= low - 1e-5) & (found.fractions <= high + 1e-5)).all())
    torch.testing.assert_close(found.fractions.sum(dim=1), torch.ones(regions), atol=1e-4, rtol=0)
    torch.testing.assert_close(found.words.sum(dim=1), torch.ones(classes))


def test_what_only_one_group_shows_is_its_own_background_and_no_structure() -> None:
    """Each subject has a word of its own, more of it in the scan where its structure is smaller by chance."""
    v = torch.tensor([[0.9, 0.1], [0.8, 0.2]] * 4)
    common = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    histograms = torch.cat([0.8 * (v @ common), torch.zeros(8, 4)], dim=1)
    for region in range(8):
        histograms[region, 2 + region // 2] = 0.2
    groups = [region // 2 for region in range(8)]
    shared = fit_mixture(histograms, v, v, iterations=40).words[1]
    apart = fit_mixture(histograms, v, v, iterations=40, groups=groups).words[1]
    assert float(apart[2:].sum()) < 0.8 * float(shared[2:].sum())
    assert float(apart[1]) > float(shared[1])
    with pytest.raises(ValueError, match="groups has 3 entries, expected one for each of 8 regions"):
        fit_mixture(histograms, v, v, groups=[0, 1, 2])


def test_many_iterations_for_a_clear_signal_and_few_for_noise() -> None:
    v = random_fractions(60, 3)
    clear = [observed(v, APPEARANCE, points=5000, seed=n) for n in range(2)]
    noise = [torch.rand(60, 50, generator=torch.Generator().manual_seed(n)) for n in range(2)]
    noise = [part / part.sum(dim=1, keepdim=True) for part in noise]
    assert choose_iterations(clear, v, v) > 20
    assert choose_iterations(noise, v, v) <= 1
    assert choose_iterations(clear, v[:4], v[:4], groups=[1, 2, 3, 3]) == 100  # fewer groups than folds


def test_the_regions_of_a_group_are_left_out_together() -> None:
    """Each subject has words of its own, which only its other slices could foretell."""
    subjects, slices = 10, 6
    own = torch.eye(subjects).repeat_interleave(slices, dim=0)
    structure = torch.linspace(0.05, 0.95, slices).repeat(subjects)
    v = torch.stack([1 - structure, structure], dim=1)
    histograms = torch.cat([v[:, :1] * own, v[:, 1:] * own], dim=1)
    apart = choose_iterations([histograms], v, v)
    together = choose_iterations([histograms], v, v, groups=[n // slices for n in range(subjects * slices)])
    assert together < apart


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
