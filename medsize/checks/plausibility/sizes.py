"""Doubts about the sizes of a structure, compared with each other, with slices and with masks."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch

from medsize.checks.plausibility.units import UNUSUAL, Mistake, explained
from medsize.data.size_unit import ML, SizeUnit
from medsize.items import CohortItem
from medsize.scans.scan_facts import ImageFacts
from medsize.suggest import first_few
from medsize.units import size_text

__all__ = ["against_each_other", "against_masks", "against_slices", "all_the_same"]

AGED = 10.0
"""Factor within which areas in pictures of one cohort are not outliers, as from a fetus to an adult."""
ZOOMED = 60.0
"""The same for areas in pixels, which differ by the distance, too; a percentage read as a fraction is beyond it."""
MIN_SCANS = 5
"""Smallest number of sizes to judge a spread."""
NARROW = 10.0
"""Largest ratio of a size's ends to compare it with others: wider bounds, as those of presence alone, may be alike."""
OF_SLICES = 2.0
"""Factor by which the volume of a scan's slices may differ from the one stated beside them."""


def against_each_other(
    structure: str,
    volumes: np.ndarray,
    names: Sequence[str],
    measured: np.ndarray,
    unit: SizeUnit,
    mistakes: Sequence[Mistake],
) -> Iterator[str]:
    """Yield messages for sizes far from the others of a structure; no unit explains those ``measured`` in a mask."""
    if len(volumes) < MIN_SCANS:
        return
    logs = np.log(volumes)
    order = np.argsort(logs)
    gaps = np.diff(logs[order])
    widest = int(np.argmax(gaps))
    low, high = order[: widest + 1], order[widest + 1 :]
    step = math.exp(np.median(logs[high]) - np.median(logs[low]))
    if gaps[widest] > math.log(30) and min(len(low), len(high)) > 1 and 400 < step < 2500:
        few, many, ratio = (low, high, 1 / step) if len(low) <= len(high) else (high, low, step)
        listed = ", ".join(names[i] for i in few[:10])
        yield (
            f"'{structure}': {len(few)} of {len(volumes)} sizes are about {max(ratio, 1 / ratio):.0f} times "
            f"{'smaller' if ratio < 1 else 'larger'} than the others: {listed}{' …' if len(few) > 10 else ''}. "
            + ("They were measured in masks: are these right?" if measured[few].all() else explained(ratio, mistakes))
        )
        many = np.sort(many)
        logs, names, volumes, measured = logs[many], [names[i] for i in many], volumes[many], measured[many]
        if len(logs) < MIN_SCANS:
            return
    middle = float(np.median(logs))
    spread = max(1.4826 * float(np.median(np.abs(logs - middle))), math.log(1.2))
    for name, log, volume, of_mask in zip(names, logs, volumes, measured, strict=True):
        far = abs(log - middle) / spread
        ratio = math.exp(log - middle)
        usual = (ZOOMED if unit.name == "px" else AGED) if unit.is_flat else 1.0
        if far > 3.5 and not 1 / usual < ratio < usual:
            hint = (
                ""
                if of_mask or unit.is_flat
                else explained(ratio, mistakes, tolerance=min(math.exp(1.5 * spread), 2.0))
            )
            yield (
                f"{name}: '{structure}' has {unit.text(volume)}, {_times(ratio)} the cohort's median of "
                f"{unit.text(math.exp(middle))}. {hint or 'An outlier: is it right?'}"
            )


def all_the_same(structure: str, sizes: Sequence[torch.Tensor], measured: np.ndarray, unit: SizeUnit) -> Iterator[str]:
    """Yield a message if all sizes of a structure, low and high end, are the same, unless masks show that they are."""
    if len(sizes) < MIN_SCANS or measured.all() or not all(torch.equal(size, sizes[0]) for size in sizes):
        return
    low, high = sizes[0].tolist()
    if high <= NARROW * low:
        yield (
            f"'{structure}': all {len(sizes)} sizes above 0 are the same, {unit.text((low + high) / 2)}. Was one cell "
            "copied to all rows?"
        )


def against_slices(
    items: Sequence[CohortItem], images: Mapping[str, ImageFacts], class_names: Sequence[str]
) -> Iterator[str]:
    """Yield a message for each structure whose areas in slices make another volume than the one stated."""
    both = [item for item in items if "slice_area_mm2" in item]
    for index, structure in enumerate(class_names[1:]):
        wrong = {}
        for item in both:
            low, high = item["volume_mm3"][:, index].tolist()
            areas = item["slice_area_mm2"][:, index].sum(dim=-1)
            of_low, of_high = (areas * images[item["image"]].zooms[2]).tolist()
            if of_low > OF_SLICES * high or OF_SLICES * of_high < low:
                wrong[item["image"]] = f"{ML.text(of_low)}, where {ML.text(high)} are stated"
        if wrong:
            first, words = next(iter(wrong.items()))
            yield (
                f"'{structure}': the areas of its slices make another volume than the one stated in {len(wrong)} of "
                f"{len(both)} scans: {first_few(list(wrong))}. In {first}, they make {words}. Which is right?"
            )


def against_masks(
    structure: str,
    volumes: np.ndarray,
    drawn: np.ndarray,
    names: Sequence[str],
    cut_off: np.ndarray,
    mistakes: Sequence[Mistake],
) -> Iterator[str]:
    """Yield messages for sizes that differ from those of the scans' masks by as much as a unit."""
    both = np.flatnonzero(drawn > 0)
    ratios = volumes[both] / drawn[both]
    # A structure that is cut off is larger than its mask.
    wrong = (ratios > np.where(cut_off[both], UNUSUAL, 4)) | (ratios < 0.25)
    if not wrong.any():
        return
    ratio = float(np.exp(np.median(np.log(ratios[wrong]))))
    listed = [names[i] for i in both[wrong]]
    yield (
        f"'{structure}': in {len(listed)} of {len(both)} scans with a mask the size is far from the mask's, "
        f"{_times(ratio)} it in the middle: {', '.join(listed[:10])}{' …' if len(listed) > 10 else ''}. "
        f"{explained(ratio, mistakes) or 'Which of both is right?'}"
    )


def _times(ratio: float) -> str:
    return f"{size_text(ratio, 3)} times" if ratio >= 1 else f"1/{size_text(1 / ratio, 3)} of"
