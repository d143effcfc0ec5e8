"""Folds of a public set, one of which is the first to be validated on."""

from __future__ import annotations

from collections.abc import Iterable

import typer

from medsize.data import assign_folds

__all__ = ["folds_from"]


def folds_from(subjects: Iterable[str], folds: int, validation_fold: int) -> dict[str, int]:
    """
    Return the fold of each subject; those of ``validation_fold`` get the number 0.

    Raises:
        typer.BadParameter: when there is no such fold.
    """
    if validation_fold >= folds:
        raise typer.BadParameter(f"got {validation_fold}, expected 0 to {folds - 1}.", param_hint="--validation-fold")
    assigned = assign_folds(sorted(set(subjects)), folds)
    return {subject: (fold - validation_fold) % folds for subject, fold in assigned.items()}
