"""Decisions of a plan that follow from the cohort, the user's wishes and the machine: pure functions."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from medsize.bundle.bundle_choice import bundle_name
from medsize.fit.cohort_facts import CohortFacts, CohortSource
from medsize.fit.duration import Machine
from medsize.fit.plan import Decision, Wishes
from medsize.fit.recipe import NETWORKS

__all__ = ["Choices", "choose", "reasons"]

OF_FIT = {"output_dir", "overwrite", "resume", "supervision", "teacher_checkpoint", "val_fold"}
"""Keys that differ between stages, or that have an option of their own."""
MEMORY_SHARE = 0.5
"""Share of the memory that preprocessed scans may take."""
FEW_SCANS = 5
"""Training scans for each structure, below which sizes may not tell the structures apart."""


SMALL, SMALL_TOGETHER = 0.01, 0.05
"""Share of the view below which a structure is small, and all of them leave most of the view to something else."""
WINDOW = {"data_list", "use_roi", "spacing", "roi_size"}
"""Keys of what the network sees, which a region of interest changes."""


class Choices(NamedTuple):
    """Settings of all trainings of a fit."""

    network: str
    """Network to share."""
    supervision: str
    """See ``supervision`` in train.yaml."""
    size_level: str
    """See ``size_level`` in train.yaml."""
    folds: tuple[int | None, ...]
    """Folds to validate on, one after the other; ``None`` for a section of the data list."""
    cache_rate: float
    """Share of the preprocessed scans to keep in memory."""
    looks_closer: bool = False
    """Locate the structures in whole scans first, then train around them."""

    @property
    def from_sizes(self) -> bool:
        """True if the trainings learn from sizes."""
        return "size" in self.supervision.split("+")


def choose(facts: CohortFacts, source: CohortSource, wishes: Wishes, machine: Machine) -> Choices:
    """
    Choose the settings of all trainings.

    Args:
        facts: facts of the cohort.
        source: its files.
        wishes: settings that the user asks for.
        machine: the machine to train on.

    Raises:
        ValueError: when a wish cannot be met.
    """
    if taken := sorted(OF_FIT & wishes.overrides.keys()):
        raise ValueError(
            f"--override {taken[0]}: found a key that fit sets itself. Use the option of fit, or leave it out."
        )
    supervision = wishes.supervision or source.proposed.get("supervision") or _supervision(facts)
    from_sizes = "size" in supervision.split("+")
    looks_closer = _looks_closer(facts, source, wishes, from_sizes)
    if wishes.ensemble and looks_closer:
        raise ValueError(
            "--ensemble: found that fit looks closer, in a window of its own for each fold, expected one window for "
            "the networks to average. Add --whole-scans, or leave --ensemble out."
        )
    return Choices(
        _network(facts, source, wishes),
        supervision,
        _size_level(facts, source, wishes, from_sizes),
        _folds(facts, source, wishes),
        1.0 if "cache_rate" in wishes.overrides else _cache_rate(facts, machine),
        looks_closer,
    )


def reasons(facts: CohortFacts, wishes: Wishes, machine: Machine, bundle: Path, chosen: Choices) -> Iterator[Decision]:
    """Yield the decisions behind the choices, each with its reason."""
    fitting = facts.why_dimensions if wishes.bundle is None else "as asked for"
    yield Decision(text=bundle_name(bundle), reason=fitting)
    yield Decision(text=f"network {NETWORKS[chosen.network].title}", reason=_why_network(wishes, chosen))
    if facts.why_fitted and not {"fit_to_window", "tile_pictures"} & wishes.overrides.keys():
        yield Decision(text="fit_to_window", reason=facts.why_fitted)
    yield from _of_labels(facts, chosen)
    yield from _of_folds(wishes, chosen)
    if chosen.looks_closer:
        why = f"{_how_small(facts)}; " if facts.shares else ""
        why += "a short first training finds them in training, validation and new scans"
        yield Decision(text="locate, then look closer", reason=why)
    if chosen.cache_rate < 1:
        yield Decision(
            text=f"cache_rate {chosen.cache_rate:g}",
            reason=f"all scans would take {_bytes_needed(facts) / 2**30:.1f} of {machine.memory_bytes / 2**30:.1f} GiB "
            "of memory; the others are read anew",
        )


def _network(facts: CohortFacts, source: CohortSource, wishes: Wishes) -> str:
    has_own = "network_def" in {*source.proposed, *wishes.overrides}
    network = wishes.network or ("unet" if facts.is_3d or has_own else "lean_unet")
    if network not in NETWORKS:
        raise ValueError(f"--network is {network}, expected one of {', '.join(NETWORKS)}. Name one of them.")
    if network == "lean_unet" and facts.is_3d:
        raise ValueError(
            "--network is lean_unet, which is a 2D network, and the bundle is for 3D. Take unet or segresnet, or "
            "--bundle size_seg_2d."
        )
    return network


def _why_network(wishes: Wishes, chosen: Choices) -> str:
    if wishes.network:
        return "as asked for"
    if chosen.network == "lean_unet":
        return "the default in 2D; its ImageNet features learn more from sizes"
    return "the default in 3D, and of a cohort with a network of its own"


def _supervision(facts: CohortFacts) -> str:
    """Return the labels to train from: all that there are, but masks of all scans only where there are no sizes."""
    if not max(facts.with_volume, facts.with_slice_sizes):
        return "mask" if facts.with_mask else "scribble"
    kinds = ["size"]
    kinds += ["scribble"] if facts.with_scribble else []
    kinds += ["mask"] if 0 < facts.with_mask < facts.scans else []
    return "+".join(kinds)


def _size_level(facts: CohortFacts, source: CohortSource, wishes: Wishes, from_sizes: bool) -> str:
    if facts.is_3d:
        return "volume"
    by_slice = facts.with_slice_sizes * 2 > facts.scans or not from_sizes
    stated = wishes.overrides.get("size_level") or source.proposed.get("size_level")
    level = str(stated or ("slice" if by_slice else "volume"))
    if level not in ("slice", "volume"):
        raise ValueError(f"size_level is '{level}', expected slice or volume. Correct it.")
    return level


def _folds(facts: CohortFacts, source: CohortSource, wishes: Wishes) -> tuple[int | None, ...]:
    folds, fold = facts.folds, wishes.fold
    if fold == "all":
        if len(folds) < 2:
            raise ValueError(
                f"{source.data_list}: found {len(folds)} folds, expected at least 2 for --fold all. Give the items "
                "folds, or leave --fold out."
            )
        return folds
    if wishes.ensemble:
        raise ValueError("--ensemble is given without --fold all, expected the networks of all folds. Add that.")
    if not fold.isdigit():
        raise ValueError(f"--fold is {fold}, expected a number or 'all'. Correct it.")
    if folds and int(fold) not in folds:
        raise ValueError(
            f"--fold is {fold}, expected one of the data list's: {', '.join(map(str, folds))}. Name one of them."
        )
    return (int(fold),) if folds else (None,)


def _looks_closer(facts: CohortFacts, source: CohortSource, wishes: Wishes, from_sizes: bool) -> bool:
    stated = sorted(WINDOW & wishes.overrides.keys())
    if wishes.look_closer and stated:
        raise ValueError(
            f"--override {stated[0]}: found it with --look-closer, which sets it from what is located. Leave one out."
        )
    if wishes.look_closer is not None:
        return wishes.look_closer
    if stated or not from_sizes or facts.are_pictures or not facts.shares:  # in pictures it was not tried
        return False
    if source.proposed.get("use_roi") or facts.with_roi == facts.scans:
        return False
    return min(facts.shares.values()) < SMALL and sum(facts.shares.values()) < SMALL_TOGETHER


def _how_small(facts: CohortFacts) -> str:
    name, share = min(facts.shares.items(), key=lambda pair: pair[1])
    together = f", all structures {sum(facts.shares.values()):.1%}" if len(facts.shares) > 1 else ""
    return f"{name} fills {share:.1%} of the view{together}"


def _bytes_needed(facts: CohortFacts) -> int:
    """Return the memory of the training scans and their soft labels, float32."""
    return facts.training_scans * facts.voxels_of_a_scan * 4 * (2 + len(facts.structures))


def _cache_rate(facts: CohortFacts, machine: Machine) -> float:
    share = MEMORY_SHARE * machine.memory_bytes / _bytes_needed(facts)
    return 1.0 if share >= 1 else max(math.floor(100 * share) / 100, 0.01)


def _of_labels(facts: CohortFacts, chosen: Choices) -> Iterator[Decision]:
    only_validate = max((facts.scribbles_of_folds.get(fold or 0, 0) for fold in chosen.folds), default=0)
    some = f" ({only_validate} of them only to validate)" if only_validate and facts.with_scribble < facts.scans else ""
    of_slices = {"sizes of slices": facts.with_slice_sizes, "a size of the whole scan": facts.with_volume}
    counts = {
        **({"a size": max(of_slices.values())} if facts.are_pictures else of_slices),
        f"clicks or scribbles{some}": facts.with_scribble,
        "a mask": facts.with_mask,
    }
    known = [f"{count} have {name}" for name, count in counts.items() if count]
    reason = (
        f"of {facts.scans} {'pictures' if facts.are_pictures else 'scans'}, {', '.join(known) or 'none has a label'}"
    )
    kinds = chosen.supervision.split("+")
    if facts.with_mask and "mask" not in kinds:
        reason += f"; masks are for evaluation, unless --supervision {chosen.supervision}+mask is asked for"
    yield Decision(text=f"supervision {chosen.supervision}", reason=reason)
    if not chosen.from_sizes:
        return
    if facts.are_pictures:  # a picture is a slice and a scan
        return
    if chosen.size_level == "slice":
        yield Decision(text="sizes of slices", reason="they say more than a size of the whole scan")
        return
    why = "a 3D network learns from whole scans" if facts.is_3d else "most scans have no sizes of slices"
    yield Decision(text="sizes of whole scans", reason=why)
    structures = len(facts.structures)
    told = f"tell {structures} structures apart" if structures > 1 else "tell the structure from the rest"
    if facts.training_scans < FEW_SCANS * structures and kinds == ["size"]:
        yield Decision(
            text=f"few scans, {facts.training_scans} to train on",
            reason=f"sizes may not {told}. More scans help, or clicks in three of them",
        )


def _of_folds(wishes: Wishes, chosen: Choices) -> Iterator[Decision]:
    first = chosen.folds[0]
    if len(chosen.folds) > 1:
        yield Decision(text=f"{len(chosen.folds)} folds", reason="cross-validation, a chain of trainings for each")
        shared = "the networks of all folds as one" if wishes.ensemble else f"that of fold {first}; see --ensemble"
        yield Decision(text="shared network", reason=shared)
    elif first is None:
        yield Decision(text="validation", reason="on the scans of the data list's section for it")
    else:
        yield Decision(text=f"fold {first}", reason="its scans are for validation, and never trained on")
