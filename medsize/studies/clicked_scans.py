"""Clicks of some scans only, to compare how many it takes."""

from __future__ import annotations

import random
from collections.abc import Sequence

from medsize.items import TrainingItem

__all__ = ["keep_clicks"]


def keep_clicks(items: Sequence[TrainingItem], num_scans: int | None, seed: int = 0) -> list[TrainingItem]:
    """
    Keep the clicks of some scans, drawn at random; the other items lose theirs.

    Args:
        items: training items.
        num_scans: number of scans that keep their clicks; ``None`` for all.
        seed: of the draw. With the same seed, more scans include those of fewer.

    Returns:
        new items, in the same order.

    Raises:
        ValueError: when fewer scans have clicks.
    """
    clicked = [n for n, item in enumerate(items) if item.get("clicks")]
    if num_scans is None:
        return list(items)
    if not 0 <= num_scans <= len(clicked):
        raise ValueError(f"num_clicked_scans is {num_scans}: expected at most {len(clicked)}, the scans with clicks.")
    random.Random(seed).shuffle(clicked)
    kept = set(clicked[:num_scans])
    return [item if n in kept else _without_clicks(item) for n, item in enumerate(items)]


def _without_clicks(item: TrainingItem) -> TrainingItem:
    new = item.copy()
    new.pop("clicks", None)
    return new
