"""Cohort: the checked scans of a data list, and its items for training and for validation."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

import torch

from medsize.data.data_list import DataListError, Item, middle_of_clicks, parse_data_list
from medsize.data.sizes_in_mm import sizes_in_mm
from medsize.items import Click, CohortItem, SizeKey, TrainingItem, ValidationItem
from medsize.suggest import did_you_mean, did_you_mean_path, first_few
from medsize.units import lps_to_ras

__all__ = ["Cohort", "load_cohort"]

SUPERVISIONS = ("size", "mask", "scribble")
FEW_MISSING = 3
"""Missing files up to which each is named with its item; more have one cause, as a rule."""


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
        return selected

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


def load_cohort(data_list: str | Path, dataset_dir: str | Path, inside: Mapping[str, str] | None = None) -> Cohort:
    """
    Read and check a data list; its format is described in :mod:`medsize.data.data_list`.

    Args:
        data_list: the file.
        dataset_dir: folder that its paths start from.
        inside: organ that each structure lies in, in place of the data list's; empty: none.

    Raises:
        DataListError: naming every faulty item: an unknown key; a file that is missing, or is neither in that folder
            nor in the data list's; a size for an unknown structure; a negative or non-finite size; sizes without a
            unit; a subject in two splits; an ``inside`` that names an unknown structure, or no organ for one.
    """
    path, root = Path(data_list), Path(dataset_dir)
    missing = []
    if not root.is_dir():
        hint = did_you_mean_path(root) or " Set it to the folder that the data list's paths start from."
        missing.append(f"dataset_dir is {root}: there is no such folder.{hint}")
    if not path.is_file() and not (missing and path.is_relative_to(root)):
        hint = did_you_mean_path(path) or " Set data_list to the cohort's data list."
        missing.append(f"there is no such file.{hint}")
    if missing:
        raise DataListError(path, missing)
    content = path.read_bytes()
    parsed = parse_data_list(content, path)
    problems: list[str] = []
    class_names = _class_names(parsed.labels, problems)
    sections = [("training", item) for item in parsed.training] + [("validation", item) for item in parsed.validation]
    organs = organs_of(parsed.inside if inside is None else inside, class_names[1:], problems)
    if problems:  # what follows from them is noise
        raise DataListError(path, problems)
    if not sections:
        problems.append("the list 'training' is empty, and so is 'validation', expected scans. Add them.")
    items = []
    absent: list[tuple[str, str, str]] = []
    for number, (section, item) in enumerate(sections):
        index = number if section == "training" else number - len(parsed.training)
        where = f"{section}[{index}] ({item.image})"
        before = len(problems) + len(absent)
        entry = _resolve(item, where, (root, path.parent), class_names, parsed.size_unit, problems, absent)
        if item.clicks:
            entry["clicks"] = _clicks(item.clicks, class_names, parsed.click_space, where, problems)
            if item.roi is None and entry["clicks"]:
                entry["roi"] = {"center_mm": middle_of_clicks(item.clicks, parsed.click_space)}
        if item.circumference_mm:
            entry["circumference_mm"] = _circumferences(
                item.circumference_mm, class_names, parsed.length_unit, where, problems
            )
        if region := _region(item, organs, where, (root, path.parent), problems, absent):
            entry["region"] = region
        if len(problems) + len(absent) == before:
            entry["section"] = section
            items.append(entry)
    problems = [*_missing_files(absent, root), *problems, *_split_problems(sections)]
    if problems:
        raise DataListError(path, problems)
    return Cohort(
        source=path,
        class_names=tuple(class_names),
        items=tuple(items),
        has_validation_section=bool(parsed.validation),
        scribble_unlabelled=parsed.scribble_unlabelled,
        organs=organs,
        mask_ignored=parsed.mask_ignored,
        length_unit=parsed.length_unit,
        sha256=hashlib.sha256(content).hexdigest(),
    )


def _class_names(labels: dict[str, str], problems: list[str]) -> list[str]:
    try:
        by_index = {int(index): name for index, name in labels.items()}
    except ValueError:
        problems.append(f'\'labels\' must map class indices to names, such as {{"0": "background"}}, got {labels}.')
        return list(labels.values())
    if sorted(by_index) != list(range(len(by_index))) or len(by_index) < 2:
        problems.append(f"'labels' must number the classes 0, 1, …, with background 0 and a structure, got {labels}.")
    names = [by_index[index] for index in sorted(by_index)]
    if len(set(names)) < len(names):
        problems.append(f"'labels' names a class twice: {labels}.")
    return names


def _resolve(
    item: Item,
    where: str,
    folders: tuple[Path, Path],
    class_names: list[str],
    unit: str | None,
    problems: list[str],
    absent: list[tuple[str, str, str]],
) -> CohortItem:
    """Return the item with absolute paths, from the first folder into one of both, and with sizes in mm."""
    entry: dict[str, Any] = {"subject": item.subject or item.image}
    for key in ("image", "label", "scribble"):
        name = getattr(item, key)
        if name is not None:
            entry[key] = _file(name, key, where, folders, problems, absent)
    if item.fold is not None:
        entry["fold"] = item.fold
    if item.roi is not None:
        entry["roi"] = item.roi.model_dump(exclude_none=True)
    sizes = sizes_in_mm(item, entry["image"], class_names[1:], unit, where, problems)
    return cast("CohortItem", {**entry, **sizes})


def _missing_files(absent: Sequence[tuple[str, str, str]], dataset_dir: Path) -> list[str]:
    """Return a problem for each missing file, or one for all where they are many."""
    if len(absent) <= FEW_MISSING:
        return [f"{where}: the {key} {file} does not exist." for where, key, file in absent]
    examples = first_few([file for _, _, file in absent], FEW_MISSING)
    return [
        f"{len(absent)} files do not exist: {examples}. Put them there, or set dataset_dir to the folder that the data "
        f"list's paths start from, in place of {dataset_dir}."
    ]


def _file(
    name: str,
    key: str,
    where: str,
    folders: tuple[Path, Path],
    problems: list[str],
    absent: list[tuple[str, str, str]],
) -> str:
    """Return the path of a file from the first folder; it must be in one of both."""
    file = folders[0] / name
    if not any(Path(os.path.abspath(file)).is_relative_to(os.path.abspath(folder)) for folder in folders):
        problems.append(
            f"{where}: the {key} '{name}' is outside the data set's folder {folders[0]}. Put the file there, or "
            "set dataset_dir to a folder that holds all of them."
        )
    elif not file.is_file():
        absent.append((where, key, str(file)))
    return str(file)


def organs_of(inside: Mapping[str, str] | None, structures: Sequence[str], problems: list[str]) -> tuple[str, ...]:
    """
    Return the organ that each structure lies in: a structure may lie in another one, which lies in an organ.

    Args:
        inside: organ, or structure, that each structure lies in; if there is none, no structure has an organ.
        structures: names of the classes but the background.
        problems: list that the problems are added to.
    """
    if not inside:
        return ()
    if not isinstance(inside, Mapping) or not all(isinstance(organ, str) for organ in inside.values()):
        problems.append(f"inside is {inside!r}, expected an organ for each structure. Write {{lesion: liver}}.")
        return ()
    before = len(problems)
    for name in inside:
        if name not in structures:
            hint = did_you_mean(name, structures) or f" The structures are: {', '.join(structures)}."
            problems.append(f"inside names '{name}', expected a structure of 'labels'.{hint}")
    organs = []
    for name in structures:
        chain = [name]
        while chain[-1] in inside and chain[-1] not in chain[:-1]:
            chain.append(inside[chain[-1]])
        organs.append(chain[-1])
        if chain[-1] in chain[:-1]:
            circle = " in ".join(f"'{link}'" for link in chain)
            problems.append(f"inside is circular, {circle}, expected an organ at the end. Correct it.")
        elif len(chain) == 1:
            problems.append(
                f"inside names no organ for '{name}', expected one for each structure of 'labels', as sizes are "
                f"compared within organs. Add it, or remove '{name}' from 'labels': an organ has a training of its own."
            )
    return tuple(organs) if len(problems) == before else ()


def _region(
    item: Item,
    organs: Sequence[str],
    where: str,
    folders: tuple[Path, Path],
    problems: list[str],
    absent: list[tuple[str, str, str]],
) -> list[str]:
    """Return the organ's mask of each structure; none if the item lacks one."""
    masks = item.organs or {}
    files = {name: _file(mask, f"mask of '{name}'", where, folders, problems, absent) for name, mask in masks.items()}
    for organ in organs:
        if hint := did_you_mean(organ, files) if organ not in files else "":
            problems.append(f"{where}: 'organs' has no '{organ}'.{hint}")
    return [files[organ] for organ in organs] if set(organs) <= files.keys() else []


def _circumferences(
    stated: Mapping[str, float], class_names: list[str], length_unit: str, where: str, problems: list[str]
) -> torch.Tensor:
    """Return the circumference of each structure, NaN if unknown."""
    if length_unit != "mm":
        problems.append(f"{where}: found circumference_mm, but the pixels have no known size. Remove it.")
    found = torch.full((len(class_names) - 1,), torch.nan, dtype=torch.float64)
    for structure, length in stated.items():
        if structure in class_names[1:]:
            found[class_names.index(structure) - 1] = length
        else:
            hint = did_you_mean(structure, class_names[1:]) or f" The structures are: {', '.join(class_names[1:])}."
            problems.append(f"{where}: circumference_mm names '{structure}', which is not a structure.{hint}")
    return found


def _clicks(
    stated: Mapping[str, Sequence[Any]], class_names: list[str], space: str, where: str, problems: list[str]
) -> tuple[Click, ...]:
    """Return the clicks in RAS+."""
    clicks = []
    for structure, places in stated.items():
        if structure not in class_names:
            hint = did_you_mean(structure, class_names) or f" The classes are: {', '.join(class_names)}."
            problems.append(f"{where}: clicks names '{structure}', which is not a class of 'labels'.{hint}")
            continue
        for place in places:
            start, end = place if isinstance(place[0], Sequence) else (place, place)
            if space == "LPS":
                start, end = lps_to_ras(start), lps_to_ras(end)
            clicks.append(Click(class_names.index(structure), start, end))
    return tuple(clicks)


def _split_problems(sections: Iterable[tuple[str, Item]]) -> list[str]:
    """Yield a problem for each subject or image in more than one split."""
    splits: dict[tuple[str, str], set[str]] = {}
    for section, item in sections:
        split = section if item.fold is None or section == "validation" else f"fold {item.fold}"
        splits.setdefault(("subject", item.subject or item.image), set()).add(split)
        splits.setdefault(("image", item.image), set()).add(split)
    return [
        f"the {kind} '{name}' is in more than one split: {', '.join(sorted(found))}. "
        "All scans of a subject must be in one fold."
        for (kind, name), found in splits.items()
        if len(found) > 1 and not (kind == "image" and len(splits.get(("subject", name), ())) > 1)
    ]
