"""Proposal of a bundle and its settings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medsize.bundle.overlay import Setting, write_overlay
from medsize.data.cohort import Cohort
from medsize.data.proposal import Proposal
from medsize.scans.scan_facts import image_facts

__all__ = ["ProposedRun", "propose_dimensions", "propose_run", "propose_settings"]


@dataclass(frozen=True)
class ProposedRun:
    """Proposed bundle and settings for a cohort."""

    dimensions: int
    """Dimensions of the bundle, 2 or 3."""
    settings: tuple[Setting, ...]
    overlay: Path
    """File of the settings, an overlay of the bundle's train.yaml."""


def propose_run(
    cohort: Cohort,
    modalities: Sequence[str],
    overlay: Path,
    dimensions: int | None = None,
    window: Sequence[float] | None = None,
    dataset_dir: Path | None = None,
) -> ProposedRun:
    """
    Choose a bundle and its settings for a cohort, and write them as an overlay.

    Args:
        cohort: what to train on.
        modalities: of the scans, as DICOM names them; "" where unknown.
        overlay: file to write.
        dimensions: 2 or 3. Default: those that fit the scans.
        window: see :func:`propose_settings`.
        dataset_dir: the data set's folder. Default: that of its data list.
    """
    reason = "as asked for"
    if dimensions is None:
        dimensions, reason = propose_dimensions(cohort)
    settings = (
        Setting(
            "dataset_dir", str((dataset_dir or cohort.source.parent).absolute()), "the data list's paths start here"
        ),
        Setting("data_list", str(cohort.source.absolute()), f"{len(cohort.items)} scans"),
        *propose_settings(cohort, dimensions, modalities, window),
    )
    write_overlay(overlay, settings, f"size_seg_{dimensions}d ({reason})", "medsize")
    return ProposedRun(dimensions, settings, overlay)


def propose_dimensions(cohort: Cohort) -> tuple[int, str]:
    """Return 2 or 3, and the reason: sizes of slices, thick slices or few slices need a 2D network."""
    facts = [image_facts(item["image"]) for item in cohort.items]
    if all(f.shape[2] == 1 for f in facts):
        return 2, "they are pictures"
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
    Propose settings for a bundle, see :class:`medsize.data.Proposal`.

    Args:
        cohort: what to train on; its scans are converted.
        dimensions: 2 or 3.
        modalities: of the scans, as DICOM names them; "" where unknown.
        window: intensities that become 0 and 1. Default: chosen from the scans.
    """
    proposal = Proposal(cohort, dimensions, modalities)
    values: dict[str, Any] = {
        "spacing": proposal.spacing(),
        "roi_size": proposal.roi_size(),
        "use_roi": proposal.use_roi(),
        "intensity_window": proposal.intensity_window() if window is None else list(window),
    }
    if not proposal.are_pictures():
        values["orientation"] = proposal.orientation()
    if dimensions == 2:
        values["size_level"] = proposal.size_level()
    if (channels := proposal.in_channels()) > 1:
        values["in_channels"] = channels
    if (axis := proposal.fixed_axis()) is not None:
        values["fixed_axis"] = axis
    settings = [Setting(key, value, proposal.reasons.get(key, "as asked for")) for key, value in values.items()]
    clicked = sum("clicks" in item for item in cohort.items)
    supervision = "size+scribble" if clicked else "size"
    reasons = [f"{clicked} scans have clicks"] if clicked else []
    if scribbled := sum("scribble" in item for item in cohort.items):
        reasons.append(f"{scribbled} scans have scribbles, which size+scribble would train with")
    if any("label" in item for item in cohort.items):
        reasons.append(f"masks are for evaluation; {supervision}+mask trains with them, too")
    settings.append(Setting("supervision", supervision, "; ".join(reasons) or "there are neither clicks nor masks"))
    if cohort.organs:
        drawn = sum("region" in item for item in cohort.items)
        inside = dict(zip(cohort.class_names[1:], cohort.organs, strict=True))
        settings.append(Setting("inside", inside, f"sizes are compared within organs; {drawn} scans have their masks"))
        if drawn < len(cohort.items):
            settings.append(Setting("organ_run", None, "folder of a run that finds them in the others"))
    return settings
