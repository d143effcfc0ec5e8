"""Check of the scans themselves."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

import nibabel
import numpy as np
import torch

from medsize.items import SIZE_KEYS, Click, CohortItem, RoiMm, TrainingItem, ValidationItem, is_per_slice
from medsize.losses.composite import IGNORE_INDEX
from medsize.progress_bar import with_progress
from medsize.scans.scan_facts import UNREADABLE, ImageFacts, first_line, image_facts, mask_facts
from medsize.scans.space.orientation import axis_codes
from medsize.sizes.region import total_size
from medsize.suggest import first_few
from medsize.transforms.draw_clicks import voxels_of_click
from medsize.transforms.size_to_fraction import FULLEST
from medsize.units import lps_to_ras, size_text

__all__ = ["check_scans", "region_faults"]

LPS_REMEDY = (
    "It lies inside as LPS, as in DICOM. If it is that, name the column of the size table 'STRUCTURE click_lps_mm', or "
    "set click_space to 'LPS' in a data list of your own."
)


def check_scans(
    items: Sequence[CohortItem | TrainingItem | ValidationItem],
    num_classes: int,
    scribble_unlabelled: int = IGNORE_INDEX,
    region_mm: Sequence[float] | None = None,
    mask_ignored: int | None = None,
    length_unit: Literal["mm", "px"] = "mm",
    class_names: Sequence[str] = (),
    orientation: str = "",
    likely: Collection[str] = (),
) -> list[str]:
    """
    Read the scans that were not read before, and list the problems of all.

    Reported are unreadable and truncated files; images without spacing or with a degenerate affine; non-finite
    intensities; masks and scribbles with another shape or place than their image, or with values that are not a class;
    empty masks of structures with a size; sizes above the field of view or above the region given to the network;
    another number of sizes than slices, or slices that are turned away from their sizes; regions of interest outside
    the image; masks of organs that are empty, or too small for the structures within; and clicks outside the image, on
    an absent structure, or of two structures at one voxel.

    Args:
        items: items of a :class:`medsize.data.Cohort`, of any stage.
        num_classes: K, with the background.
        scribble_unlabelled: value of unlabelled voxels in scribbles.
        region_mm: extent of the region given to the network along each axis, in mm; negative for all of an axis.
        mask_ignored: value in masks of voxels that belong to no class. Default: none.
        length_unit: ``px`` for pictures whose pixels have no known size.
        class_names: names of the classes for messages, the background first. Default: their indices.
        orientation: codes of the axes that scans are turned to; empty: they stay as they are stored.
        likely: images whose sizes are likely ones within the intervals that are stated. Default: none.

    Returns:
        one message per problem, naming the file. Empty if there is none.
    """
    names = class_names or [f"class {index}" for index in range(num_classes)]
    with ThreadPoolExecutor(max_workers=2) as pool:
        options = (names, scribble_unlabelled, region_mm, mask_ignored, length_unit, orientation, likely)
        found = pool.map(lambda item: list(_faults(item, *options)), items)
        return [fault for faults in with_progress(found, "checking scans", len(items)) for fault in faults]


def _faults(
    scan: CohortItem | TrainingItem | ValidationItem,
    class_names: Sequence[str],
    scribble_unlabelled: int,
    region_mm: Sequence[float] | None,
    mask_ignored: int | None,
    length_unit: Literal["mm", "px"],
    orientation: str,
    likely: Collection[str],
) -> Iterator[str]:
    item: Mapping[str, Any] = scan
    path = item["image"]
    try:
        image = image_facts(path)
    except UNREADABLE as e:
        yield f"{path}: the image cannot be read: {first_line(e)}. Is the file complete?"
        return
    yield from (f"{path}: {fault}" for fault in image.faults)
    if image.non_finite:
        yield (
            f"{path}: {image.non_finite} intensities are NaN or infinite. Replace them, for example by the lowest "
            "intensity."
        )
    if len(image.shape) != 3:
        yield f"{path}: found the shape {image.shape}, expected three axes. Leave the scan out, or convert it."
        return
    for key, size_keys in (("label", SIZE_KEYS), ("true_label", ("true_volume_mm3",)), ("scribble", ())):
        if key in item:
            ignored = scribble_unlabelled if key == "scribble" else mask_ignored
            is_sized = any(bool((torch.as_tensor(item[k])[0] > 0).any()) for k in size_keys if k in item)
            name = key.removeprefix("true_")
            yield from _label_faults(item[key], name, image, path, len(class_names), ignored, is_sized)
    yield from _size_faults(item, image, region_mm, length_unit, path in likely)
    codes = axis_codes(np.asarray(image.affine)) if orientation and not image.faults else orientation
    if "slice_area_mm2" in item and codes[2:] != orientation[2:]:
        yield (
            f"{path}: found the orientation {codes} and sizes of slices, expected {orientation[2]} as its last axis: "
            f"{orientation}, which scans are turned to, has other slices. Leave orientation out."
        )
    yield from _click_faults(item, image, class_names)
    if "region" in item:
        yield from region_faults(item, image, length_unit)
    if "roi" in item:
        yield from _roi_faults(item["roi"], image, path)


def _label_faults(
    path: str,
    key: str,
    image: ImageFacts,
    image_path: str,
    num_classes: int | None = None,
    ignored: int | None = None,
    is_sized: bool = False,
) -> Iterator[str]:
    try:
        label = mask_facts(path)
    except UNREADABLE as e:
        yield f"{path}: the {key} cannot be read: {first_line(e)}. Is the file complete?"
        return
    if label.shape != image.shape:
        yield f"{path}: the {key} has the shape {label.shape}, its image {image_path} {image.shape}."
    elif not np.allclose(label.affine, image.affine, atol=1e-2):
        yield f"{path}: the {key} lies elsewhere in space than its image {image_path}: their affines differ."
    if is_sized and not any(label.values):
        yield (
            f"{path}: the {key} is empty, but a size above 0 is stated. Leave the {key} out if nothing was drawn, or "
            "set the size to 0 if the structure is absent."
        )
    if num_classes is None:
        return
    wrong = [v for v in label.values if v != ignored and v not in range(num_classes)]
    if wrong:
        yield f"{path}: the {key} holds the values {wrong[:5]}, expected the classes 0 to {num_classes - 1}."


def _unit(key: str, length_unit: Literal["mm", "px"]) -> str:
    """Return the unit of a size under a key."""
    return "px" if length_unit == "px" else "mm²" if is_per_slice(key) else "mm³"


def _size_faults(
    item: Mapping[str, Any],
    image: ImageFacts,
    region_mm: Sequence[float] | None,
    length_unit: Literal["mm", "px"],
    are_likely: bool,
) -> Iterator[str]:
    path = item["image"]
    extent = np.asarray(image.extent_mm)
    region = None if region_mm is None else np.where(np.asarray(region_mm) < 0, extent, region_mm)
    if region_mm is not None and image.shape[2] == 1 and max(region_mm[:2]) < 0:
        region = None  # a whole picture, in which a structure may fill all of it
    for key in (*SIZE_KEYS, "true_volume_mm3"):
        size = item.get(key)
        if size is None:
            continue
        axes, unit = 2 if is_per_slice(key) else 3, _unit(key, length_unit)
        if is_per_slice(key) and size.shape[-1] != image.shape[-1]:
            yield f"{path}: sizes are given for {size.shape[-1]} slices, but the image has {image.shape[-1]}."
            continue
        total = total_size(size)
        found = f"{path}: sizes sum to {size_text(total, 6)} {unit}"
        if are_likely and key in SIZE_KEYS:
            found += " (of an interval, what is likely within it)"
        view = float(extent[:axes].prod())
        if total > view:
            yield f"{found}, above the field of view ({size_text(view, 6)} {unit}). Is size_unit right?"
        elif region is not None:
            shown = float(region[:axes].prod())
            is_zoomed = key in SIZE_KEYS  # of training scans; true_volume_mm3 is compared with whole ones
            if total >= shown or (is_zoomed and total > FULLEST * shown):
                zoomed = f", and {FULLEST} of that where it is zoomed into" if is_zoomed else ""
                yield (
                    f"{found}, but the region given to the network has only {size_text(shown, 6)} {unit}{zoomed}. "
                    "Is size_unit right? Else raise roi_size or spacing."
                )


def region_faults(item: Mapping[str, Any], image: ImageFacts, length_unit: Literal["mm", "px"] = "mm") -> Iterator[str]:
    """
    Yield the problems of the masks of organs that an item's structures lie in.

    Args:
        item: item with a ``region``.
        image: facts about its scan.
        length_unit: ``px`` for pictures whose pixels have no known size.
    """
    path = item["image"]
    for file in dict.fromkeys(item["region"]):
        found = list(_label_faults(file, "mask of an organ", image, path))
        if not found and not any(mask_facts(file).values):
            found = [f"{file}: the mask of an organ is empty, expected the organ of {path}. Draw it, or leave it out."]
        yield from found
        within = [k for k, organ in enumerate(item["region"]) if organ == file]
        for key in [key for key in SIZE_KEYS if key in item and not found]:
            lowest = torch.as_tensor(item[key])[0, within].sum(dim=0)
            organ = _measure_of_organ(file, key)
            if lowest.shape != organ.shape or not bool((lowest > 1.01 * organ).any()):
                continue
            at = int((lowest - organ).argmax())
            stated, found_in = (size_text(float(sizes.flatten()[at]), 6) for sizes in (lowest, organ))
            place, unit = f" in slice {at}" if is_per_slice(key) else "", _unit(key, length_unit)
            yield (
                f"{path}: sizes sum to {stated} {unit}{place}, but their organ, {file}, has only "
                f"{found_in} {unit}. Is size_unit right, and is the organ drawn whole?"
            )


def _measure_of_organ(file: str, key: str) -> torch.Tensor:
    """Return the mm³ of an organ, or its mm² in each slice, as the key of a size asks for."""
    facts = mask_facts(file)
    if not is_per_slice(key):
        inside = sum(n for value, n in zip(facts.values, facts.counts, strict=True) if value)
        return torch.tensor(inside * facts.voxel_mm3, dtype=torch.float64)
    areas = np.count_nonzero(np.asarray(nibabel.load(file).dataobj), axis=(0, 1)) * float(np.prod(facts.zooms[:2]))
    return torch.from_numpy(areas)


def _click_faults(item: Mapping[str, Any], image: ImageFacts, class_names: Sequence[str]) -> Iterator[str]:
    path = item["image"]
    clicked: dict[tuple[int, ...], int] = {}
    affine = torch.as_tensor(image.affine, dtype=torch.float64)
    if "clicks" in item and abs(float(affine.det())) < 1e-12:
        return  # reported as a fault of the image
    for click in item.get("clicks", ()):
        place = f"{[round(x, 1) for x in click.start_mm]} mm"
        if not _is_inside(click, affine, image.shape):
            other = click._replace(start_mm=lps_to_ras(click.start_mm), end_mm=lps_to_ras(click.end_mm))
            is_lps = _is_inside(other, affine, image.shape)
            remedy = LPS_REMEDY if is_lps else "Correct or delete it."
            yield f"{path}: a click of {class_names[click.class_index]} at {place} lies outside the image. {remedy}"
            continue
        name, voxels = class_names[click.class_index], voxels_of_click(click, affine).tolist()
        others = (clicked.setdefault(tuple(voxel), click.class_index) for voxel in voxels)
        other = next((index for index in others if index != click.class_index), None)
        if other is not None:
            yield (
                f"{path}: clicks of {class_names[other]} and {name} are both at {place}, or on the line from there, "
                "expected one. Delete one of them."
            )
        sizes = [torch.as_tensor(item[key]) for key in SIZE_KEYS if key in item]
        if click.class_index > 0 and any(bool((s[1, click.class_index - 1] <= 0).all()) for s in sizes):
            yield f"{path}: found a click of {name} at {place}, but its size is 0. Delete the click, or state the size."
        elif click.class_index > 0 and (
            areas := [torch.as_tensor(item[key]) for key in SIZE_KEYS if key in item and is_per_slice(key)]
        ):
            largest = areas[0][1, click.class_index - 1]
            if empty := sorted({z for *_, z in voxels if z < len(largest) and largest[z] <= 0}):
                yield (
                    f"{path}: found a click of {name} at {place}, but its size is 0 in the slices "
                    f"{first_few([str(z) for z in empty])}. Delete the click, or state the size."
                )


def _is_inside(click: Click, affine: torch.Tensor, shape: Sequence[int]) -> bool:
    voxels = voxels_of_click(click, affine)
    return bool(((voxels >= 0) & (voxels < torch.tensor(list(shape)))).all())


def _roi_faults(roi: RoiMm, image: ImageFacts, path: str) -> Iterator[str]:
    center = np.asarray(roi.get("box_mm") or [roi["center_mm"]], dtype=float).mean(axis=0)
    to_voxel = np.linalg.pinv(np.asarray(image.affine))

    def is_inside(point: np.ndarray) -> bool:
        voxels = point @ to_voxel[:3, :3].T + to_voxel[:3, 3]
        return bool(((voxels >= -0.5) & (voxels <= np.asarray(image.shape) - 0.5)).all())

    if not is_inside(center):
        is_lps = is_inside(np.array(lps_to_ras(center.tolist())))
        remedy = "It lies inside as LPS: change the sign of x and y." if is_lps else "Correct or delete it."
        yield f"{path}: the centre of its roi, {center.tolist()} mm, lies outside the image. {remedy}"
