"""Scans and their masks in a folder."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

from medsize.scans.dicom.referenced_series import pair_masks
from medsize.scans.find_scans import find_scans
from medsize.scans.masks import structures_held
from medsize.scans.roles import num_shared, plain_words, roles_of
from medsize.scans.scan import MASKS, UNUSABLE, FoundScan, ScanKind, counted, left_out_lines, said_once
from medsize.scans.scan_names import scan_paths
from medsize.suggest import first_few

__all__ = ["CohortScan", "FoundCohort", "chosen_masks", "find_cohort", "owners_of"]

DERIVATIVES = re.compile(r"^derivatives/[^/]+/")


@dataclass(frozen=True)
class CohortScan:
    """An image and the masks that belong to it."""

    scan: FoundScan
    name: str
    """Path from the cohort's folder: of the file, or of a series' folder."""
    drawn: tuple[Path, ...] = ()
    """Files of SEG and RTSTRUCT."""
    drawn_names: tuple[str, ...] = ()
    """Names of the structures in these files."""
    named: dict[str, Path] = field(default_factory=dict)
    """Image files of masks, by the words that their names have beyond the scan's; "" if there are none."""

    @property
    def has_masks(self) -> bool:
        """True if any mask belongs to the scan."""
        return bool(self.drawn or self.named)


@dataclass(frozen=True)
class FoundCohort:
    """Scans and masks in a folder."""

    folder: Path
    scans: tuple[CohortScan, ...]
    left_out: tuple[str, ...]
    """Files that are not scans, with the reasons."""
    notes: tuple[str, ...]
    """Remarks on how files are read where they leave a choice."""
    problems: tuple[str, ...]
    """Problems of other files."""
    files: tuple[Path, ...] = field(default=(), repr=False)
    """All files that were examined."""
    reports: tuple[Path, ...] = ()
    """Files of structured reports, DICOM SR."""
    report_lines: tuple[str, ...] = ()
    """Those lines of ``left_out`` that are about them."""
    unchosen: tuple[str, ...] = ()
    """Names of the scans of other modalities than the chosen ones."""

    def summary(self) -> list[str]:
        """Return lines with the number of scans of each kind, and with the omissions."""
        found = [scan.scan for scan in self.scans]
        kinds = Counter(scan.modality or scan.kind.value for scan in found)
        told = ", ".join(f"{n} {kind}" for kind, n in kinds.items()) or "none"
        told = "" if kinds.keys() == {ScanKind.PICTURE.value} else f": {told}"
        return [f"found {counted(found)}{told}", *(f"left out: {line}" for line in self.left_out)]


def find_cohort(folder: Path, modalities: Sequence[str] = (), rtstruct: str | None = None) -> FoundCohort:
    """
    Find scans of any format and their masks, by headers and names; no voxels are read.

    SEG and RTSTRUCT belong to the series that they name, see
    :func:`medsize.scans.dicom.referenced_series.pair_masks`. An image file is a mask if its path has a word
    such as ``labelsTr`` or ``_gt``. Without such words, its path begins or ends with the path of its scan; otherwise it
    belongs to the only scan of the nearest folder. The other words are the structure's name. Examples:
    ``pat1/ct.nii.gz`` and ``pat1/masks/liver.nii.gz``, ``images/a.nrrd`` and ``labels/a.nrrd``.

    Args:
        folder: the cohort's folder.
        modalities: modalities of DICOM to find, such as ``CT``. Default: all.
        rtstruct: name of the files of RTSTRUCT, or of SEG, to use, with wildcards. Default: all.
    """
    found = chosen_masks(find_scans(folder), rtstruct, folder)
    problems = [scan.fault for scan in found if scan.kind in UNUSABLE]
    chosen = [scan for scan in found if _is_chosen(scan, modalities)]
    report_lines = left_out_lines(scan for scan in chosen if scan.modality == "SR")
    left_out = [*left_out_lines(scan for scan in chosen if scan.modality != "SR"), *report_lines]
    roles = roles_of(found, folder)
    scans, masks, clicks = roles.images, roles.masks, len(roles.clicks)
    if clicks:
        left_out.append(f"{clicks} files of clicks or scribbles. Name them as 'scribble' in the data list.")
    drawn, faults = pair_masks(found)
    problems += faults
    named: dict[int, dict[str, Path]] = {}
    folders = [_key(scan.files[0].parent, folder) for scan in scans]
    keys = _keys(scans, folder)
    for mask in masks:
        of = _key(mask, folder)
        owners, name = _owners(of, keys, folders)
        if not owners and of[:1] == ("derivatives",):  # BIDS repeats the folders of the scans there
            above = DERIVATIVES.sub("", mask.relative_to(folder).as_posix())
            owners, name = _owners(plain_words(above), keys, folders)
        if not owners:
            owners, name = _in_nearest_folder(mask, scans, folder)
        if len(owners) > 1:
            owners = [owner for owner in owners if not scans[owner].fault] or owners
        if len({scans[owner].files[0] for owner in owners}) != 1:  # those of several pages are in one file
            problems.append(
                f"{mask}: found {len(owners)} scans that this mask may belong to, expected one. Name it like the scan, "
                "followed by '_mask', or put both into a folder of their own."
            )
        elif name in named.get(owners[0], {}):
            other = named[owners[0]][name]
            problems.append(f"{mask}: found {other} for the same scan and structure, expected one mask. Remove one.")
        else:
            for owner in owners:
                named.setdefault(owner, {})[name] = mask
    cohort_scans, unchosen = [], []
    said: list[tuple[str, str]] = []
    for i, (scan, name) in enumerate(zip(scans, scan_paths(scans, folder), strict=True)):
        if not _is_chosen(scan, modalities):
            unchosen.append(name)
            continue
        files = tuple(drawn.get(scan.files[0], ()))
        try:
            held = [structures_held(file, scan.grid) for file in files]
        except ValueError as e:
            problems.append(str(e))
            files, held = (), []
        said += [(str(file), note) for file, (_, notes) in zip(files, held, strict=True) for note in notes]
        said += [(scan.source, scan.note)] if scan.note else []
        names = tuple(dict.fromkeys(structure for structures, _ in held for structure in structures))
        cohort_scans.append(CohortScan(scan, name, files, names, named.get(i, {})))
    notes = tuple(f"{line.removesuffix('.')}." for line in said_once(said))
    files = tuple(file for scan in found for file in scan.files)
    reports = tuple(scan.files[0] for scan in found if scan.modality == "SR")
    lines = (tuple(left_out), notes, tuple(problems))
    return FoundCohort(folder, tuple(cohort_scans), *lines, files, reports, tuple(report_lines), tuple(unchosen))


def chosen_masks(found: Sequence[FoundScan], pattern: str | None, folder: Path) -> list[FoundScan]:
    """
    Return what was found without RTSTRUCT, or SEG, of other names.

    Args:
        found: scans and masks.
        pattern: name of the files to keep, or their path from the folder, with wildcards. If it is that of RTSTRUCT
            alone, all SEG are kept, and the other way round. Default: all.
        folder: the cohort's folder.

    Raises:
        ValueError: when no file has the name.
    """
    masks = {scan.files[0]: scan.kind for scan in found if scan.kind in MASKS}
    if pattern is None or not masks:
        return list(found)
    kept = {f for f in masks if fnmatch(f.name, pattern) or fnmatch(f.relative_to(folder).as_posix(), pattern)}
    if not kept:
        names = first_few(sorted({file.name for file in masks}))
        raise ValueError(f"--rtstruct '{pattern}': {folder} has no SEG or RTSTRUCT of this name, but {names}.")
    kinds = {masks[file] for file in kept}
    return [scan for scan in found if scan.kind not in kinds or scan.files[0] in kept]


def _is_chosen(scan: FoundScan, modalities: Sequence[str]) -> bool:
    return not modalities or scan.kind is ScanKind.COPY or scan.modality in modalities


def _key(path: Path, folder: Path) -> tuple[str, ...]:
    return plain_words(path.relative_to(folder).as_posix())


def _keys(scans: Sequence[FoundScan], folder: Path) -> list[tuple[str, ...]]:
    """Return the words of the scans' paths: of an image file's own, of a series' folder."""
    by_name = (ScanKind.FILE, ScanKind.PICTURE)
    return [_key(scan.files[0] if scan.kind in by_name else scan.files[0].parent, folder) for scan in scans]


def _owners(
    mask: tuple[str, ...], keys: Sequence[tuple[str, ...]], folders: Sequence[tuple[str, ...]]
) -> tuple[list[int], str]:
    """Return the scans that a mask may belong to, and the words of its path beyond theirs."""

    def longest(matches: Sequence[bool], words: Sequence[tuple[str, ...]]) -> list[int]:
        length = max((len(w) for w, match in zip(words, matches, strict=True) if match), default=0)
        return [i for i, match in enumerate(matches) if match and len(words[i]) == length]

    begins = longest([bool(key) and mask[: len(key)] == key for key in keys], keys)
    if begins:
        return begins, "_".join(mask[len(keys[begins[0]]) :])
    ends = longest([bool(key) and mask[-len(key) :] == key for key in keys], keys)
    if ends:
        return ends, "_".join(mask[: -len(keys[ends[0]])])
    inside = longest([mask[: len(key)] == key for key in folders], folders)
    # fMRIPrep calls the mask of sub-1_desc-preproc_T1w sub-1_dseg.
    if begun := [i for i in inside if len(mask) > len(folders[i]) and keys[i][: len(mask)] == mask]:
        return begun, ""
    if len(inside) != 1:
        return inside, ""
    return inside, "_".join(mask[num_shared(mask, keys[inside[0]]) :])


def owners_of(file: Path, scans: Sequence[CohortScan], folder: Path) -> tuple[list[CohortScan], str]:
    """
    Return the scans that a file other than a mask may belong to, and the words of its path beyond theirs.

    Its path counts like that of a mask, see :func:`find_cohort`.

    Args:
        file: the file. Outside of the folder, its name alone counts.
        scans: the scans.
        folder: folder that their names start from.
    """
    bare = file.name.split(".")[0] if file.name.lower().endswith(".json") else file.stem
    is_inside = file.resolve().is_relative_to(folder.resolve())
    if not is_inside:
        words = plain_words(bare)
        keys = [plain_words(scan.scan.files[0].name) for scan in scans]
        fitting = [bool(key) and key in (words[: len(key)], words[-len(key) :]) for key in keys]
        longest = max((len(key) for key, fits in zip(keys, fitting, strict=True) if fits), default=0)
        of = [i for i, (key, fits) in enumerate(zip(keys, fitting, strict=True)) if fits and len(key) == longest]
        begins = bool(of) and words[:longest] == keys[of[0]]
        return [scans[i] for i in of], "_".join(words[longest:] if begins else words[: len(words) - longest])
    path = file.resolve().relative_to(folder.resolve()).with_name(bare)
    found = [scan.scan for scan in scans]
    folders = [_key(scan.files[0].parent, folder) for scan in found]
    keys = _keys(found, folder)
    owners, rest = _owners(plain_words(path.as_posix()), keys, folders)
    if not owners:
        owners, rest = _in_nearest_folder(folder / path, found, folder)
    return [scans[owner] for owner in owners], rest


def _in_nearest_folder(mask: Path, scans: Sequence[FoundScan], folder: Path) -> tuple[list[int], str]:
    """Return the scans at any depth of the nearest folder above a mask that holds some, as p1/ct and p1/mask.nii.gz."""
    for above in mask.relative_to(folder).parents:
        below = [i for i, scan in enumerate(scans) if scan.files[0].is_relative_to(folder / above)]
        if below and above.parts:
            return below, "_".join(_key(mask, folder / above))
    return [], ""
