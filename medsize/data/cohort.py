"""Cohort: the checked scans of a data list, and its items for training and for validation."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from medsize.data.data_list import DataListError
from medsize.items import CohortItem, SizeKey, TrainingItem, ValidationItem
from medsize.sizes.likely_sizes import with_likely_sizes

__all__ = ["Cohort"]

SUPERVISIONS = ("size", "mask", "scribble")


@dataclass(frozen=True)
class Cohort:
    """
    A checked data list.

    Items are dictionaries for MONAI's datasets, see :class:`medsize.items.CohortItem`; paths are absolute.
    """

    source: Path
    class_names: tuple[str, ...]
    """All classes in the order of their indices, the background first."""
    items: tuple[CohortItem, ...]
    has_validation_section: bool
    scribble_unlabelled: int = 255
    organs: tuple[str, ...] = ()
    """Organ that each structure lies in, in the order of the classes; empty if sizes are of whole scans."""
    mask_ignored: int | None = None
    """Value in masks of voxels that belong to no class; ``None`` if there is none."""
    length_unit: Literal["mm", "px"] = "mm"
    """{``"mm"``, ``"px"``}: ``px`` for pictures whose pixels have no known size; keys named mm then hold pixels."""
    sha256: str = field(default="", repr=False)
    """Hash of the data list's bytes."""

    @property
    def num_classes(self) -> int:
        """Number of classes, K, with the background."""
        return len(self.class_names)

    @property
    def files(self) -> list[str]:
        """Paths of all scans, masks and scribbles, each once."""
        named = [item[key] for item in self.items for key in ("image", "label", "scribble") if key in item]
        return list(dict.fromkeys([*named, *(file for item in self.items for file in item.get("region", ()))]))

    def validation_items(self, fold: int | None = 0) -> list[ValidationItem]:
        """
        Return the items to validate on: the section ``validation`` if there is one, else the items of ``fold``.

        The truth has names that no training transform knows: ``true_label``, the mask, and ``true_volume_mm3``.
        """
        return [_validation_item(item) for item in self.items if self._is_validation(item, fold)]

    def training_items(
        self,
        supervision: str = "size",
        fold: int | None = 0,
        size_level: str = "slice",
        num_masks: int | None = None,
    ) -> list[TrainingItem]:
        """
        Return the items to train on, stripped of every label that ``supervision`` does not name.

        Sizes are those of :func:`medsize.sizes.likely_sizes.with_likely_sizes`.

        Args:
            supervision: any of ``size``, ``mask`` and ``scribble``, joined by ``+``. Clicks count as scribbles.
            fold: the fold for validation.
            size_level: {``"slice"``, ``"volume"``}, the sizes to use: ``slice_area_mm2`` or ``volume_mm3``.
            num_masks: with ``mask``, number of the first subjects whose masks are kept. Default: all.

        Returns:
            the items that have a label left.

        Raises:
            DataListError: when a value is not one of these, or no item is left.
        """
        kinds = supervision.split("+")
        problems = []
        if not set(kinds) <= set(SUPERVISIONS):
            problems.append(f"supervision is '{supervision}', expected any of {', '.join(SUPERVISIONS)}, joined by +.")
        if size_level not in ("slice", "volume"):
            problems.append(f"size_level is '{size_level}', expected slice or volume.")
        if num_masks is not None and num_masks < 1:
            problems.append(f"num_masks is {num_masks}, expected at least 1, or null for all masks.")
        candidates = [item for item in self.items if not self._is_validation(item, fold)]
        if not candidates:
            problems.append(
                f"there is no item to train on: all {len(self.items)} are to validate on, by "
                + (
                    "the section 'validation'. Add scans to 'training'."
                    if self.has_validation_section
                    else f"val_fold {fold}. Set val_fold to another fold, or add scans to train on."
                )
            )
        if problems:
            raise DataListError(self.source, problems)

        masked_subjects = list(dict.fromkeys(item["subject"] for item in candidates if "label" in item))[:num_masks]
        size_key: SizeKey = "slice_area_mm2" if size_level == "slice" else "volume_mm3"
        selected = []
        for item in candidates:
            kept: TrainingItem = {"image": item["image"], "subject": item["subject"]}
            if "roi" in item:
                kept["roi"] = item["roi"]
            if "region" in item:
                kept["region"] = item["region"]
            if "fold" in item:
                kept["fold"] = item["fold"]
            if "size" in kinds and size_key in item:
                kept[size_key] = item[size_key]
            if "scribble" in kinds and "scribble" in item:
                kept["scribble"] = item["scribble"]
            if "scribble" in kinds and "clicks" in item:
                kept["clicks"] = item["clicks"]
            if "mask" in kinds and "label" in item and item["subject"] in masked_subjects:
                kept["label"] = item["label"]
            if {size_key, "scribble", "clicks", "label"} & kept.keys():
                selected.append(kept)
        if not selected:
            needed = {
                "size": "slice_size" if size_level == "slice" else "size",
                "mask": "label",
                "scribble": "scribble' or 'clicks",
            }
            keys = " or ".join(f"'{needed[kind]}'" for kind in kinds)
            raise DataListError(
                self.source,
                [f"supervision is '{supervision}', but none of {len(candidates)} training items has {keys}."],
            )
        return with_likely_sizes(selected)

    def _is_validation(self, item: CohortItem, fold: int | None) -> bool:
        if self.has_validation_section:
            return bool(item["section"] == "validation")
        return fold is not None and item.get("fold") == fold


def _validation_item(item: CohortItem) -> ValidationItem:
    kept: ValidationItem = {"image": item["image"], "subject": item["subject"]}
    if "roi" in item:
        kept["roi"] = item["roi"]
    if "label" in item:
        kept["true_label"] = item["label"]
    if "volume_mm3" in item:
        kept["true_volume_mm3"] = item["volume_mm3"]
    if "circumference_mm" in item:
        kept["true_circumference_mm"] = item["circumference_mm"]
    return kept
