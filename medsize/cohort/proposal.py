"""Proposal of settings that fit a cohort."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from medsize.data.cohort import Cohort
from medsize.files import atomic_write
from medsize.items import RoiMm
from medsize.scans.scan_facts import ImageFacts, image_facts

__all__ = [
    "Proposal",
    "Setting",
    "intensity_window",
    "propose_dimensions",
    "propose_run",
    "propose_settings",
    "write_overlay",
]

MAX_SIDE = {2: 256, 3: 128}
"""Largest number of voxels of the window along an axis; larger scans get a coarser spacing."""
SIDE_STEP = {2: 32, 3: 16}
"""Divisor of each side of the window, as networks halve it several times."""
SOFT_TISSUE = [-175.0, 250.0]
"""Window in HU of MONAI's tutorials for the abdomen."""


class Setting(NamedTuple):
    """A key of train.yaml, its value, and the reason."""

    key: str
    value: Any
    reason: str


@dataclass(frozen=True)
class Proposal:
    """Proposed bundle and settings for a cohort."""

    dimensions: int
    """Dimensions of the bundle, 2 or 3."""
    settings: tuple[Setting, ...]
    overlay: Path
    """File of the settings, an overlay of the bundle's train.yaml."""


def propose_run(
    cohort: Cohort,
    modalities: Sequence[str],
    dimensions: int | None,
    window: Sequence[float] | None,
    overlay: Path,
) -> Proposal:
    """
    Choose a bundle and its settings for a cohort, and write them as an overlay.

    Args:
        cohort: what to train on; its data list lies in the data set's folder.
        modalities: of the scans, as DICOM names them; "" where unknown.
        dimensions: 2 or 3. Default: those that fit the scans.
        window: see :func:`propose_settings`.
        overlay: file to write.
    """
    reason = "as asked for"
    if dimensions is None:
        dimensions, reason = propose_dimensions(cohort)
    settings = (
        Setting("dataset_dir", str(cohort.source.parent), "where this cohort was prepared"),
        Setting("data_list", str(cohort.source), f"{len(cohort.items)} scans"),
        *propose_settings(cohort, dimensions, modalities, window),
    )
    write_overlay(overlay, settings, f"size_seg_{dimensions}d ({reason})")
    return Proposal(dimensions, settings, overlay)


def propose_dimensions(cohort: Cohort) -> tuple[int, str]:
    """Return 2 or 3, and the reason: sizes of slices, thick slices or few slices need a 2D network."""
    facts = [image_facts(item["image"]) for item in cohort.items]
    if sum("slice_area_mm2" in item for item in cohort.items) * 2 > len(cohort.items):
        return 2, "sizes of slices are known"
    thickness = float(np.median([f.zooms[2] / min(f.zooms[:2]) for f in facts]))
    if thickness > 3:
        return 2, f"slices are {thickness:.1f} times as thick as their pixels are wide"
    slices = int(np.median([f.shape[2] for f in facts]))
    if slices < 16:
        return 2, f"scans have {slices} slices"
    return 3, "sizes are of whole scans, and slices are thin"


def propose_settings(
    cohort: Cohort, dimensions: int, modalities: Sequence[str], window: Sequence[float] | None = None
) -> list[Setting]:
    """
    Propose settings for a bundle.

    The spacing is the cohort's median. The window holds 95 % of the scans, or of their regions of interest, along each
    axis. If that takes too many voxels for a network's window, the spacing is coarser.

    Args:
        cohort: what to train on; its scans are converted.
        dimensions: 2 or 3.
        modalities: of the scans, as DICOM names them; "" where unknown.
        window: intensities that become 0 and 1. Default: chosen by :func:`intensity_window`.
    """
    facts = [image_facts(item["image"]) for item in cohort.items]
    use_roi = all("roi" in item for item in cohort.items)
    extents = np.array(
        [roi_extent(item["roi"], f) if use_roi else f.extent_mm for item, f in zip(cohort.items, facts, strict=True)]
    )
    needed = np.percentile(extents, 95, axis=0, method="higher")[:dimensions]
    usual = np.median([f.zooms for f in facts], axis=0)[:dimensions]
    step, limit = SIDE_STEP[dimensions], MAX_SIDE[dimensions]
    spacing = [float(f"{max(s, n / limit):.2g}") for s, n in zip(usual, needed, strict=True)]
    roi_size = [min(step * math.ceil(n / s / step), limit) for n, s in zip(needed, spacing, strict=True)]
    coarser = any(s > 1.1 * u for s, u in zip(spacing, usual, strict=True))
    whole = "regions of interest" if use_roi else "scans"
    settings = [
        Setting("spacing", spacing, f"mm; {'coarser than' if coarser else 'about'} the median {_mm(usual)}"),
        Setting("roi_size", roi_size, f"voxels; 95 % of the {whole} are at most {_mm(needed)} mm"),
        Setting("use_roi", use_roi, "every item has a roi" if use_roi else "not every item has a roi"),
    ]
    if window is not None:
        settings.append(Setting("intensity_window", list(window), "as asked for"))
    else:
        chosen, reason = intensity_window(facts, modalities)
        settings.append(Setting("intensity_window", chosen, reason))
    if dimensions == 2:
        by_slice = sum("slice_area_mm2" in item for item in cohort.items)
        level = "slice" if by_slice * 2 > len(cohort.items) else "volume"
        settings.append(Setting("size_level", level, f"{by_slice} of {len(cohort.items)} scans have sizes of slices"))
    settings.append(Setting("supervision", "size", "masks are for evaluation; size+mask trains with them, too"))
    return settings


def intensity_window(facts: Sequence[ImageFacts], modalities: Sequence[str]) -> tuple[list[float] | None, str]:
    """
    Return the intensities that become 0 and 1, and the reason. ``None``: the percentiles 0.5 and 99.5 of each scan.

    CT is in Hounsfield units, so one window fits all scans: that of soft tissue. Masks are for evaluation only, and do
    not matter here. Files of unknown modality count as CT if half of them go below −900, like air.

    Args:
        facts: facts about the scans.
        modalities: of the scans, as DICOM names them; "" where unknown.
    """
    stated = [modality for modality in modalities if modality]
    looks_like_ct = np.mean([f.lowest < -900 for f in facts]) >= 0.5
    if set(stated) == {"CT"} or (not stated and looks_like_ct):
        return SOFT_TISSUE, "HU of soft tissue: the scans are CT. For lungs or bones, set your own"
    return None, "null: each scan's own percentiles 0.5 and 99.5"


def roi_extent(roi: RoiMm, facts: ImageFacts) -> list[float]:
    """Return the mm along the image's axes that a box covers; those of the whole image if the roi is a point."""
    if "box_mm" not in roi:
        return facts.extent_mm
    corners = np.array(np.meshgrid(*zip(*roi["box_mm"], strict=True), indexing="ij")).reshape(3, -1).T
    voxels = (corners - np.asarray(facts.affine)[:3, 3]) @ np.linalg.inv(np.asarray(facts.affine)[:3, :3]).T
    voxels = np.clip(voxels, -0.5, np.asarray(facts.shape) - 0.5)
    return list((np.ptp(voxels, axis=0) + 1) * facts.zooms)


def write_overlay(file: Path, settings: Sequence[Setting], bundle: str) -> None:
    """Write settings as an overlay of train.yaml, whole or not at all."""
    lines = [
        f"# Overlay of train.yaml of {bundle} for this cohort, proposed by medsize init. Correct it where necessary.",
        *(f"{s.key}: {json.dumps(s.value, ensure_ascii=False)}  # {s.reason}" for s in settings),
    ]
    with atomic_write(file) as partial:
        partial.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _mm(values: Sequence[float] | np.ndarray) -> str:
    return " × ".join(f"{value:.3g}" for value in values)
