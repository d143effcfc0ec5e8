"""The data list: which scans there are, and what is known of each."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

import torch
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from medsize.errors import ProblemsError
from medsize.files import atomic_write
from medsize.items import CohortItem, SizeKey, TrainingItem, ValidationItem
from medsize.scans.scan_header import scan_header
from medsize.suggest import did_you_mean, did_you_mean_path
from medsize.units import MM3_PER_ML

__all__ = ["Cohort", "DataListError", "Item", "Roi", "load_cohort", "write_data_list"]


class DataListError(ProblemsError):
    """Report all that is wrong with a data list."""


SizeValue = float | tuple[float, float] | None
"""A size; its low and high end; or None where it is unknown."""

SUPERVISIONS = ("size", "mask", "scribble")


class Roi(BaseModel):
    """Region of interest in scanner mm (RAS+): a centre point, or two opposite corners of a box."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    center_mm: tuple[float, float, float] | None = None
    box_mm: tuple[tuple[float, float, float], tuple[float, float, float]] | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> Roi:
        if (self.center_mm is None) == (self.box_mm is None):
            raise ValueError("a roi states either center_mm or box_mm")
        return self


class Item(BaseModel):
    """One scan. Paths are relative to the data set's folder."""

    model_config = ConfigDict(extra="forbid")

    image: str
    label: str | None = None
    scribble: str | None = None
    size: dict[str, SizeValue] | None = None
    slice_size: dict[str, list[SizeValue]] | None = None
    roi: Roi | None = None
    subject: str | None = None
    fold: int | None = None


class DataList(BaseModel):
    """The file as it is written; other top-level keys of the Decathlon layout are allowed and ignored."""

    model_config = ConfigDict(extra="allow")

    labels: dict[str, str]
    training: list[Item]
    validation: list[Item] = []
    size_unit: Literal["mm3", "mL", "fraction"] | None = None
    scribble_unlabelled: int = 255


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
    sha256: str = field(default="", repr=False)
    """Hash of the data list's bytes."""

    @property
    def num_classes(self) -> int:
        """K, with the background."""
        return len(self.class_names)

    def validation_items(self, fold: int | None = 0) -> list[ValidationItem]:
        """
        Items to validate on: the section ``validation`` if there is one, else the items of ``fold``.

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
        Items to train on, stripped of every label that ``supervision`` does not name.

        Args:
            supervision: any of ``size``, ``mask`` and ``scribble``, joined by ``+``.
            fold: the fold that is left for validation.
            size_level: {``"slice"``, ``"volume"``}, the sizes to use: ``slice_area_mm2`` or ``volume_mm3``.
            num_masks: with ``mask``, keep the masks of the first so many subjects only. Default: all.

        Returns:
            the items; those that no label is left for are left out.

        Raises:
            DataListError: when a value is none of these, or no item is left.
        """
        kinds = supervision.split("+")
        problems = []
        if not set(kinds) <= set(SUPERVISIONS):
            problems.append(
                f"supervision is '{supervision}': it must be any of {', '.join(SUPERVISIONS)}, joined by +."
            )
        if size_level not in ("slice", "volume"):
            problems.append(f"size_level is '{size_level}': it must be slice or volume.")
        if num_masks is not None and num_masks < 1:
            problems.append(f"num_masks is {num_masks}: it must be at least 1, or null for all masks.")
        candidates = [item for item in self.items if not self._is_validation(item, fold)]
        if not candidates:
            problems.append(
                f"there is no item to train on: the data list has {len(self.items)}, validation fold {fold}."
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
            if "fold" in item:
                kept["fold"] = item["fold"]
            if "size" in kinds and size_key in item:
                kept[size_key] = item[size_key]
            if "scribble" in kinds and "scribble" in item:
                kept["scribble"] = item["scribble"]
            if "mask" in kinds and "label" in item and item["subject"] in masked_subjects:
                kept["label"] = item["label"]
            if {size_key, "scribble", "label"} & kept.keys():
                selected.append(kept)
        if not selected:
            needed = {
                "size": "slice_size" if size_level == "slice" else "size",
                "mask": "label",
                "scribble": "scribble",
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
    return kept


def load_cohort(data_list: str | Path, dataset_dir: str | Path) -> Cohort:
    """
    Read and check a data list.

    The file is JSON in the Decathlon layout::

        {"labels": {"0": "background", "1": "liver"}, "size_unit": "mL",
         "training": [{"image": "scan_1.nii.gz", "size": {"liver": 1510}, "subject": "1", "fold": 0}, …]}

    An item may have ``label`` (a mask), ``scribble``, ``size`` (one number per structure; ``null`` where unknown;
    ``[low, high]`` where only bounds are known), ``slice_size`` (per structure, one number per slice along the last
    axis), ``roi``, ``subject`` and ``fold``. ``size_unit`` is ``mm3`` or ``mL``, with ``slice_size`` in mm², or
    ``fraction`` of the scan's (the slice's) original field of view. Structures that ``size`` does not name are unknown.

    Args:
        data_list: the file.
        dataset_dir: the folder that its paths start from.

    Raises:
        DataListError: naming every item at fault: an unknown key, a file that is missing or lies neither in that
            folder nor in the data list's, a size for a structure that does not exist, a negative or non-finite one,
            sizes without a unit, a subject in two splits.
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
    try:
        raw = json.loads(content)
    except ValueError as e:  # no JSON, or no text at all
        raise DataListError(path, [f"it is not JSON: {e}."]) from e
    if not isinstance(raw, dict):
        raise DataListError(path, ["a data list must be a JSON object with the keys labels and training."])
    try:
        parsed = DataList.model_validate(raw)
    except ValidationError as e:
        raise DataListError(path, [_describe(error, raw) for error in e.errors()]) from e

    problems: list[str] = []
    class_names = _class_names(parsed.labels, problems)
    sections = [("training", item) for item in parsed.training] + [("validation", item) for item in parsed.validation]
    if not parsed.training:
        problems.append("the list 'training' is empty.")
    items = []
    for number, (section, item) in enumerate(sections):
        index = number if section == "training" else number - len(parsed.training)
        where = f"{section}[{index}] ({item.image})"
        before = len(problems)
        entry = _resolve(item, where, (root, path.parent), class_names, parsed.size_unit, problems)
        if len(problems) == before:
            entry["section"] = section
            items.append(entry)
    problems += _split_problems(sections)
    if problems:
        raise DataListError(path, problems)
    return Cohort(
        source=path,
        class_names=tuple(class_names),
        items=tuple(items),
        has_validation_section=bool(parsed.validation),
        scribble_unlabelled=parsed.scribble_unlabelled,
        sha256=hashlib.sha256(content).hexdigest(),
    )


def _describe(error: Any, raw: dict[str, Any]) -> str:
    """A pydantic error in the words of a data list."""
    location = list(error["loc"])
    where = ""
    if len(location) >= 2 and location[0] in ("training", "validation") and isinstance(location[1], int):
        item = raw[location[0]][location[1]]
        image = item.get("image", "no image") if isinstance(item, dict) else item
        where = f"{location[0]}[{location[1]}] ({image}): "
        location = location[2:]
    key = ".".join(str(part) for part in location if not str(part).startswith(("tuple[", "float", "list[")))
    if error["type"] == "extra_forbidden":
        known = list(Item.model_fields)
        hint = did_you_mean(key, known) or f" Known keys: {', '.join(known)}."
        return f"{where}unknown key '{key}'.{hint}"
    if error["type"] == "missing":
        return f"{where}the key '{key}' is missing."
    return f"{where}'{key}' is {str(error['input'])[:80]}: {error['msg'][0].lower()}{error['msg'][1:]}."


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
    item: Item, where: str, folders: tuple[Path, Path], class_names: list[str], unit: str | None, problems: list[str]
) -> CohortItem:
    """The item with absolute paths, from the first folder into one of both, and sizes in mm."""
    entry: dict[str, Any] = {"subject": item.subject or item.image}
    for key in ("image", "label", "scribble"):
        name = getattr(item, key)
        if name is None:
            continue
        file = folders[0] / name
        if not any(Path(os.path.abspath(file)).is_relative_to(os.path.abspath(folder)) for folder in folders):
            problems.append(
                f"{where}: the {key} '{name}' leads out of the data set's folder {folders[0]}. Put the file there, or "
                "set dataset_dir to a folder that holds all of them."
            )
        elif not file.is_file():
            problems.append(f"{where}: the {key} {file} does not exist.")
        entry[key] = str(file)
    if item.fold is not None:
        entry["fold"] = item.fold
    if item.roi is not None:
        entry["roi"] = item.roi.model_dump(exclude_none=True)
    sizes = {"size": item.size, "slice_size": item.slice_size}
    if any(sizes.values()) and unit is None:
        problems.append(f"{where}: it states sizes, but the data list has no 'size_unit' (mm3, mL or fraction).")
        return cast("CohortItem", entry)
    for key, stated in sizes.items():
        if stated is None:
            continue
        for name in stated:
            if name not in class_names[1:]:
                hint = did_you_mean(name, class_names[1:]) or f" The structures are: {', '.join(class_names[1:])}."
                problems.append(f"{where}: {key} names '{name}', which is no structure of 'labels'.{hint}")
        values = {name: value if isinstance(value, list) else [value] for name, value in stated.items()}
        if len({len(v) for v in values.values()}) > 1:
            lengths = ", ".join(f"{name}: {len(v)}" for name, v in values.items())
            problems.append(f"{where}: {key} has differing numbers of slices ({lengths}).")
            continue
        intervals = _intervals(values, class_names[1:], f"{where}: {key}", problems)
        if intervals is not None and Path(entry["image"]).is_file():
            per_slice = key == "slice_size"
            scale = _unit_in_mm(entry["image"], unit, per_slice, where, problems)
            if per_slice:
                entry["slice_area_mm2"] = intervals * scale
            else:
                entry["volume_mm3"] = intervals[..., 0] * scale
    if "slice_area_mm2" in entry and "volume_mm3" not in entry:
        entry["volume_mm3"] = entry["slice_area_mm2"].sum(dim=-1) * _slice_distance(entry["image"], where, problems)
    return cast("CohortItem", entry)


def _intervals(
    values: dict[str, list[Any]], structures: list[str], where: str, problems: list[str]
) -> torch.Tensor | None:
    """Low and high ends, shape ``(2, K − 1, Z)``."""
    num_slices = len(next(iter(values.values()), [None]))
    box = torch.stack(
        [torch.zeros(len(structures), num_slices), torch.full((len(structures), num_slices), torch.inf)]
    ).double()
    before = len(problems)
    for k, name in enumerate(structures):
        for z, value in enumerate(values.get(name, [])):
            if value is None:
                continue
            low, high = value if isinstance(value, tuple) else (value, value)
            slice_name = f" in slice {z}" if num_slices > 1 else ""
            if not (math.isfinite(low) and math.isfinite(high)):
                problems.append(f"{where} of '{name}'{slice_name} is {value}: it must be a finite number.")
            elif low < 0:
                problems.append(f"{where} of '{name}'{slice_name} is {value}: a size cannot be negative.")
            elif low > high:
                problems.append(f"{where} of '{name}'{slice_name} is {value}: the low end is above the high end.")
            box[:, k, z] = torch.tensor([low, high], dtype=torch.float64)
    return box if len(problems) == before else None


def _unit_in_mm(image: str, unit: str | None, per_slice: bool, where: str, problems: list[str]) -> float:
    """mm³ (mm² per slice) in one unit of size."""
    if unit == "fraction":
        axes = 2 if per_slice else 3
        zooms, shape = _header(image, where, problems)
        return math.prod(zooms[:axes]) * math.prod(shape[:axes])
    return MM3_PER_ML if unit == "mL" and not per_slice else 1.0


def _slice_distance(image: str, where: str, problems: list[str]) -> float:
    """mm between the slices along the last axis."""
    return _header(image, where, problems)[0][2]


def _header(image: str, where: str, problems: list[str]) -> tuple[list[float], list[int]]:
    try:
        return scan_header(image)
    except ValueError as e:
        problems.append(f"{where}: {e}.")
        return [1.0] * 3, [1] * 3


def _split_problems(sections: Iterable[tuple[str, Item]]) -> list[str]:
    """Subjects and images that stand in more than one split."""
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


def write_data_list(
    path: Path, class_names: Sequence[str], items: Sequence[Mapping[str, Any]], **top_level: Any
) -> None:
    """Write a data list under its final name only when it is complete."""
    content = {
        "labels": {str(k): name for k, name in enumerate(class_names)},
        **top_level,
        "numTraining": len(items),
        "training": list(items),
    }
    with atomic_write(path) as file:
        file.write_text(json.dumps(content, indent=1) + "\n")
