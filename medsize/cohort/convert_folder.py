"""A folder of scans, as hospitals and other programs keep them, to NIfTI: ``medsize convert``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from medsize.cohort.conversion import Converted, Converter, ConvertOptions, convert_scans
from medsize.progress_bar import with_progress
from medsize.scans.dicom.referenced_series import pair_masks
from medsize.scans.find_scans import find_scans
from medsize.scans.scan import MASKS, UNUSABLE, ScanKind

__all__ = ["convert_folder"]


def convert_folder(
    folder: Path, output_dir: Path, options: ConvertOptions | None = None, report: Callable[[str], None] = print
) -> Converted:
    """
    Convert all scans of a folder, at any depth, without their headers.

    ``output_dir`` gets ``images/`` and ``index.csv``, with a line for each: its subject, modality, description and
    size. Where structures are named, it also gets ``masks/``: label maps made of the SEG and RTSTRUCT that were drawn
    on the series. What is there already is kept.

    A subject is a code made of its PatientID with a secret key, which lies beside ``output_dir``. Nothing is removed
    from the voxels: a head scan shows a face. Descriptions lose the words that name the patient in the header.

    Args:
        folder: holds the scans.
        output_dir: folder to write to, outside of ``folder``.
        options: see :class:`ConvertOptions`.
        report: told of what is left out.

    Returns:
        what became of the scans.

    Raises:
        ValueError: when ``folder`` is not a folder, or an option is of no use.
    """
    options = options or ConvertOptions()
    if not folder.is_dir():
        raise ValueError(f"{folder} is a file, expected a folder. Unpack an archive first.")
    converter = Converter.of(folder, output_dir, options)
    found = find_scans(converter.folder)
    chosen = [s for s in found if not options.modalities or s.modality in options.modalities or s.kind in UNUSABLE]
    for scan in chosen:
        if scan.kind is ScanKind.LOCALIZER:
            report(f"left out, a localizer: {scan.source}")
    images = [scan for scan in chosen if scan.kind is not ScanKind.LOCALIZER]
    masks_of: dict[str, list[Path]] = {}
    problems: list[str] = []
    if options.structures:
        images = [scan for scan in images if scan.kind not in MASKS]
        masks_of, problems = pair_masks(found)
    if not images and not problems:
        problems = ["no scan was found in it: no DICOM, NIfTI, NRRD or MetaImage file that the options choose."]
    pairs = [(scan, masks_of.get(scan.series, [])) for scan in images]
    converted = convert_scans(converter, with_progress(pairs, "converting"))
    if converted.rows and options.keep_identifiers:
        converted.write_identifiers(converter.output_dir)
    return replace(converted, problems=[*problems, *converted.problems])
