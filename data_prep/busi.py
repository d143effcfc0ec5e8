"""
Prepare BUSI: breast ultrasound with benign and malignant lesions, and without any.

    python -m data_prep.busi FOLDER --output-dir OUT [--sizes masks] [--without-normal] [--clicks]

FOLDER holds ``benign/benign (1).png`` with ``benign (1)_mask.png``, ``malignant`` and ``normal`` likewise, at any
depth, as the authors ship them; or ``images/*.png`` with ``masks/*.png``. OUT gets the pictures as NIfTI and
``datalist.json``. Their pixels have no known size, so sizes are fractions of the picture: of the masks, or of ellipses
of two diameters, measured in the masks like a reader. Pictures are split by blocks of ten numbers, as neighbours are
often of one patient. ``cohort.yaml`` beside it is for ``medsize fit``.

Al-Dhabyani et al. "Dataset of breast ultrasound images". Data in Brief 2020. Licence of the data: the article is CC BY
4.0; the authors' page states none.
"""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from scipy.ndimage import label

from data_prep.folds import folds_from
from data_prep.picture_set import SetPicture, fraction_of, is_plain_layout, write_set
from medsize.measurements.outline import long_and_short
from medsize.scans.pictures.mask import read_picture_mask
from medsize.sizes.ellipse import ellipse_area

CLASSES = ("background", "lesion")


class Sizes(str, Enum):
    """Source of the sizes."""

    MASKS = "masks"
    DIAMETERS = "diameters"


def main(
    folder: Annotated[Path, typer.Argument(help="Folder that holds the pictures.", exists=True)],
    output_dir: Annotated[Path, typer.Option(help="Folder to write to.")],
    sizes: Annotated[Sizes, typer.Option(help="Source of the sizes.")] = Sizes.MASKS,
    error: Annotated[
        float, typer.Option(help="Standard deviation of a diameter's error, as a part of it.", min=0)
    ] = 0.0,
    without_normal: Annotated[
        bool, typer.Option(help="Leave pictures without a lesion out of the training; they stay for validation.")
    ] = False,
    folds: Annotated[int, typer.Option(help="Number of folds.", min=2)] = 5,
    validation_fold: Annotated[int, typer.Option(help="Fold that gets the number 0.", min=0)] = 0,
    clicks: Annotated[bool, typer.Option(help="Simulate one click in the largest lesion.")] = False,
    seed: Annotated[int, typer.Option(help="Seed of the errors.")] = 0,
) -> None:
    """Write pictures and a data list for BUSI."""
    official = sorted(folder.glob("**/*([0-9]*)_mask.png"))
    plain = sorted(folder.glob("masks/*.png"))
    is_plain = is_plain_layout(folder, plain, official, "benign/benign (1)_mask.png")
    found = {_name(file): file for file in (plain if is_plain else official)}
    fold_of = folds_from(map(block, found), folds, validation_fold)
    if without_normal:
        found = {n: file for n, file in found.items() if not n.startswith("normal") or fold_of[block(n)] == 0}

    def pictures() -> Iterator[SetPicture]:
        for number, (name, file) in enumerate(found.items()):
            parts = [file] if is_plain else [file, *file.parent.glob(f"{glob.escape(file.stem)}_[0-9]*.png")]
            masks = [read_picture_mask(part, threshold=None if is_plain else 128) for part in parts]
            mask = np.max([m > 0 for m in masks], axis=0).astype(np.uint8)
            fraction = fraction_of(mask, 1)
            if sizes is Sizes.DIAMETERS:
                factors = 1 + error * np.random.default_rng([seed, number]).standard_normal(2)
                fraction = measured_area(mask) * float(np.prod(np.maximum(factors, 0.05))) / mask.size
            image = folder / "images" / file.name if is_plain else file.with_name(file.name.replace("_mask", ""))
            entry = {"slice_size": {"lesion": [round(min(fraction, 0.99), 6)]}}
            yield SetPicture(name, image, mask, block(name), entry)

    write_set(
        output_dir,
        pictures(),
        len(found),
        CLASSES,
        fold_of,
        modality="US",
        clicks=clicks,
        size_unit="fraction",
        name="BUSI",
        licence="not stated; the article is CC BY 4.0",
        reference="Al-Dhabyani et al., Data in Brief 2020",
    )


def _name(file: Path) -> str:
    """Return kind and number, such as ``benign_001``."""
    match = re.search(r"(benign|malignant|normal)\D*(\d+)", file.stem)
    if match is None:
        raise typer.BadParameter(
            f"{file}: found the name {file.stem}, expected benign, malignant or normal with a number.",
            param_hint="FOLDER",
        )
    return f"{match[1]}_{int(match[2]):03d}"


def block(name: str) -> str:
    """Return the block of ten numbers that a picture is in, such as ``benign_00``."""
    return name[:-1]


def measured_area(mask: np.ndarray) -> float:
    """Return the area of ellipses of each lesion's longest diameter and the width at right angles to it, pixels."""
    components, count = label(mask)
    area = 0.0
    for index in range(1, count + 1):
        rows, columns = np.nonzero(components == index)
        corners = np.concatenate(
            [np.stack([columns + dx, rows + dy], axis=1) for dx in (-0.5, 0.5) for dy in (-0.5, 0.5)]
        )
        area += ellipse_area(long_and_short(corners))
    return area


if __name__ == "__main__":
    typer.run(main)
