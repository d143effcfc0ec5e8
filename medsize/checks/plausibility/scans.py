"""Doubts about scans: doubles, images that look like masks, and clicks on air."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import nibabel
import numpy as np
import torch

from medsize.items import CohortItem
from medsize.scans.scan_facts import ImageFacts
from medsize.transforms.draw_clicks import voxels_of_click

__all__ = ["clicks_in_air", "doubles", "mask_likes"]

AIR = 0.01
"""Part of a scan's range of intensities, above the lowest, that counts as air."""


def doubles(items: Sequence[CohortItem], images: Mapping[str, ImageFacts]) -> Iterator[str]:
    """Yield a message for each scan with the voxels of another one."""
    first: dict[str, CohortItem] = {}
    for item in items:
        twin = first.setdefault(images[item["image"]].digest, item)
        if twin is not item:
            where = "of the same subject"
            if twin.get("subject") != item.get("subject"):
                where = f"of the subjects '{twin.get('subject')}' and '{item.get('subject')}'"
            if _split(twin) != _split(item):
                where += f", in {_split(twin)} and {_split(item)}: a training scan is also a validation scan"
            yield f"{item['image']}: its voxels are those of {twin['image']}, {where}. Remove one of them."


def mask_likes(images: Mapping[str, ImageFacts]) -> Iterator[str]:
    """Yield a message for each image that has as few intensities as a mask."""
    for file, facts in images.items():
        if facts.distinct <= 4:
            yield (
                f"{file}: the image has only {facts.distinct} different intensities. Is it a mask? Then give "
                "it a name with 'mask' in it."
            )


def clicks_in_air(item: CohortItem, facts: ImageFacts, class_names: Sequence[str]) -> Iterator[str]:
    """Yield a doubt for each click whose surroundings are as dark as the darkest part of the scan."""
    if not item.get("clicks"):
        return
    image = np.asanyarray(nibabel.load(item["image"]).dataobj)
    dark, bright = np.percentile(image[::2, ::2], (1, 99))
    affine = torch.as_tensor(facts.affine, dtype=torch.float64)
    for click in item["clicks"]:
        middle = voxels_of_click(click, affine).double().mean(dim=0).round().long().tolist()
        around = image[tuple(slice(max(n - 1, 0), n + 2) for n in middle)]
        if click.class_index > 0 and around.size and float(around.mean()) <= dark + AIR * (bright - dark):
            place = [round(x, 1) for x in click.start_mm]
            yield (
                f"{item['image']}: the click of {class_names[click.class_index]} at {place} mm lies where the scan is "
                "as dark as air. Is it in the right scan and frame?"
            )


def _split(item: CohortItem) -> str:
    return f"fold {item['fold']}" if "fold" in item else str(item.get("section", "no fold"))
