"""Pictures and masks of a public set as NIfTI with a data list: what the modules of picture sets share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import torch
import typer

from medsize.cohort.proposal import propose_run
from medsize.data import load_cohort
from medsize.data.data_list import write_data_list
from medsize.files import atomic_write
from medsize.progress_bar import with_progress
from medsize.scans.pictures.file import picture_nifti, read_picture, write_picture
from medsize.transforms import ClickFromMask

__all__ = ["SetPicture", "fraction_of", "is_plain_layout", "write_set"]

IGNORED = 255
"""Value of pixels in masks that are left out of sizes, losses and evaluation."""


@dataclass
class SetPicture:
    """A picture of a set, and what is known of it."""

    name: str
    file: Path
    mask: np.ndarray
    """Class indices, ``(H, W)``; 255 where ignored."""
    subject: str
    entry: dict[str, Any] = field(default_factory=dict)
    """Further keys of its item in the data list, such as its sizes."""
    pixel_mm: float | None = None
    """Side of a pixel, mm; ``None`` if unknown."""
    is_validation: bool = False


def write_set(
    output_dir: Path,
    pictures: Iterable[SetPicture],
    count: int,
    class_names: Sequence[str],
    fold_of: Mapping[str, int] | None,
    channels: int = 1,
    modality: str = "",
    clicks: bool = False,
    **top_level: Any,
) -> None:
    """
    Write pictures and masks as NIfTI, the data list and ``cohort.yaml``.

    Args:
        output_dir: folder that gets ``images``, ``masks``, ``datalist.json`` and ``cohort.yaml``.
        pictures: the pictures, read one by one.
        count: number of them.
        class_names: all classes, the background first.
        fold_of: fold of each subject; ``None`` for a set with a section for validation.
        channels: 1, or 3 where any picture is in colour.
        modality: as DICOM names it; "" if it has no name there.
        clicks: give each item one simulated click in each structure, deep inside.
        top_level: further entries of the data list.
    """
    sections: dict[str, list[dict[str, Any]]] = {"training": [], "validation": []}
    is_in_mm, has_ignored = True, False
    for item in with_progress(pictures, "pictures", count):
        picture = read_picture(item.file, pixel_mm=item.pixel_mm)
        if picture.pixels.shape[:2] != item.mask.shape:
            raise typer.BadParameter(
                f"{item.file}: found {picture.pixels.shape[:2]} pixels and a mask of {item.mask.shape}, expected equal "
                "shapes. Unpack the set again.",
                param_hint="FOLDER",
            )
        spacing = picture.spacing_mm if item.pixel_mm else None
        image, label = (f"{kind}/{item.name}.nii.gz" for kind in ("images", "masks"))
        write_picture(replace(picture, spacing_mm=spacing), output_dir / image, channels)
        with atomic_write(output_dir / label) as partial:
            nibabel.save(picture_nifti(item.mask, spacing), partial)
        entry = {"image": image, "label": label, "subject": item.subject, **item.entry}
        if fold_of is not None:
            entry["fold"] = fold_of[item.subject]
        if clicks:
            entry["clicks"] = _clicks(item.mask, class_names, spacing or (1.0, 1.0))
        sections["validation" if item.is_validation else "training"].append(entry)
        is_in_mm &= spacing is not None
        has_ignored |= bool((item.mask == IGNORED).any())
    if not is_in_mm:
        top_level["length_unit"] = "px"
    if has_ignored:
        top_level["mask_ignored"] = IGNORED
    if sections["validation"]:
        top_level["validation"] = sections["validation"]
    data_list = output_dir / "datalist.json"
    write_data_list(data_list, class_names, sections["training"], **top_level)
    modalities = [modality] if modality else []
    propose_run(load_cohort(data_list, output_dir), modalities, output_dir / "cohort.yaml", dataset_dir=output_dir)
    typer.echo(f"{data_list}: {count} pictures")


def fraction_of(mask: np.ndarray, class_index: int) -> float:
    """Return the part of a picture that a class takes; ignored pixels count neither for nor against it."""
    return float((mask == class_index).sum() / max(int((mask != IGNORED).sum()), 1))


def is_plain_layout(folder: Path, plain: Sequence[Path], official: Sequence[Path], expected: str) -> bool:
    """
    Return whether a set is laid out as ``images`` and ``masks/*.png``, not as its authors ship it.

    Args:
        folder: folder of the set.
        plain: masks of the plain layout.
        official: files of the official layout.
        expected: description of these.

    Raises:
        typer.BadParameter: when it is neither.
    """
    if not (plain or official):
        raise typer.BadParameter(f"found no masks/*.png or {expected} below {folder}. Name the folder that holds them.")
    return bool(plain)


def _clicks(mask: np.ndarray, class_names: Sequence[str], spacing: tuple[float, float]) -> dict[str, list[list[float]]]:
    """Return the place deepest inside each structure, scanner mm."""
    clicked = ClickFromMask(radius=0, include_background=False)(torch.from_numpy(mask)[None])[0].numpy()
    found = {}
    for index, name in enumerate(class_names[1:], start=1):
        for y, x in np.argwhere(clicked == index):
            found[name] = [[round(-float(x) * spacing[0], 4), round(-float(y) * spacing[1], 4), 0.0]]
    return found
