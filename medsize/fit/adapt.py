"""Start of a training from a bundle of MONAI's model zoo: an overlay of train.yaml, and weights for the cohort."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform

from medsize.bundle.bundle_choice import own_bundles
from medsize.bundle.overlay import Setting, write_overlay
from medsize.bundle.run.command import as_typed
from medsize.bundle.zoo_bundle import AdaptedWeights, ZooBundle, read_zoo_bundle
from medsize.data.cohort import Cohort
from medsize.data.proposal import Proposal
from medsize.files import atomic_write
from medsize.fit.cohort_facts import CohortSource, find_source
from medsize.scans.scan_facts import image_place

__all__ = ["Adapted", "adapt_bundle"]

TO_UNIT = "monai.transforms.ScaleIntensityRangePercentilesd('image', 0.5, 99.5, 0.0, 1.0, clip=True)"


@dataclass(frozen=True)
class Adapted:
    """Overlay and weights that have been written."""

    overlay: Path
    weights: Path
    notes: tuple[str, ...]
    """Sentences on the channels and transforms that were kept, and on those that were not."""
    command: str
    """Command of the training."""


def adapt_bundle(
    zoo_bundle: Path, cohort: Path, overlay: Path, repeat_grey: bool = False, dataset_dir: Path | None = None
) -> Adapted:
    """
    Write an overlay of train.yaml, and weights beside it, by which a cohort's training starts from a zoo bundle.

    The network, its weights, orientation, spacing and intensities are those of the bundle; the loss and the sizes are
    ours.

    Args:
        zoo_bundle: folder of the bundle.
        cohort: the folder that ``medsize init`` wrote, its cohort.yaml, or a data list.
        overlay: file to write, a new one. The weights have its name with the ending ``.pt``.
        repeat_grey: let a network of several channels see the only channel of the scans in each. Defaults to False.
        dataset_dir: folder that the paths of a data list start from. Default: the data list's.

    Raises:
        ValueError: when the bundle cannot be the start of such a training, or its channels do not fit.
    """
    weights = overlay.absolute().with_suffix(".pt")
    for file in (overlay, weights):
        if file.exists():
            raise ValueError(f"{file} is there already. Name another overlay: its weights are put beside it as .pt.")
    source = find_source(cohort, dataset_dir)
    scans = source.load()
    zoo = read_zoo_bundle(zoo_bundle)
    channels = _check_channels(zoo, Proposal(scans, zoo.spatial_dims).in_channels(), repeat_grey)
    adapted = zoo.adapt(scans.class_names[1:], channels)
    with atomic_write(weights) as partial:
        torch.save(dict(adapted.state), partial)
    notes = tuple(_notes(zoo, adapted))
    bundle = f"size_seg_{zoo.spatial_dims}d"
    write_overlay(overlay, _settings(zoo, scans, source, adapted, weights), bundle, "medsize adapt", notes)
    return Adapted(overlay, weights, notes, _command(bundle, source, overlay))


def _check_channels(zoo: ZooBundle, channels: int, repeat_grey: bool) -> int:
    if zoo.in_channels == channels or (channels == 1 and repeat_grey):
        return channels
    remedy = (
        "With --repeat-grey, the network sees the scan in each of them."
        if channels == 1
        else "Choose a bundle for pictures in colour, or prepare the pictures in grey."
    )
    raise ValueError(
        f"{zoo.folder}: its network has {zoo.in_channels} channels, the scans of the cohort {channels}. {remedy}"
    )


def _notes(zoo: ZooBundle, adapted: AdaptedWeights) -> list[str]:
    notes = [f"'{name}' starts from '{of_zoo}' of {zoo.folder.name}" for name, of_zoo in adapted.kept.items()]
    notes += [f"'{name}' is new: no class of {zoo.folder.name} has this name" for name in adapted.new]
    notes += [f"dropped, as no structure has these names: {', '.join(adapted.dropped)}"] if adapted.dropped else []
    notes += [f"left out of its preprocessing: {text}" for text in zoo.preprocessing.left_out]
    if zoo.spatial_dims == 2 and zoo.preprocessing.orientation:
        notes.append("left out of its preprocessing: Orientationd: the orientation follows from the cohort")
    return [*notes, f"the licence of its weights holds for yours, too: see {zoo.folder / 'docs'}"]


def _settings(
    zoo: ZooBundle, cohort: Cohort, source: CohortSource, adapted: AdaptedWeights, weights: Path
) -> list[Setting]:
    preprocessing, name = zoo.preprocessing, zoo.folder.name
    settings = [
        Setting("init", "checkpoint", f"weights of {name}"),
        Setting("init_checkpoint", str(weights), "the same, for these structures"),
        Setting("network_def", zoo.definition(), f"of {name}; channels and classes are the cohort's"),
    ]
    proposal = Proposal(cohort, zoo.spatial_dims)
    if zoo.spatial_dims == 3 and preprocessing.orientation:
        settings.append(Setting("orientation", preprocessing.orientation, f"Orientationd of {name}"))
        if proposal.fixed_axis() is not None:
            axis = next(i for i, code in enumerate(preprocessing.orientation) if code in "LR")
            settings.append(Setting("fixed_axis", axis, "from left to right, after orientation"))
    if not proposal.fit_to_window():
        settings += _geometry(zoo, cohort, source, proposal)
    if (window := preprocessing.window) is not None:
        settings.append(Setting("intensity_window", list(window), f"become 0 and 1: ScaleIntensityRanged of {name}"))
    elif preprocessing.intensities:
        listed = [dict(step) for step in preprocessing.intensities]
        settings.append(Setting("intensity_transforms", listed, f"of {name}, in place of a window or percentiles"))
        to_unit = f"$@deterministic_transforms + @tile_transforms + [{TO_UNIT}]"
        reason = "first labels see intensities from 0 to 1"
        settings.append(Setting("first_labels#transform#transforms", to_unit, reason))
    if not adapted.new:
        settings.append(Setting("use_first_labels", False, "the network knows all structures already"))
    return settings


def _geometry(zoo: ZooBundle, cohort: Cohort, source: CohortSource, proposal: Proposal) -> list[Setting]:
    """Return the spacing of the bundle, and a window for the cohort whose sides its network can halve."""
    dimensions, preprocessing = zoo.spatial_dims, zoo.preprocessing
    settings, use_roi = [], source.proposed.get("use_roi")
    turned = list(range(dimensions))
    if dimensions == 3 and preprocessing.orientation:
        turned = _turned_axes(cohort, preprocessing.orientation)
    if preprocessing.spacing is not None:
        spacing = list(preprocessing.spacing[:dimensions])
        settings.append(Setting("spacing", spacing, f"mm: Spacingd of {zoo.folder.name}"))
        as_stored = [spacing[axis] for axis in turned]
    else:
        as_stored = source.proposed.get("spacing") or proposal.spacing(use_roi)
        if turned != sorted(turned):
            spacing = [as_stored[turned.index(axis)] for axis in range(dimensions)]
            settings.append(Setting("spacing", spacing, "mm, of the cohort, after orientation"))
    stored = proposal.roi_size(as_stored, use_roi)
    sides = [stored[turned.index(axis)] for axis in range(dimensions)]
    window = [-(-side // divisor) * divisor for side, divisor in zip(sides, zoo.divisors, strict=True)]
    reason = f"{proposal.reasons['roi_size']}; multiples of {_listed(zoo.divisors)}"
    return [*settings, Setting("roi_size", window, reason)]


def _turned_axes(cohort: Cohort, orientation: str) -> list[int]:
    """Return the axis that each axis of the scans, as most are stored, becomes by orientation."""
    wanted = axcodes2ornt(orientation)
    affines = [np.asarray(image_place(item["image"]).affine) for item in cohort.items]
    turns = Counter(tuple(map(int, ornt_transform(io_orientation(of_one), wanted)[:, 0])) for of_one in affines)
    return list(turns.most_common(1)[0][0])


def _listed(divisors: Sequence[int]) -> str:
    return str(divisors[0]) if len(set(divisors)) == 1 else " × ".join(map(str, divisors))


def _command(bundle: str, source: CohortSource, overlay: Path) -> str:
    assert bundle in own_bundles()
    command = ["medsize", "train", bundle]
    command += ["--overlay", str(source.overlay)] if source.overlay else []
    command += ["--overlay", str(overlay)]
    if source.overlay is None:
        command += ["--data_list", str(source.data_list), "--dataset_dir", str(source.dataset_dir)]
    return as_typed([*command, "--output_dir", f"runs/{overlay.stem}"])
