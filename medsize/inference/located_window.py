"""Window of a training on the regions that a network has found."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from medsize.bundle.overlay import Setting
from medsize.data.cohort import Cohort
from medsize.data.proposal import Proposal, fitting_window
from medsize.items import SIZE_KEYS, CohortItem, is_per_slice
from medsize.scans.scan_facts import image_place
from medsize.scans.space.orientation import order_of_axes
from medsize.sizes.region import region_measure, total_size
from medsize.transforms.size_to_fraction import FULLEST

__all__ = ["window_settings"]

MARGIN = 1.5
"""Extent of the window, relative to that of the structures as the network on whole scans sees them."""


def window_settings(
    cohort: Cohort, images: Sequence[str], extents: Sequence[Sequence[float] | None], dimensions: int
) -> list[Setting]:
    """
    Return ``spacing`` and ``roi_size`` of a training on regions.

    The window holds 95 % of them with a margin, and all known sizes: a network on whole scans often finds less than
    there is. Where no region was found, it holds the whole scans.

    Args:
        cohort: the scans, with their sizes.
        images: files of all scans, in any order.
        extents: mm along each axis of the image that a window around a region's centre needs; ``None``: none was found.
        dimensions: axes of the network, 2 or 3.
    """
    proposal = Proposal(cohort, dimensions)
    orientation = proposal.orientation()
    places = [image_place(image) for image in images]
    orders = [order_of_axes(np.asarray(place.affine), orientation) for place in places]
    found = [[mm[axis] for axis in order] for mm, order in zip(extents, orders, strict=True) if mm is not None]
    whole = [place.turned(orientation).extent_mm for place in places]
    needed = np.percentile(np.array(found or whole), 95, axis=0, method="higher")[:dimensions]
    margin, held = 1.0, "the scans, since nothing was found"
    if found:
        diameters = [_diameter(item) for item in cohort.items]
        needed = np.maximum(needed, np.percentile(diameters, 95, method="higher"))
        margin, held = MARGIN, "what was found, and of balls or discs as large as the structures"
    window_mm = [float(mm) for mm in margin * needed]
    enlarged = max([1.0, *(ratio for item in cohort.items for ratio in _too_small(item, window_mm))])
    spacing, window = fitting_window([enlarged * mm for mm in window_mm], proposal.median_spacing())
    shown = " × ".join(f"{mm:.0f}" for mm in needed)
    return [
        Setting("spacing", spacing, "mm; about the median, unless the window would have too many voxels"),
        Setting("roi_size", window, f"voxels; {margin * enlarged:.3g} times the {shown} mm that hold 95 % of {held}"),
    ]


def _diameter(item: CohortItem) -> float:
    """Return the diameter of a disc in a slice, or of a ball, as large as all structures of a scan; 0 if unknown."""
    diameters = [0.0]
    if "slice_area_mm2" in item:
        diameters.append(2 * math.sqrt(total_size(item["slice_area_mm2"]) / math.pi))
    if "volume_mm3" in item:
        diameters.append((6 * total_size(item["volume_mm3"]) / math.pi) ** (1 / 3))
    return max(diameters)


def _too_small(item: CohortItem, window_mm: Sequence[float]) -> Iterator[float]:
    """Yield by how much a window must be enlarged so that the sizes of a scan fit into it, also where it is zoomed."""
    region = [*window_mm, -1.0][:3]
    for key in SIZE_KEYS:
        if key in item:
            ratio = total_size(item[key]) / (FULLEST * region_measure(item, key, region))
            yield ratio ** (1 / (2 if is_per_slice(key) else len(window_mm)))
