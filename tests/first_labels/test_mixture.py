"""EM with known proportions: closed forms, and a likelihood that never falls."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from medsize.first_labels import choose_iterations, fit_mixture

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


def test_equal_slices_of_a_subject_say_as_much_as_one() -> None:
    words = torch.rand(3, 60, generator=torch.Generator().manual_seed(1)) ** 4
    v = random_fractions(20, 3)
    histograms = observed(v, words / words.sum(dim=1, keepdim=True), points=200)
    once = choose_iterations([histograms], v, v, groups=range(20))
    often = [x.repeat_interleave(3, dim=0) for x in (histograms, v)]
    assert 0 < once < 100
    assert choose_iterations([often[0]], often[1], often[1], groups=[n // 3 for n in range(60)]) == once


@pytest.mark.parametrize(
    ("histograms", "fractions", "message"),
    [
        (torch.ones(2, 3) / 3, torch.ones(3, 2) / 2, r"got \(2, 3\), \(3, 2\) and \(3, 2\)"),
        (torch.full((2, 3), torch.nan), torch.ones(2, 2) / 2, "histograms must be finite"),
        (torch.ones(2, 3) / 3, torch.ones(2, 2), "fractions of region 0 lie between .* some sum to 1"),
        (torch.ones(2, 3) / 3, torch.tensor([[0.5, 0.5], [torch.nan, 0.5]]), "fractions of region 1"),
    ],
)
def test_what_em_would_make_numbers_of_that_look_right_is_refused(
    histograms: torch.Tensor, fractions: torch.Tensor, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        fit_mixture(histograms, fractions, fractions)
