"""Reading of a data list and a check of all that it names."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch

from medsize.data.cohort import Cohort
from medsize.data.data_list import DataList, DataListError, Item, middle_of_clicks, parse_data_list
from medsize.data.sizes_in_mm import sizes_in_mm
from medsize.items import Click, CohortItem
from medsize.suggest import closest_or_all, did_you_mean, did_you_mean_path, first_few
from medsize.units import lps_to_ras

__all__ = ["load_cohort", "organs_of"]

FEW_MISSING = 3
"""Missing files up to which each is named with its item; more have one cause, as a rule."""


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
    organs = organs_of(parsed.inside if inside is None else inside, class_names[1:], problems)
    if problems:  # what follows from them is noise
        raise DataListError(path, problems)
    sections = [("training", item) for item in parsed.training] + [("validation", item) for item in parsed.validation]
    if not sections:
        problems.append("the list 'training' is empty, and so is 'validation', expected scans. Add them.")
    reader = _ItemReader(parsed, (root, path.parent), tuple(class_names), organs)
    items = []
    for number, (section, item) in enumerate(sections):
        index = number if section == "training" else number - len(parsed.training)
        entry = reader.read(item, f"{section}[{index}] ({item.image})")
        entry["section"] = section
        items.append(entry)
    problems += [*_missing_files(reader.absent, root), *reader.problems, *_split_problems(sections)]
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


@dataclass(frozen=True)
class _ItemReader:
    """Reader of the items of a data list, which collects what is wrong with them."""

    parsed: DataList
    folders: tuple[Path, Path]
    """Folder that paths start from, and another one that files may be in."""
    class_names: tuple[str, ...]
    organs: tuple[str, ...]
    problems: list[str] = field(default_factory=list)
    absent: list[tuple[str, str, str]] = field(default_factory=list)
    """Missing files: the item, the key and the path."""

    def read(self, item: Item, where: str) -> CohortItem:
        """
        Return an item with absolute paths, sizes in mm³ and mm², and clicks in RAS+; not of use if it is faulty.

        Args:
            item: the item.
            where: its name in messages.
        """
        entry: dict[str, Any] = {"subject": item.subject or item.image}
        for key in ("image", "label", "scribble"):
            name = getattr(item, key)
            if name is not None:
                entry[key] = self._file(name, key, where)
        if item.fold is not None:
            entry["fold"] = item.fold
        if item.roi is not None:
            entry["roi"] = item.roi.model_dump(exclude_none=True)
        sizes = sizes_in_mm(item, entry["image"], self.class_names[1:], self.parsed.size_unit, where, self.problems)
        if item.clicks:
            entry["clicks"] = tuple(self._clicks(item.clicks, where))
            middle = middle_of_clicks(item.clicks, self.parsed.click_space, background=self.class_names[0])
            if item.roi is None and middle is not None:
                entry["roi"] = {"center_mm": middle}
        if item.circumference_mm:
            entry["circumference_mm"] = self._circumferences(item.circumference_mm, where)
        if region := self._region(item.organs or {}, where):
            entry["region"] = region
        return cast("CohortItem", {**entry, **sizes})

    def _file(self, name: str, key: str, where: str) -> str:
        """Return the path of a file from the first folder; it must be in one of both."""
        file = self.folders[0] / name
        if not any(Path(os.path.abspath(file)).is_relative_to(os.path.abspath(folder)) for folder in self.folders):
            self.problems.append(
                f"{where}: the {key} '{name}' is outside the data set's folder {self.folders[0]}. Put the file there, "
                "or set dataset_dir to a folder that holds all of them."
            )
        elif not file.is_file():
            self.absent.append((where, key, str(file)))
        return str(file)

    def _region(self, masks: Mapping[str, str], where: str) -> list[str]:
        """Return the organ's mask of each structure; none if the item lacks one."""
        files = {name: self._file(mask, f"mask of '{name}'", where) for name, mask in masks.items()}
        for organ in self.organs:
            if hint := did_you_mean(organ, files) if organ not in files else "":
                self.problems.append(f"{where}: 'organs' has no '{organ}'.{hint}")
        return [files[organ] for organ in self.organs] if set(self.organs) <= files.keys() else []

    def _circumferences(self, stated: Mapping[str, float], where: str) -> torch.Tensor:
        """Return the circumference of each structure in mm, NaN if unknown, ``(K − 1,)``."""
        if self.parsed.length_unit != "mm":
            self.problems.append(f"{where}: found circumference_mm, but the pixels have no known size. Remove it.")
        structures = self.class_names[1:]
        for structure in stated.keys() - set(structures):
            hint = closest_or_all(structure, structures, "The structures are")
            self.problems.append(
                f"{where}: circumference_mm names '{structure}', which is not a structure of 'labels'.{hint}"
            )
        return torch.tensor([stated.get(name, torch.nan) for name in structures], dtype=torch.float64)

    def _clicks(self, stated: Mapping[str, Sequence[Any]], where: str) -> Iterator[Click]:
        for structure, places in stated.items():
            if structure not in self.class_names:
                hint = closest_or_all(structure, self.class_names, "The classes are")
                self.problems.append(f"{where}: clicks names '{structure}', which is not a class of 'labels'.{hint}")
                continue
            for place in places:
                start, end = place if isinstance(place[0], Sequence) else (place, place)
                if self.parsed.click_space == "LPS":
                    start, end = lps_to_ras(start), lps_to_ras(end)
                yield Click(self.class_names.index(structure), start, end)


def _class_names(labels: dict[str, str], problems: list[str]) -> list[str]:
    try:
        by_index = {int(index): name for index, name in labels.items()}
    except ValueError:
        problems.append(f'\'labels\' must map class indices to names, such as {{"0": "background"}}, got {labels}.')
        return list(labels.values())
    if sorted(by_index) != list(range(len(by_index))) or len(by_index) < 2:
        problems.append(f"'labels' must number the classes 0, 1, …, with background 0 and a structure, got {labels}.")
    names = [by_index[index] for index in sorted(by_index)]
    if len({name.strip().casefold() for name in names}) < len(names):
        problems.append(f"'labels' names a class twice, whatever the case of its letters: {labels}.")
    if not all(name.strip() for name in names):
        problems.append(f"'labels' has a class without a name: {labels}.")
    return names


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
            hint = closest_or_all(name, structures, "The structures are")
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


def _missing_files(absent: Sequence[tuple[str, str, str]], dataset_dir: Path) -> list[str]:
    """Return a problem for each missing file, or one for all where they are many."""
    if len(absent) <= FEW_MISSING:
        return [f"{where}: the {key} {file} does not exist." for where, key, file in absent]
    examples = first_few([file for _, _, file in absent], FEW_MISSING)
    return [
        f"{len(absent)} files do not exist: {examples}. Put them there, or set dataset_dir to the folder that the data "
        f"list's paths start from, in place of {dataset_dir}."
    ]


def _split_problems(sections: Iterable[tuple[str, Item]]) -> list[str]:
    """Return a problem for each subject or image in more than one split."""
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
