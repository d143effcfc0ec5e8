"""Conversion of a folder of scans, from a hospital or another program, to NIfTI: ``medsize convert``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from medsize.cohort.conversion.scans import Converted, Converter, ConvertOptions, convert_scans, identify_by_folder
from medsize.cohort.find import chosen_masks
from medsize.files import alone_in
from medsize.progress_bar import with_progress
from medsize.scans.dicom.referenced_series import pair_masks
from medsize.scans.find_scans import find_scans
from medsize.scans.roles import roles_of
from medsize.scans.scan import LEFT_OUT, MASKS, UNUSABLE, left_out_lines, said_once
from medsize.suggest import first_few

__all__ = ["convert_folder"]


def convert_folder(
    folder: Path, output_dir: Path, options: ConvertOptions | None = None, report: Callable[[str], None] = print
) -> Converted:
    """
    Convert all scans of a folder, at any depth, without their headers.

    ``output_dir`` gets ``images/`` and ``index.csv``, with a line for each scan: its subject, modality, description
    and size. If structures are named, it also gets ``masks/``: label maps from the SEG and RTSTRUCT of the series.
    Existing files are kept.

    A subject is a code, made from its PatientID with a secret key beside ``output_dir``. Nothing is removed from the
    voxels: a head scan shows a face. Descriptions lose the words that name the patient in the header.

    Args:
        folder: folder with the scans.
        output_dir: folder to write to, outside of ``folder``.
        options: see :class:`ConvertOptions`.
        report: function that gets a line for each omission.

    Returns:
        the converted scans, and the problems of the others.

    Raises:
        ValueError: when ``folder`` is not a folder, or an option is invalid, or another process writes to
            ``output_dir``.
    """
    options = options or ConvertOptions()
    if not folder.is_dir():
        raise ValueError(f"{folder} is a file, expected a folder. Unpack an archive first.")
    converter = Converter.of(folder, output_dir, options)
    found = chosen_masks(find_scans(converter.folder), options.rtstruct, converter.folder)
    chosen = [s for s in found if not options.modalities or s.modality in options.modalities or s.kind in UNUSABLE]
    for line in left_out_lines(chosen):
        report(f"left out: {line}")
    for line in said_once((scan.source, scan.note) for scan in chosen if scan.note):
        report(f"note: {line}")
    roles = roles_of(found, converter.folder)
    if drawn := {*roles.masks, *roles.clicks}:
        named = first_few(sorted(map(str, drawn)))
        report(f"left out: {len(drawn)} image files of masks or clicks, by their names: {named}")
    images = [scan for scan in chosen if scan.kind not in LEFT_OUT and scan.files[0] not in drawn]
    masks_of: dict[Path, list[Path]] = {}
    problems: list[str] = []
    if options.structures:
        images = [scan for scan in images if scan.kind not in MASKS]
        masks_of, problems = pair_masks(found)
    if not images and not problems:
        problems = ["found no scan, expected DICOM, NIfTI, NRRD or MetaImage files. Check folder and options."]
    pairs = [(scan, masks_of.get(scan.files[0], [])) for scan in images]
    identify = identify_by_folder(converter, images)
    with alone_in(converter.output_dir):
        converted = convert_scans(converter, with_progress(pairs, "converting"), identify)
        for line in converted.resampled(converter.output_dir):
            report(f"note: {line}")
        if converted.rows and options.keep_identifiers:
            converted.write_identifiers(converter.output_dir)
    return replace(converted, problems=[*problems, *converted.problems])
