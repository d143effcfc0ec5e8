"""
Prepare the 2018 Data Science Bowl, stage 1: cell nuclei in fluorescence and in stained tissue.

    python -m data_prep.dsb2018 FOLDER --output-dir OUT [--stain fluorescence]

FOLDER holds ``ID/images/ID.png`` with a mask of each nucleus in ``ID/masks``, at any depth, as the challenge ships
them (BBBC038); or ``images/*.png`` with ``masks/*.png``. OUT gets the pictures as NIfTI and ``datalist.json``. The
size is the part of the picture that all nuclei take. Pictures that continue each other at an edge are of one field, and
in one fold. ``cohort.yaml`` beside it is for ``medsize fit``.

Caicedo et al. "Nucleus segmentation across imaging experiments: the 2018 Data Science Bowl". Nature Methods 2019.
Licence of the data: CC0.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from data_prep.folds import folds_from
from data_prep.picture_set import SetPicture, fraction_of, is_plain_layout, write_set
from medsize.scans.pictures.file import read_picture
from medsize.scans.pictures.mask import read_picture_mask

CLASSES = ("background", "nucleus")
CONTINUED = 0.97
"""Correlation of the lines at two edges from which one picture continues the other."""
CONTRAST = 5.0
"""Standard deviation of grey values along an edge below which it says nothing."""


class Stain(str, Enum):
    """Kind of pictures to take."""

    FLUORESCENCE = "fluorescence"
    TISSUE = "tissue"
    ALL = "all"


def main(
    folder: Annotated[Path, typer.Argument(help="Folder that holds the pictures.", exists=True)],
    output_dir: Annotated[Path, typer.Option(help="Folder to write to.")],
    stain: Annotated[
        Stain, typer.Option(help="Pictures to take: grey ones, dark around the nuclei; the others; or all.")
    ] = Stain.ALL,
    folds: Annotated[int, typer.Option(help="Number of folds.", min=2)] = 5,
    validation_fold: Annotated[int, typer.Option(help="Fold that gets the number 0.", min=0)] = 0,
    clicks: Annotated[bool, typer.Option(help="Simulate one click in the largest nucleus.")] = False,
) -> None:
    """Write pictures and a data list for the Data Science Bowl."""
    plain = sorted(folder.glob("masks/*.png"))
    official = sorted(path for path in folder.glob("**/masks") if (path.parent / "images").is_dir())
    is_plain = is_plain_layout(folder, plain, official, "ID/masks/*.png")
    found: dict[str, tuple[Path, list[Path]]] = {}
    if is_plain:
        found = {file.stem: (folder / "images" / file.name, [file]) for file in plain}
    else:
        for path in official:
            image = path.parent / "images" / f"{path.parent.name}.png"
            found[path.parent.name[:16]] = (image, sorted(path.glob("*.png")))
    edges: dict[str, list[np.ndarray]] = {}
    channels = 1
    for name, (image, _) in list(found.items()):
        pixels = read_picture(image).pixels
        is_dark = pixels.ndim == 2 and np.median(pixels) < pixels.max() / 2
        if stain is not Stain.ALL and is_dark != (stain is Stain.FLUORESCENCE):
            del found[name]
            continue
        channels = max(channels, 1 if pixels.ndim == 2 else 3)
        grey = pixels if pixels.ndim == 2 else pixels.mean(axis=-1)
        edges[name] = [grey[0].copy(), grey[-1].copy(), grey[:, 0].copy(), grey[:, -1].copy()]
    if not found:
        raise typer.BadParameter(f"found no pictures of the kind {stain.value} in {folder}.", param_hint="--stain")
    field_of = fields_of(edges)

    def pictures() -> Iterator[SetPicture]:
        for name, (image, files) in found.items():
            mask = np.max([read_picture_mask(file, threshold=1) for file in files], axis=0).astype(np.uint8)
            entry = {"slice_size": {"nucleus": [round(fraction_of(mask, 1), 6)]}}
            yield SetPicture(name, image, mask, field_of[name], entry)

    write_set(
        output_dir,
        pictures(),
        len(found),
        CLASSES,
        folds_from(field_of.values(), folds, validation_fold),
        channels=channels,
        modality="SM",
        clicks=clicks,
        size_unit="fraction",
        name="2018 Data Science Bowl",
        licence="CC0",
        reference="Caicedo et al., Nature Methods 2019",
    )


def fields_of(edges: Mapping[str, Sequence[np.ndarray]]) -> dict[str, str]:
    """
    Return the field of each picture, named by a picture in it: neighbours continue each other at an edge.

    Args:
        edges: grey values along the top, bottom, left and right of each picture.
    """
    leader = {name: name for name in edges}
    by_shape: dict[tuple[int, int], list[str]] = {}
    for name, (top, _, left, _) in edges.items():
        by_shape.setdefault((len(left), len(top)), []).append(name)
    for names in by_shape.values():
        for end, start in ((1, 0), (3, 2)):
            ends, starts = (_standardised([edges[name][side] for name in names]) for side in (end, start))
            for one, other in np.argwhere(ends @ starts.T > CONTINUED):
                to, of = leader[names[one]], leader[names[other]]
                leader = {name: to if its == of else its for name, its in leader.items()}
    return leader


def _standardised(lines: list[np.ndarray]) -> np.ndarray:
    """Return lines with mean 0 and length 1; zeros for one with little contrast."""
    stacked = np.stack(lines).astype(float)
    centred = stacked - stacked.mean(axis=1, keepdims=True)
    spread = stacked.std(axis=1, keepdims=True)
    return np.where(spread > CONTRAST, centred / np.maximum(spread, 1e-9) / np.sqrt(stacked.shape[1]), 0.0)


if __name__ == "__main__":
    typer.run(main)
