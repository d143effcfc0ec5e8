"""Assign subjects to the folds of a cross-validation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from medsize.progress_bar import with_progress
from medsize.scans.scan_facts import UNREADABLE, image_facts

__all__ = ["assign_folds", "folds_of_subjects", "stratified_folds"]


def assign_folds(subjects: Sequence[str], num_folds: int) -> dict[str, int]:
    """Return the fold of each subject: the subjects in sorted order are dealt out in turn."""
    return {subject: i % num_folds for i, subject in enumerate(sorted(set(subjects)))}


def stratified_folds(sizes: Mapping[str, Sequence[float]], num_folds: int) -> dict[str, int]:
    """
    Return the fold of each subject, such that the folds are alike in number and sizes of structures.

    Subjects are sorted by the structures that they have, then by the mean rank of their sizes. They are dealt out to
    and fro: 0, 1, 2, 2, 1, 0, 0, … The same cohort gives the same folds.

    Args:
        sizes: for each subject the size of each structure; NaN where unknown, 0 where absent.
        num_folds: number of folds.
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


def folds_of_subjects(
    items: Sequence[Mapping[str, Any]], structures: Sequence[str], dataset_dir: Path, num_folds: int
) -> dict[str, int]:
    """
    Return the fold of each subject, by :func:`stratified_folds`; subjects that share a scan stay together.

    Where few scans have clicks, fold 0 is one with the fewest of them: it validates unless another one is asked for,
    and clicks teach, but do not validate.

    Args:
        items: items of a data list, with ``size`` or, for pictures, ``slice_size``, and maybe ``clicks``.
        structures: names of all classes but the background.
        dataset_dir: folder that the items' paths start from.
        num_folds: number of folds, reduced to the number of subjects if that is smaller.
    """
    leader = {item["subject"]: item["subject"] for item in items}
    first: dict[str, str] = {}
    for item in with_progress(items, "reading"):
        try:
            digest = image_facts(dataset_dir / item["image"]).digest
        except UNREADABLE:  # the check of scans names it
            continue
        one, other = leader[first.setdefault(digest, item["subject"])], leader[item["subject"]]
        if one != other:
            leader = {subject: one if of_it == other else of_it for subject, of_it in leader.items()}
    sizes: dict[str, list[list[float]]] = {}
    for item in items:
        stated = item.get("size") or {k: areas[0] for k, areas in item.get("slice_size", {}).items() if len(areas) == 1}
        middles = [np.nan if (size := stated.get(name)) is None else np.mean(size) for name in structures]
        sizes.setdefault(leader[item["subject"]], []).append(middles)
    means = {subject: [_mean(column) for column in zip(*rows, strict=True)] for subject, rows in sizes.items()}
    folds = stratified_folds(means, min(num_folds, len(means)))
    clicked = Counter(folds[subject] for subject in {leader[item["subject"]] for item in items if item.get("clicks")})
    if 0 < sum(clicked.values()) < len(folds):
        fewest = min(folds.values(), key=lambda fold: (clicked[fold], fold))
        exchanged = {0: fewest, fewest: 0}
        folds = {subject: exchanged.get(fold, fold) for subject, fold in folds.items()}
    return {subject: folds[of_it] for subject, of_it in leader.items()}


def _mean(values: Sequence[float]) -> float:
    """Return the mean of the known values."""
    known = [value for value in values if np.isfinite(value)]
    return float(np.mean(known)) if known else float("nan")
