"""
Prepare HC18: ultrasound of fetal heads, with the circumference that a sonographer measured.

    python -m data_prep.hc18 FOLDER --output-dir OUT [--sizes circumference] [--validation-fold 0]

FOLDER holds ``training_set/*_HC.png`` with ``*_HC_Annotation.png`` and ``training_set_pixel_size_and_HC.csv``, as the
challenge ships them; or ``images/*.png`` with ``masks/*.png`` and ``sizes.csv``. OUT gets the pictures as NIfTI, in
mm, and ``datalist.json``. Sizes are those of an ellipse of the stated circumference, as an interval, since of its axis
ratio only the usual range is known; or those of the masks. Pictures of one examination are in one fold.
``cohort.yaml`` beside it is for ``medsize fit``.

van den Heuvel et al. "Automated measurement of fetal head circumference using 2D ultrasound images". PLoS ONE 2018.
Licence of the data: CC BY 4.0.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer
from PIL import Image, ImageDraw
from scipy.spatial import ConvexHull

from data_prep.folds import folds_from
from data_prep.picture_set import SetPicture, is_plain_layout, write_set
from medsize.scans.pictures.mask import read_picture_mask
from medsize.sizes.ellipse import circumference_area

CLASSES = ("background", "head")
SMALLEST_AXIS_RATIO = 0.7
"""
Short over long diameter (cephalic index) of fetal heads, two standard deviations below the mean.

Source: Hadlock et al. "Estimating fetal age: effect of head shape on BPD". American Journal of Roentgenology 1981.
"""


class Sizes(str, Enum):
    """Source of the sizes."""

    CIRCUMFERENCE = "circumference"
    MASKS = "masks"


def main(
    folder: Annotated[Path, typer.Argument(help="Folder that holds the pictures.", exists=True)],
    output_dir: Annotated[Path, typer.Option(help="Folder to write to.")],
    sizes: Annotated[Sizes, typer.Option(help="Source of the sizes.")] = Sizes.CIRCUMFERENCE,
    folds: Annotated[int, typer.Option(help="Number of folds.", min=2)] = 5,
    validation_fold: Annotated[int, typer.Option(help="Fold that gets the number 0.", min=0)] = 0,
    clicks: Annotated[bool, typer.Option(help="Simulate one click in each head.")] = False,
) -> None:
    """Write pictures and a data list for HC18."""
    official = sorted(folder.glob("**/*_Annotation.png"))
    plain = sorted(folder.glob("masks/*.png"))
    is_plain = is_plain_layout(folder, plain, official, "*_HC_Annotation.png")
    masks = plain if is_plain else official
    table = folder / "sizes.csv" if is_plain else official[0].parent.parent / "training_set_pixel_size_and_HC.csv"
    if not table.is_file():
        raise typer.BadParameter(f"{table} does not exist, expected the measured circumferences.", param_hint="FOLDER")
    measured = pd.read_csv(table)
    known = {str(row[0]): (float(row[1]), float(row[2])) for row in measured.itertuples(index=False)}
    names = [mask.name if is_plain else mask.name.replace("_Annotation", "") for mask in masks]
    if missing := [name for name in names if name not in known]:
        raise typer.BadParameter(f"{table}: found no row for {missing[0]}.", param_hint="FOLDER")

    def pictures() -> Iterator[SetPicture]:
        for name, file in zip(names, masks, strict=True):
            pixel_mm, circumference = known[name]
            mask = read_picture_mask(file) if is_plain else filled_head(file)
            low, high = circumference_area(circumference, smallest_axis_ratio=SMALLEST_AXIS_RATIO)
            if sizes is Sizes.MASKS:
                low = high = float((mask == 1).sum()) * pixel_mm**2
            yield SetPicture(
                name=Path(name).stem,
                file=(folder / "images" / name) if is_plain else file.with_name(name),
                mask=mask,
                subject=examination(name),
                entry={
                    "slice_size": {"head": [[round(low, 2), round(high, 2)]]},
                    "circumference_mm": {"head": circumference},
                },
                pixel_mm=pixel_mm,
            )

    write_set(
        output_dir,
        pictures(),
        len(names),
        CLASSES,
        folds_from(map(examination, names), folds, validation_fold),
        modality="US",
        clicks=clicks,
        size_unit="mm3",
        name="HC18",
        licence="CC BY 4.0",
        reference="van den Heuvel et al., PLoS ONE 2018",
    )


def examination(name: str) -> str:
    """Return the number of the examination: ``026_HC.png`` and ``026_2HC.png`` are of one."""
    return name.split("_")[0]


def filled_head(file: Path) -> np.ndarray:
    """Return the mask within a drawn outline: its convex hull, as the picture's edge may cut an ellipse open."""
    drawn = np.asarray(Image.open(file).convert("L")) > 0
    points = np.argwhere(drawn)[:, ::-1]
    mask = Image.new("L", drawn.shape[::-1])
    if len(points) > 2:
        hull = points[ConvexHull(points).vertices]
        ImageDraw.Draw(mask).polygon([tuple(map(int, point)) for point in hull], fill=1, outline=1)
    return np.asarray(mask)


if __name__ == "__main__":
    typer.run(main)
