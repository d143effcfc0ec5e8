"""Masks of the organs that structures lie in, from the masks of a cohort's scans."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import SimpleITK

from medsize.cohort.conversion.pictures import IGNORED, picture_masks
from medsize.cohort.conversion.scans import Converter, MaskFiles, mask_files, read_table, write_table
from medsize.cohort.find import CohortScan
from medsize.cohort.structures import masks_of, names_held
from medsize.progress_bar import with_progress
from medsize.scans.image_file import read_image_file, write_nifti
from medsize.scans.masks import place_masks
from medsize.scans.pictures.file import Picture, read_picture, write_picture
from medsize.scans.scan import ScanKind

__all__ = ["inside_option", "write_organs"]

NOT_IN_NAMES = re.compile(r"[^\w.-]+")
"""Characters that a folder's name does not get."""
COLUMNS = ("image", "source")
"""Columns of the index of masks, which tells those that are still right."""


def inside_option(texts: Sequence[str]) -> dict[str, str]:
    """
    Return the organ of each structure, from texts such as ``lesion=liver``.

    Raises:
        ValueError: when a text has another form, or names a structure again.
    """
    pairs = [text.partition("=") for text in texts]
    for text, (structure, _, organ) in zip(texts, pairs, strict=True):
        if not structure.strip() or not organ.strip():
            raise ValueError(f"--inside is '{text}', expected STRUCTURE=ORGAN. Write lesion=liver.")
    inside = {structure.strip(): organ.strip() for structure, _, organ in pairs}
    if len(inside) < len(texts):
        raise ValueError(f"--inside names a structure twice: {', '.join(texts)}. Name each once.")
    return inside


def write_organs(
    scans: Mapping[str, CohortScan], organs: Mapping[str, str], converter: Converter
) -> tuple[dict[str, dict[str, str]], list[str]]:
    """
    Write the masks of organs as NIfTI, each with the structures that lie in it, if they are drawn, too.

    An organ is found by its name: in files of one structure each, in SEG and RTSTRUCT, or in ``.seg.nrrd``.

    Args:
        scans: scans with their masks, by their converted images.
        organs: organ of each structure.
        converter: converter of the cohort.

    Returns:
        masks by organ, for each image that has any; and the problems of those that cannot be read.
    """
    found: dict[str, dict[str, str]] = {}
    problems = []
    index = converter.output_dir / "organs" / "index.csv"
    written = read_table(index)
    for image, scan in with_progress(list(scans.items()), "organs"):
        for organ in dict.fromkeys(organs.values()):
            names = names_held(scan, [organ, *(name for name, place in organs.items() if place == organ)])
            if organ not in names:
                continue
            masks = masks_of(scan, names)
            path = f"organs/{NOT_IN_NAMES.sub('_', organ)}/{Path(image).name}"
            target = converter.output_dir / path
            code = converter.source_code((*scan.scan.files, *mask_files(masks)), scan.scan, names)
            row = {"image": path, "source": code}
            try:
                if written.get(path) != row or not target.is_file():
                    if written.pop(path, None):  # or it would stand for the new mask if the next step is cut off
                        write_table(index, COLUMNS, written.values())
                    if scan.scan.kind is ScanKind.PICTURE:
                        _write_of_picture(scan, masks, names, converter, target)
                    else:
                        grid = read_image_file(converter.output_dir / image)
                        frame = scan.scan.frame_of_reference
                        drawn = place_masks(masks, grid, names, frame, True, converter.max_bytes).labels
                        write_nifti(SimpleITK.Cast(drawn > 0, SimpleITK.sitkUInt8), target)
                    written[path] = row
                    write_table(index, COLUMNS, written.values())
            except ValueError as e:
                problems.append(str(e))
                continue
            found.setdefault(image, {})[organ] = path
    return found, problems


def _write_of_picture(
    scan: CohortScan, masks: MaskFiles, names: Sequence[str], converter: Converter, target: Path
) -> None:
    """Write the mask of the organ of a picture, in the place of its image."""
    assert isinstance(masks, Path | Mapping)
    picture = read_picture(scan.scan.files[0], scan.scan.frame or 0, max_bytes=converter.max_bytes)
    drawn = picture_masks(masks, scan.scan, picture, names, (), converter.masks, later_wins=True).classes
    spacing = (converter.pictures.spacing_mm if converter.pictures else {}).get(scan.scan.source)
    inside = (drawn > 0) & (drawn != IGNORED)
    write_picture(Picture(inside.astype(np.uint8), spacing), target)
