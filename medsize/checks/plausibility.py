"""Plausibility of a cohort: wrong units, outliers, and scans that occur twice."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Literal, TypeAlias

import nibabel
import numpy as np
import torch

from medsize.data.size_unit import SizeUnit, size_unit
from medsize.items import CohortItem
from medsize.scans.scan_facts import UNREADABLE, ImageFacts, image_facts, mask_facts
from medsize.suggest import first_few
from medsize.transforms.draw_clicks import voxels_of_click
from medsize.units import MM3_PER_ML

__all__ = ["mask_volumes", "nothing_to_learn", "size_volumes", "suspicions"]

Mistake: TypeAlias = tuple[float, str]
"""The factor by which a size gets too large, and the reason."""
OF_FRACTIONS: tuple[Mistake, ...] = (
    (100.0, "a percentage, read as a fraction"),
    (1 / 100, "a fraction, read as a percentage"),
)
OF_VOLUMES: tuple[Mistake, ...] = (
    (MM3_PER_ML, "mm³, read as mL"),
    (1 / MM3_PER_ML, "mL, read as mm³; litres, read as mL; or diameters in cm, read as mm"),
    (8.0, "a doubled diameter"),
    (1 / 8, "a radius, read as a diameter"),
)
"""Factors by which sizes may be too large, and their causes."""
USUAL_ML = {
    "brain": 1400.0,
    "liver": 1700.0,
    "spleen": 140.0,
    "kidney": 150.0,
    "kidneys": 300.0,
    "pancreas": 130.0,
    "heart": 800.0,
    "thyroid": 20.0,
    "prostate": 16.0,
    "uterus": 75.0,
    "lung": 2500.0,
    "lungs": 5000.0,
    "hippocampus": 3.0,
    "myocardium": 130.0,
}
"""
Volumes of adults, mL, rounded: ICRP Publication 89 (2002), masses at about 1.05 g/mL (heart with blood; one kidney is
half of both). Air-filled lungs, one hippocampus and the left ventricle's muscle have usual values of imaging.
"""
WIDE_MM = 1000.0
"""Width above which a structure in a picture is doubtful."""
AGED = 10.0
"""Factor within which areas in pictures of one cohort are not outliers, as from a fetus to an adult."""
ZOOMED = 60.0
"""The same for areas in pixels, which differ by the distance, too; a percentage read as a fraction is beyond it."""
UNUSUAL = 30.0
"""Factor above which a size has another unit, rather than an unusual organ."""
AIR = 0.01
"""Part of a scan's range of intensities, above the lowest, that counts as air."""
MIN_SCANS = 5
"""Smallest number of sizes to judge a spread."""
NARROW = 10.0
"""Largest ratio of a size's ends to compare it with others: wider bounds, as those of presence alone, may be alike."""
OF_SLICES = 2.0
"""Factor by which the volume of a scan's slices may differ from the one stated beside them."""


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
    Return a problem if all known sizes of all structures are 0.

    Args:
        items: items of a :class:`medsize.data.Cohort`. With clicks or scribbles, there is something to learn.
        class_names: all classes, the background first.
    """
    ends = [item["volume_mm3"] for item in items if "volume_mm3" in item]
    known = [high[torch.isfinite(high)] for _, high in ends]
    if not any(len(high) for high in known) or any(bool((high > 0).any()) for high in known):
        return []
    if any(item.get("clicks") or "scribble" in item for item in items):
        return []
    named = " and ".join(f"'{name}'" for name in class_names[1:])
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
    found = [*_doubles(readable, images), *_mask_likes(images)]
    found += [doubt for item in readable for doubt in _clicks_in_air(item, images[item["image"]], class_names)]
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
    found += _against_slices(sized, images, class_names)
    for index, structure in enumerate(class_names[1:]):
        known = np.flatnonzero(np.isfinite(volumes[:, index]) & (volumes[:, index] > 0))
        stated, of_masks = volumes[known, index], drawn[known, index]
        compared = [names[i] for i in known]
        measured = np.isclose(stated, of_masks, rtol=0.02)
        mistakes = OF_VOLUMES + (OF_FRACTIONS if fractions is None or structure in fractions else ())
        if not unit.is_flat:
            found += _against_usual(structure, stated, voxels[known], bool(measured.all()), mistakes)
        elif length_unit == "mm":
            found += _too_wide(structure, stated, voxels[known], compared)
        found += _against_each_other(structure, stated, compared, measured, unit, mistakes)
        found += _all_the_same(structure, [sized[i]["volume_mm3"][:, index] for i in known], measured, unit)
        if not len(known) and (volumes > 0).any() and (absent := int((volumes[:, index] == 0).sum())):
            found.append(
                f"'{structure}': its size is 0 in all {absent} scans that state it, so that it is never learned. Leave "
                "it out, or correct its sizes."
            )
        found += _against_masks(structure, stated, of_masks, compared, cut_off[known, index], mistakes)
    return found


def _clicks_in_air(item: CohortItem, facts: ImageFacts, class_names: Sequence[str]) -> Iterator[str]:
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


def _doubles(items: Sequence[CohortItem], images: Mapping[str, ImageFacts]) -> Iterator[str]:
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


def _split(item: CohortItem) -> str:
    return f"fold {item['fold']}" if "fold" in item else str(item.get("section", "no fold"))


def _mask_likes(images: Mapping[str, ImageFacts]) -> Iterator[str]:
    for file, facts in images.items():
        if facts.distinct <= 4:
            yield (
                f"{file}: the image has only {facts.distinct} different intensities. Is it a mask? Then give "
                "it a name with 'mask' in it."
            )


def _against_usual(
    structure: str, volumes: np.ndarray, voxels: np.ndarray, measured: bool, mistakes: Sequence[Mistake]
) -> Iterator[str]:
    """
    Yield a message if all sizes of a structure, mm³, are in another unit.

    Args:
        structure: its name.
        volumes: its sizes.
        voxels: mm³ of a voxel of each scan.
        measured: whether the sizes were measured in masks, so that no unit explains them.
        mistakes: what may explain it.
    """
    if not len(volumes):
        return
    median = float(np.median(volumes))
    voxel = float(np.median(voxels))
    if median < voxel:
        yield (
            f"'{structure}': its sizes, {median:.3g} mm³ in the middle, are below one voxel ({voxel:.3g} mm³). "
            "Are they mL, read as mm³? Correct the unit."
        )
        return
    words = structure.lower().replace("_", " ").replace("-", " ").split()
    usual = next((USUAL_ML[word] * MM3_PER_ML for word in words if word in USUAL_ML), None)
    if usual is not None and not 1 / UNUSUAL < median / usual < UNUSUAL:
        yield (
            f"'{structure}': its sizes are {median / MM3_PER_ML:.3g} mL in the middle, those of adults about "
            f"{usual / MM3_PER_ML:.3g} mL. "
            + (
                "They were measured in masks: do these show it, and is the scans' spacing right?"
                if measured
                else _explained(median / usual, mistakes, tolerance=4.0) or "Is the unit right?"
            )
        )


def _too_wide(structure: str, areas: np.ndarray, pixels: np.ndarray, names: Sequence[str]) -> Iterator[str]:
    """Yield a message for a structure in pictures that is wider than anyone is."""
    widths = 2 * np.sqrt(areas / np.pi)
    if len(wide := np.flatnonzero(widths > WIDE_MM)):
        at = wide[0]
        yield (
            f"{names[at]}: '{structure}' is {widths[at] / 1000:.2g} m wide, as a disc of its {areas[at]:.4g} mm², with "
            f"pixels of {math.sqrt(pixels[at]):.4g} mm; so are {len(wide)} of {len(widths)}. Is pixel_mm right, or is "
            "it in µm?"
        )


def _against_each_other(
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
            + ("They were measured in masks: are these right?" if measured[few].all() else _explained(ratio, mistakes))
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
                else _explained(ratio, mistakes, tolerance=min(math.exp(1.5 * spread), 2.0))
            )
            yield (
                f"{name}: '{structure}' has {unit.text(volume)}, {_times(ratio)} the cohort's median of "
                f"{unit.text(math.exp(middle))}. {hint or 'An outlier: is it right?'}"
            )


def _all_the_same(structure: str, sizes: Sequence[torch.Tensor], measured: np.ndarray, unit: SizeUnit) -> Iterator[str]:
    """Yield a message if all sizes of a structure, low and high end, are the same, unless masks show that they are."""
    if len(sizes) < MIN_SCANS or measured.all() or not all(torch.equal(size, sizes[0]) for size in sizes):
        return
    low, high = sizes[0].tolist()
    if high <= NARROW * low:
        yield (
            f"'{structure}': all {len(sizes)} sizes above 0 are the same, {unit.text((low + high) / 2)}. Was one cell "
            "copied to all rows?"
        )


def _against_slices(
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
                wrong[item["image"]] = f"{of_low / MM3_PER_ML:.4g} mL, where {high / MM3_PER_ML:.4g} mL are stated"
        if wrong:
            first, words = next(iter(wrong.items()))
            yield (
                f"'{structure}': the areas of its slices make another volume than the one stated in {len(wrong)} of "
                f"{len(both)} scans: {first_few(list(wrong))}. In {first}, they make {words}. Which is right?"
            )


def _against_masks(
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
        f"{_explained(ratio, mistakes) or 'Which of both is right?'}"
    )


def _times(ratio: float) -> str:
    return f"{ratio:.3g} times" if ratio >= 1 else f"1/{1 / ratio:.3g} of"


def _explained(ratio: float, mistakes: Sequence[Mistake], tolerance: float = 2.0) -> str:
    """Return the mistake that makes sizes too large by this factor, if there is one."""
    factor, mistake = min(mistakes, key=lambda m: abs(math.log(ratio / m[0])))
    return f"Is it {mistake}?" if abs(math.log(ratio / factor)) <= math.log(tolerance) else ""
