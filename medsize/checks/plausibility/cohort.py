"""Plausibility of a cohort: all doubts about its scans and sizes."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import Literal

import numpy as np
import torch

from medsize.checks.plausibility.scans import clicks_in_air, doubles, mask_likes
from medsize.checks.plausibility.sizes import against_each_other, against_masks, against_slices, all_the_same
from medsize.checks.plausibility.units import OF_FRACTIONS, OF_VOLUMES, against_usual, too_wide
from medsize.data.size_unit import size_unit
from medsize.items import CohortItem
from medsize.scans.scan_facts import UNREADABLE, ImageFacts, image_facts, mask_facts

__all__ = ["mask_volumes", "nothing_to_learn", "size_volumes", "suspicions"]


def size_volumes(item: CohortItem) -> np.ndarray:
    """
    Return the volume of each structure of an item, mm³: the middle of its bounds, or NaN if unknown.
    """
    low, high = np.asarray(item["volume_mm3"], dtype=float)
    return np.where(np.isfinite(high), (low + np.where(np.isfinite(high), high, 0)) / 2, np.nan)


def mask_volumes(mask: str, num_classes: int) -> np.ndarray:
    """Return the volume of each structure in a mask, mm³."""
    facts = mask_facts(mask)
    return np.array([facts.volume_mm3(index) for index in range(1, num_classes)])


def nothing_to_learn(items: Sequence[CohortItem], class_names: Sequence[str]) -> list[str]:
    """
    Return a problem if no size of any structure is known, or all known ones are 0.

    Args:
        items: items of a :class:`medsize.data.Cohort`. With clicks or scribbles, there is something to learn.
        class_names: all classes, the background first.
    """
    ends = [item["volume_mm3"] for item in items if "volume_mm3" in item]
    known = [(low > 0) | torch.isfinite(high) for low, high in ends]
    above = any(bool((high[of_one] > 0).any()) for of_one, (_, high) in zip(known, ends, strict=True))
    if not ends or above or any(item.get("clicks") or "scribble" in item for item in items):
        return []
    named = " and ".join(f"'{name}'" for name in class_names[1:])
    if not any(bool(of_one.any()) for of_one in known):
        return [f"found no known size of {named} in any scan, expected some: there is nothing to learn. Fill them in."]
    return [
        f"found the size 0 of {named} in every scan, expected larger ones in some: there is nothing to learn. Fill in "
        "sizes above 0; leave out those that are unknown."
    ]


def suspicions(
    items: Sequence[CohortItem],
    class_names: Sequence[str],
    length_unit: Literal["mm", "px"] = "mm",
    fractions: Collection[str] | None = None,
) -> list[str]:
    """
    List possible problems of sizes and scans.

    Sizes of one scan or of all are compared with each other, with voxels, masks and usual organs. Reported are sizes
    that another unit explains (mL read as mm³, a radius as a diameter, a fraction as a percentage); outliers; sizes
    that are all the same, or all 0; volumes that the areas of their slices contradict; scans with the same voxels;
    images that look like masks; and clicks on air. Of pictures, structures that are wider than anyone is are reported,
    too.

    Args:
        items: items of a :class:`medsize.data.Cohort`. Unreadable ones are left out.
        class_names: all classes, the background first.
        length_unit: ``px`` for pictures whose pixels have no known size.
        fractions: structures whose sizes were stated as fractions. Default: any may have been.

    Returns:
        one message for each, naming the file or the structure.
    """
    images = _images(items)  # once: asking for facts costs a look at the file, for each scan and structure too much
    readable = [item for item in items if item["image"] in images]
    found = [*doubles(readable, images), *mask_likes(images)]
    found += [doubt for item in readable for doubt in clicks_in_air(item, images[item["image"]], class_names)]
    found += [f"{file}: {doubt}" for file, facts in images.items() for doubt in facts.doubts]
    sized = [item for item in readable if "volume_mm3" in item]
    if not sized:
        return found
    volumes = np.stack([size_volumes(item) for item in sized])
    drawn = np.stack([_drawn(item, len(class_names)) for item in sized])
    cut_off = np.stack([_cut_off(item, len(class_names)) for item in sized])
    names = [str(item["image"]) for item in sized]
    voxels = np.array([images[item["image"]].voxel_mm3 for item in sized])
    unit = size_unit((images[item["image"]] for item in sized), length_unit)
    found += against_slices(sized, images, class_names)
    for index, structure in enumerate(class_names[1:]):
        known = np.flatnonzero(np.isfinite(volumes[:, index]) & (volumes[:, index] > 0))
        stated, of_masks = volumes[known, index], drawn[known, index]
        compared = [names[i] for i in known]
        measured = np.isclose(stated, of_masks, rtol=0.02)
        mistakes = OF_VOLUMES + (OF_FRACTIONS if fractions is None or structure in fractions else ())
        if not unit.is_flat:
            found += against_usual(structure, stated, voxels[known], bool(measured.all()), mistakes)
        elif length_unit == "mm":
            found += too_wide(structure, stated, voxels[known], compared)
        found += against_each_other(structure, stated, compared, measured, unit, mistakes)
        found += all_the_same(structure, [sized[i]["volume_mm3"][:, index] for i in known], measured, unit)
        if not len(known) and (volumes > 0).any() and (absent := int((volumes[:, index] == 0).sum())):
            found.append(
                f"'{structure}': its size is 0 in all {absent} scans that state it, so that it is never learned. Leave "
                "it out, or correct its sizes."
            )
        found += against_masks(structure, stated, of_masks, compared, cut_off[known, index], mistakes)
    return found


def _images(items: Sequence[CohortItem]) -> dict[str, ImageFacts]:
    """Return facts about all readable images."""
    found = {}
    for item in items:
        with suppress(*UNREADABLE):  # the check of scans names it
            found[item["image"]] = image_facts(item["image"])
    return found


def _drawn(item: CohortItem, num_classes: int) -> np.ndarray:
    """Return the volume of each structure in an item's mask, mm³; NaN if there is no mask."""
    if "label" in item:
        with suppress(*UNREADABLE):  # the check of scans names it
            return mask_volumes(item["label"], num_classes)
    return np.full(num_classes - 1, np.nan)


def _cut_off(item: CohortItem, num_classes: int) -> np.ndarray:
    """Return for each structure whether it reaches the edge of the view in an item's mask."""
    if "label" in item:
        with suppress(*UNREADABLE):
            return np.isin(np.arange(1, num_classes), mask_facts(item["label"]).cut_off)
    return np.zeros(num_classes - 1, dtype=bool)
