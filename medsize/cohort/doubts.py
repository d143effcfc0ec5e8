"""Faults of a prepared cohort, and doubts about it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np

from medsize.checks.plausibility.cohort import nothing_to_learn, size_volumes, suspicions
from medsize.checks.scans import check_scans
from medsize.cohort.conversion.scans import Converted
from medsize.cohort.init_options import InitOptions
from medsize.cohort.sizes.matched import Matched
from medsize.cohort.structures import (
    doubtful_values,
    names_unused,
    names_used,
)
from medsize.data.cohort import Cohort
from medsize.scans.scan_facts import mask_facts
from medsize.scans.subjects import comparable_subject
from medsize.suggest import first_few

__all__ = ["can_train", "doubts", "faults"]

ALIKE = 2.0
"""Ratio up to which the median sizes of two structures may be those of one."""
NUMBER = re.compile(r"(?:^|/)([^/\d]*\d+)[-_. ][^/]*$")
"""Beginning of a file's name with its first number."""


def _has_folds(cohort: Cohort) -> bool:
    """Return whether there are scans to train on beside those to validate on."""
    return len({item["fold"] for item in cohort.items}) > 1


def can_train(cohort: Cohort) -> bool:
    """Return whether there are scans and sizes to train on."""
    return _has_folds(cohort) and not nothing_to_learn(cohort.items, cohort.class_names)


def faults(cohort: Cohort) -> list[str]:
    """Return the problems of the folds and of the scans themselves."""
    found = check_scans(
        cohort.items,
        cohort.num_classes,
        mask_ignored=cohort.mask_ignored,
        length_unit=cohort.length_unit,
        class_names=cohort.class_names,
    )
    found += nothing_to_learn(cohort.items, cohort.class_names)
    if not _has_folds(cohort):
        return ["all scans are from one subject, so that none is left to train on. Add scans of others.", *found]
    return found


def doubts(
    cohort: Cohort, matched: Matched, converted: Converted, modalities: Sequence[str], options: InitOptions
) -> Iterator[str]:
    """
    Yield doubts about the sizes, the scans and their subjects, and options that had no effect.

    Args:
        cohort: the cohort, as it was written.
        matched: its scans, as they were found.
        converted: its scans, as they were converted.
        modalities: modality of each of its items.
        options: options that it was made with.
    """
    yield from _of_sizes(cohort, matched)
    yield from _of_names(matched, options)
    yield from _of_masks(cohort, matched)
    yield from _of_scans(cohort, modalities, options)
    yield from _of_subjects(cohort, matched, converted)


def _of_sizes(cohort: Cohort, matched: Matched) -> Iterator[str]:
    columns = () if matched.table is None else matched.table.columns
    if matched.table is not None:
        yield from (f"{matched.table.source.name}: {doubt}" for doubt in matched.table.doubts)
    fractions = {column.structure for column in columns if column.kind == "fraction"}
    yield from suspicions(cohort.items, cohort.class_names, cohort.length_unit, fractions)
    volumes = np.array([size_volumes(item) for item in cohort.items])
    for structure in (name for k, name in enumerate(matched.structures) if np.isnan(volumes[:, k]).all()):
        yield f"the size of '{structure}' is not known in any scan. State it in some, or delete its columns."
    yield from _of_one_structure(matched.structures, volumes)


def _of_one_structure(structures: Sequence[str], volumes: np.ndarray) -> Iterator[str]:
    """
    Yield a doubt for each two structures that may be one under two names, such as "liver" and "Leber".

    Args:
        structures: names of the structures.
        volumes: their sizes in mm³, (scans, structures); NaN if unknown.
    """
    known = np.isfinite(volumes)
    medians = [
        float(np.median(of_one)) if len(of_one := volumes[volumes[:, k] > 0, k]) else 0.0
        for k in range(len(structures))
    ]
    for one, other in combinations(range(len(structures)), 2):
        low, high = sorted((medians[one], medians[other]))
        if low > 0 and high <= ALIKE * low and not (known[:, one] & known[:, other]).any():
            numbers = [f"'{structures[k]}' is known in {known[:, k].sum()} scans" for k in (one, other)]
            yield (
                f"{' and '.join(numbers)}, never both in one, and their sizes are alike. Are they one structure? Then "
                "give both one name, in one column of the size table."
            )


def _of_names(matched: Matched, options: InitOptions) -> Iterator[str]:
    """Yield doubts about the names, or values, of structures in masks."""
    for structure in matched.structures:
        used = names_used(matched.found, structure)
        if len(used) > 1:
            yield f"'{structure}' stands for masks of several names: {_counted(used)}. Do they show the same?"
    yield from doubtful_values(matched.found)
    if not options.structures and matched.table is None and (unused := names_unused(matched.found, matched.structures)):
        yield f"structures that not all masks have were left out: {_counted(unused)}. Are they written in several ways?"


def _counted(names: Counter[str]) -> str:
    return first_few([f"'{name}' ({n} scans)" for name, n in names.most_common()])


def _of_masks(cohort: Cohort, matched: Matched) -> Iterator[str]:
    drawn = {item["image"]: mask_facts(item["label"]) for item in cohort.items if "label" in item}
    if empty := [image for image, facts in drawn.items() if facts.box is None]:
        yield f"the masks of {len(empty)} scans are empty, so that all sizes are 0: {first_few(empty)}. Is that right?"
    # In pixels, sizes are of what the picture shows.
    for value, structure in enumerate(cohort.class_names[1:] if cohort.length_unit == "mm" else (), start=1):
        if cut := [image for image, facts in drawn.items() if value in facts.cut_off]:
            yield (
                f"'{structure}' reaches the first or last slice or the edge of the view in {len(cut)} of {len(drawn)} "
                f"masks: {first_few(cut)}. It may be cut off: its stated size may be larger than what is in view, its "
                "size in the mask is a lower bound."
            )
    if matched.organs and (lacking := [item["image"] for item in cohort.items if "region" not in item]):
        organs = ", ".join(dict.fromkeys(matched.organs.values()))
        yield (
            f"{len(lacking)} of {len(cohort.items)} scans have no mask of {organs}: {first_few(lacking)}. Add masks "
            "with this name, or name a run that finds it: organ_run in cohort.yaml."
        )


def _of_scans(cohort: Cohort, modalities: Sequence[str], options: InitOptions) -> Iterator[str]:
    counts = Counter(modalities)
    if len(counts) > 1:
        counted = ", ".join(f"{n} {modality or 'unknown'}" for modality, n in counts.items())
        yield f"found several modalities ({counted}), expected one. Train each by itself, see --modality."
    if options.suv and "PT" not in modalities:
        yield "no scan is PET by its header, so that --suv changed none. Convert to SUV first, or leave --suv out."
    without = sum("roi" not in item for item in cohort.items)
    if options.roi_margin_mm is not None and without:
        yield (
            f"{without} of {len(cohort.items)} scans have no mask to crop around, so that use_roi is false in spite of "
            "--roi-margin-mm. State their roi in the size table (roi_mm), or leave them out."
        )


def _of_subjects(cohort: Cohort, matched: Matched, converted: Converted) -> Iterator[str]:
    """Yield doubts about subjects that are written in several ways, and about rows that fit their scans nearly."""
    subjects = {item["subject"] for item in cohort.items}
    scans = matched.found.scans
    rows = () if matched.table is None else matched.table.rows
    is_named = any(scan.scan.subject for scan in scans) or any(row.subject for row in rows)
    if not is_named and len(subjects) == len(cohort.items):
        if alike := _of_one_number([scan.name for scan in scans]):
            yield (
                f"{' and '.join(alike)} count as two subjects, as do others that begin with one number. Are they "
                f"of one? Then find the subjects in the paths: --subject-pattern '{NUMBER.pattern}'"
            )
        elif matched.table is None:
            yield (
                "every file counts as a subject of its own. Do some belong together? Then find the subjects in the "
                r"paths: --subject-pattern 'pat\d+'"
            )
    yield from matched.rows.joined
    names: dict[str, set[str]] = {}
    for row in rows:
        if row.subject:
            names.setdefault(comparable_subject(row.subject), set()).add(row.subject)
    for alike in (*converted.written_alike(), *(sorted(of_one) for of_one in names.values() if len(of_one) > 1)):
        listed = " and ".join(f"'{name}'" for name in alike)
        yield f"{listed} count as one subject. If they are several, let more than zeros, case or spaces differ."


def _of_one_number(names: Sequence[str]) -> list[str]:
    """Return two names that begin with one number, if all have one and most differ: years are no subjects."""
    groups: dict[str, list[str]] = {}
    for name in names:
        if (match := NUMBER.search(name)) is None:
            return []
        groups.setdefault(match[1], []).append(name)
    shared = [group for group in groups.values() if len(group) > 1]
    return shared[0][:2] if shared and 3 * len(groups) >= len(names) else []
