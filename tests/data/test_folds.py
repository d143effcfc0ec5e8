"""Folds are alike in number and size."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from medsize.data.folds import stratified_folds

SIZES = st.lists(st.floats(0, 1e9) | st.just(float("nan")), min_size=2, max_size=2)


@given(st.dictionaries(st.text(min_size=1), SIZES, min_size=1, max_size=40), st.integers(2, 6))
def test_every_subject_has_a_fold_and_folds_are_as_large(sizes: dict[str, list[float]], num_folds: int) -> None:
    folds = stratified_folds(sizes, num_folds)
    assert folds.keys() == sizes.keys()
    counts = Counter(folds.values())
    assert set(counts) <= set(range(num_folds))
    assert max(counts.values()) - min(counts[fold] for fold in range(num_folds)) <= 2
    assert stratified_folds(dict(reversed(sizes.items())), num_folds) == folds


def test_sizes_and_absent_structures_are_spread_evenly() -> None:
    rng = np.random.default_rng(0)
    sizes = {f"s{i:02d}": [float(rng.lognormal(3, 1)), 0.0 if i % 4 else 5.0] for i in range(60)}
    folds = stratified_folds(sizes, 5)
    by_fold = [np.array([sizes[s] for s, fold in folds.items() if fold == wanted]) for wanted in range(5)]
    medians = [np.median(part[:, 0]) for part in by_fold]
    assert max(medians) / min(medians) < 1.5
    assert {int((part[:, 1] > 0).sum()) for part in by_fold} == {3}
