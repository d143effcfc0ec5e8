"""Structures of a cohort, and the masks that show them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import takewhile
from pathlib import Path

from medsize.cohort.conversion.pictures import MaskOptions
from medsize.cohort.conversion.scans import MaskFiles
from medsize.cohort.find import CohortScan, FoundCohort
from medsize.scans.label_names import named_labels, segment_names
from medsize.scans.masks import label_values
from medsize.scans.pictures.file import PICTURE_ENDINGS
from medsize.scans.scan_facts import first_line
from medsize.scans.structure_name import matching_structures
from medsize.sizes.table.cells import SIZE_KINDS
from medsize.sizes.table.size_table import SizeTable
from medsize.suggest import first_few

__all__ = [
    "choose_structures",
    "decathlon_labels",
    "doubtful_values",
    "holds",
    "label_map_values",
    "masks_of",
    "names_held",
    "names_unused",
    "names_used",
    "structure_option",
    "with_label_maps",
]


MAX_BESIDE_RIM = 100
"""Largest class in pictures whose value 255 is to be ignored, as the rims of objects in PASCAL VOC."""
DECATHLON = "dataset.json"
"""File beside label maps that names their values."""


def structure_option(texts: Sequence[str]) -> dict[str, str]:
    """
    Return the beginning of each structure's name in files, from texts such as ``liver`` or ``tumour=GTV``.

    Raises:
        ValueError: when a name is empty, or names a column of a size table.
    """
    wanted = {}
    for text in texts:
        name, _, beginning = (part.strip() for part in text.partition("="))
        if not name or name.split()[-1] in SIZE_KINDS:
            seen = f"the column '{name}'" if name else "no name"
            raise ValueError(
                f"--structure '{text}': found {seen}, expected a structure. "
                "Write --structure liver, or --structure tumour=GTV for those whose names begin with GTV."
            )
        wanted[name] = beginning or name
    return wanted


def choose_structures(
    found: FoundCohort, wanted: Sequence[str], table: SizeTable | None, masks: MaskOptions | None = None
) -> list[str]:
    """
    Choose the structures: those wanted, else those of the size table, if there is one, else those of the masks.

    The masks have the structures that every SEG and RTSTRUCT, or every set of files, holds. If each holds only one, it
    is the common beginning of their names. Label maps have the names in a ``dataset.json`` (Decathlon or nnU-Net), or
    in a table of labels of ITK-SNAP, 3D Slicer or BIDS beside them; else those of their values: ``structure_4``.

    Args:
        found: the cohort.
        wanted: names to use. Default if empty: those of the table or the masks.
        table: the size table.
        masks: options for masks that are pictures; names of colours are structures.

    Returns:
        the names in the order of their classes.

    Raises:
        ValueError: when there is no scan, or no mask and no table; when the masks share no structure, naming theirs;
            when a wanted name fits several of them in every scan, naming these; when ``dataset.json`` names none, or
            others than the table.
    """
    if not found.scans:
        raise ValueError(
            "found no scan, expected DICOM, NIfTI, NRRD or MetaImage files, or pictures. Check folder and options."
        )
    if wanted:
        _check_wanted(found, wanted)
        return list(wanted)
    if table is None and masks is not None and (named := [name for name in masks.colours if name != "background"]):
        return named
    soft = masks is not None and masks.threshold is not None
    structures = _of_masks(found.scans, found.folder, soft) if table is None else _of_table(table, found)
    if not structures:
        raise ValueError("found no mask, expected masks or a size table. Give a size table: --sizes FILE.")
    return structures


def _check_wanted(found: FoundCohort, wanted: Sequence[str]) -> None:
    """Refuse a wanted name that no scan has, where it is the beginning of several."""
    for name in wanted:
        held = [names for scan in found.scans if (names := _names(scan))]
        fitting = [[names[i] for i in matching_structures(name, names)] for names in held]
        if any(len(fits) > 1 for fits in fitting) and not any(len(fits) == 1 for fits in fitting):
            several = first_few([f"'{fit}'" for fit in dict.fromkeys(fit for fits in fitting for fit in fits)])
            raise ValueError(
                f"--structure '{name}' fits several structures: {several}. Give the whole name of one, or of each."
            )


def names_used(found: FoundCohort, structure: str) -> Counter[str]:
    """Count the scans in which each name of a mask stands for a structure."""
    held = [names for scan in found.scans if (names := _names(scan))]
    matching = [(names, matching_structures(structure, names)) for names in held]
    return Counter(names[at[0]] for names, at in matching if len(at) == 1)


def names_unused(found: FoundCohort, structures: Sequence[str]) -> Counter[str]:
    """Count the scans in which masks have each name that stands for none of the structures."""
    held = [names for scan in found.scans if (names := _names(scan))]
    used = [{i for structure in structures for i in matching_structures(structure, names)} for names in held]
    return Counter(name for names, at in zip(held, used, strict=True) for i, name in enumerate(names) if i not in at)


def _of_table(table: SizeTable, found: FoundCohort) -> list[str]:
    """Return the structures of a size table, in the order of the values in label maps, if these are named."""
    has_label_maps = any(scan.named and _is_label_map(scan) for scan in found.scans)
    named = decathlon_labels(found.folder)[1:] if has_label_maps else []
    if named and set(named) != set(table.structures):
        raise ValueError(
            f"{found.folder / DECATHLON}: found the structures {', '.join(named)}, expected those of {table.source}: "
            f"{', '.join(table.structures)}. Name the structures in the order of the masks' values: --structure NAME, "
            "once for each."
        )
    return named or list(table.structures)


def _of_masks(scans: Sequence[CohortScan], folder: Path, soft: bool = False) -> list[str]:
    """Return the structures of the masks, of which label maps show one if they are soft; none if there is no mask."""
    held = [names for scan in scans if (names := _names(scan)) is not None]
    if held:
        shared = [name for name in held[0] if all(name in names for names in held)]
        if not shared and all(len(names) == 1 for names in held):
            letters = zip(*(names[0] for names in held), strict=False)
            same = takewhile(lambda letter: len(set(letter)) == 1, letters)
            start = "".join(letter[0] for letter in same).rstrip("_-. ")
            shared = [start] if len(start) >= 3 else []
        if not shared:
            counts = Counter(name for names in held for name in names)
            if not counts:
                raise ValueError(
                    f"{scans[0].drawn[0] if scans[0].drawn else folder}: the masks of {len(held)} scans hold no "
                    "structure with a name and an area, expected one. Name and draw it, or give a size table."
                )
            listed = first_few([f"'{name}' ({n})" for name, n in counts.most_common()])
            raise ValueError(
                f"the masks of {len(held)} scans have no structure in common; they hold {listed}. Name the structures "
                "to use: --structure NAME, once for each."
            )
        return shared
    maps = _label_maps(scans)
    if not maps:
        return []
    if named := decathlon_labels(folder)[1:]:
        return named
    values = [1] if soft else _all_values(maps)
    of_table = named_labels([folder, *(file.parent for file in maps)])[1]
    return [of_table.get(value, f"structure_{value}") for value in values or [1]]


def label_map_values(found: FoundCohort, structures: Sequence[str]) -> tuple[int, ...]:
    """Return the value of each structure in label maps; none if these are 1, 2, …, or not known."""
    maps = _label_maps(found.scans)
    if not maps or (found.folder / DECATHLON).is_file():
        return ()
    names = named_labels([found.folder, *(file.parent for file in maps)])[1]
    by_name = {f"structure_{value}": value for value in range(1, 256)} | {name: v for v, name in names.items()}
    if all(name in by_name for name in structures):
        return tuple(by_name[name] for name in structures)
    with suppress(ValueError):  # the conversion names the faulty file
        values = _all_values(maps)
        return tuple(values) if len(values) == len(structures) and values != [1] else ()
    return ()


def doubtful_values(found: FoundCohort) -> Iterator[str]:
    """Yield a doubt if each label map holds one value, yet not the same: it may be one structure."""
    held: dict[int, list[Path]] = {}
    for file in _label_maps(found.scans):
        with suppress(ValueError):  # the conversion names the faulty file
            for value in (values := label_values(file)):
                if len(values) > 1:
                    return
                held.setdefault(1 if value == 255 else value, []).append(file)
    if len(held) > 1:
        listed = "; ".join(f"{value} in {len(files)}, such as {files[0]}" for value, files in sorted(held.items()))
        yield f"each label map holds one value, and they differ: {listed}. Do all show the same structure?"


def _label_maps(scans: Sequence[CohortScan]) -> list[Path]:
    """Return the label maps without names of their own."""
    return [
        file
        for scan in scans
        if not scan.drawn and _is_label_map(scan)
        for file in scan.named.values()
        if not segment_names(file)
    ]


def _all_values(maps: Sequence[Path]) -> list[int]:
    """Return the values of label maps; a single value of 255 is 1."""
    held: dict[Path, set[int]] = {}
    faults = []
    for file in maps:
        try:
            held[file] = set(label_values(file))
        except ValueError as e:  # the conversion names it
            faults.append(str(e))
    if not held:
        others = f" Nor can {len(faults) - 1} more be read, for like reasons." if len(faults) > 1 else ""
        raise ValueError(faults[0] + others)
    values = set().union(*held.values())
    if 255 in values:
        if values <= {1, 255} and all(len(of_one) <= 1 for of_one in held.values()):
            return [1]
        with_it = [file for file, of_one in held.items() if 255 in of_one]
        is_rim = max(values - {255}) <= MAX_BESIDE_RIM
        if is_rim and all(file.name.lower().endswith(PICTURE_ENDINGS) for file in with_it):
            return sorted(values - {255})
        file = with_it[0]
        others = ", ".join(map(str, sorted(values - {255})))
        raise ValueError(
            f"{file}: it holds the value 255, the label maps of this cohort also {others}: 255 often means 'to be "
            "ignored'. Let a value mean the same in all of them."
        )
    return sorted(values)


def with_label_maps(found: FoundCohort) -> FoundCohort:
    """Return the cohort with all masks of a name as label maps if one of them holds several classes."""
    names = {name for scan in found.scans if scan.named and _is_label_map(scan) for name in scan.named} - {""}
    scans = tuple(
        replace(scan, named={"": next(iter(scan.named.values()))})
        if len(scan.named) == 1 and names & scan.named.keys()
        else scan
        for scan in found.scans
    )
    return replace(found, scans=scans)


def masks_of(scan: CohortScan, structures: Sequence[str]) -> MaskFiles:
    """Return the masks of a scan for :func:`medsize.scans.masks.place_masks`; SEG and RTSTRUCT before image files."""
    if scan.drawn:
        return scan.drawn
    if _is_label_map(scan):
        return next(iter(scan.named.values()))
    names = list(scan.named)
    fitting = {name: matching_structures(name, names) for name in structures}
    return {name: scan.named[names[at[0]]] for name, at in fitting.items() if len(at) == 1}


def holds(scan: CohortScan, structures: Sequence[str]) -> bool:
    """Return whether the scan has masks that may show all these structures."""
    names = _names(scan)
    if names is None:
        return bool(scan.named)
    return all(len(matching_structures(name, names)) == 1 for name in structures)


def names_held(scan: CohortScan, structures: Sequence[str]) -> list[str]:
    """Return those of the structures that the scan's masks hold by name."""
    names = _names(scan) or []
    return [name for name in structures if len(matching_structures(name, names)) == 1]


def _names(scan: CohortScan) -> list[str] | None:
    """Return the names of the structures in a scan's masks; ``None`` if it has none, or a label map without names."""
    if scan.drawn:
        return list(scan.drawn_names)
    if not scan.named:
        return None
    if _is_label_map(scan):
        return segment_names(next(iter(scan.named.values()))) or None
    return list(scan.named)


def _is_label_map(scan: CohortScan) -> bool:
    """Return whether the mask is one file of several classes, or one whose name has no structure."""
    if len(scan.named) != 1:
        return False
    ((name, file),) = scan.named.items()
    if name == "" or segment_names(file):
        return True
    with suppress(ValueError):  # the conversion says so
        return len(label_values(file)) > 1 and max(label_values(file)) < 255
    return False


def decathlon_labels(folder: Path) -> list[str]:
    """
    Read the names of all classes from the ``dataset.json`` in a folder; empty if there is none.

    It may have the Decathlon's form (index to name) or that of nnU-Net (name to index).

    Raises:
        ValueError: when the file does not number the classes 0, 1, ….
    """
    file = folder / DECATHLON
    if not file.is_file():
        return []
    try:
        labels = json.loads(file.read_bytes())["labels"]
        pairs = labels.items() if "0" in labels else [(index, name) for name, index in labels.items()]
        by_index = sorted((int(index), str(name)) for index, name in pairs)
        fault = f"their values are {', '.join(str(index) for index, _ in by_index)}"
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as e:
        by_index, fault = [], f"{type(e).__name__}: {first_line(e)}"
    if len(by_index) < 2 or [index for index, _ in by_index] != list(range(len(by_index))):
        raise ValueError(
            f"{file}: found no usable labels ({fault}), expected "
            '"labels": {"background": 0, "NAME": 1, …} with the values of the masks, from 0 upwards. '
            "Correct it, or name the structures yourself: --structure NAME, once for each."
        )
    return [name for _, name in by_index]
