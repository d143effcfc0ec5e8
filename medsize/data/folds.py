"""Assign subjects to the folds of a cross-validation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

__all__ = ["assign_folds", "stratified_folds"]


def assign_folds(subjects: Sequence[str], num_folds: int) -> dict[str, int]:
    """Fold of each subject: the subjects in sorted order are dealt out in turn."""
    return {subject: i % num_folds for i, subject in enumerate(sorted(set(subjects)))}


def stratified_folds(sizes: Mapping[str, Sequence[float]], num_folds: int) -> dict[str, int]:
    """
    Fold of each subject, such that folds hold as many subjects, and subjects of as many sizes, as can be.

    Subjects are sorted by which structures they have, then by the mean rank of their sizes, and dealt out to and fro:
    0, 1, 2, 2, 1, 0, 0, … The same cohort gives the same folds.

    Args:
        sizes: for each subject the size of each structure; NaN where unknown, 0 where absent.
        num_folds: how many.
    """
    subjects = sorted(sizes)
    table = np.array([sizes[subject] for subject in subjects], dtype=float).reshape(len(subjects), -1)
    ranks = np.full(table.shape, np.nan)
    for column in range(table.shape[1]):
        known = np.flatnonzero(np.isfinite(table[:, column]))
        ranks[known, column] = np.argsort(np.argsort(table[known, column], kind="stable")) / max(len(known), 1)
    present = [tuple(np.where(np.isnan(row), 2, row > 0).astype(int)) for row in table]
    means = [float(np.mean(row[np.isfinite(row)])) if np.isfinite(row).any() else 0.5 for row in ranks]
    order = sorted(range(len(subjects)), key=lambda i: (present[i], means[i], subjects[i]))
    dealt = [*range(num_folds), *reversed(range(num_folds))]
    return {subjects[i]: dealt[place % len(dealt)] for place, i in enumerate(order)}
