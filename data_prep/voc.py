"""
Prepare PASCAL VOC 2012: natural pictures with 20 classes, the data of the method's own paper.

    python -m data_prep.voc FOLDER --output-dir OUT [--validation-fold 0]

FOLDER holds ``JPEGImages`` and ``SegmentationClass`` with ``ImageSets/Segmentation``, as the challenge ships them
(``VOCdevkit/VOC2012``). If ``SegmentationClassAug`` is there, too, all its pictures but those of ``val.txt`` train, or
those of ``trainaug.txt`` if there is such a list: 10,582 as in the papers. ``val.txt`` validates. Or FOLDER holds
``images/*.jpg`` with ``masks/*.png``, of any of the classes; then folds are dealt out, and classes that occur nowhere
are left out. OUT gets the pictures as NIfTI and ``datalist.json``. The size is the part of the picture that a class
takes; pixels of value 255 are left out.

Everingham et al. "The PASCAL Visual Object Classes (VOC) challenge". IJCV 2010. Hariharan et al. "Semantic contours
from inverse detectors". ICCV 2011 (SBD). Licence of the data: research use; the photographs are under
Flickr's terms.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from data_prep.folds import folds_from
from data_prep.picture_set import IGNORED, SetPicture, fraction_of, is_plain_layout, write_set
from medsize.scans.pictures.mask import read_picture_mask

CLASSES = (
    "background",
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "dining table",
    "dog",
    "horse",
    "motorbike",
    "person",
    "potted plant",
    "sheep",
    "sofa",
    "train",
    "tv monitor",
)


def main(
    folder: Annotated[Path, typer.Argument(help="Folder that holds the pictures.", exists=True)],
    output_dir: Annotated[Path, typer.Option(help="Folder to write to.")],
    folds: Annotated[int, typer.Option(help="Number of folds, without the challenge's lists.", min=2)] = 5,
    validation_fold: Annotated[int, typer.Option(help="Fold that gets the number 0.", min=0)] = 0,
    clicks: Annotated[bool, typer.Option(help="Simulate one click in each class of a picture.")] = False,
) -> None:
    """Write pictures and a data list for PASCAL VOC."""
    plain = sorted(folder.glob("masks/*.png"))
    lists = sorted(folder.glob("**/ImageSets/Segmentation/val.txt"))
    is_plain = is_plain_layout(folder, plain, lists, "ImageSets/Segmentation/val.txt")
    if is_plain:
        found = [(folder / "images" / f"{mask.stem}.jpg", mask, False) for mask in plain]
        present = sorted({int(v) for mask in plain for v in np.unique(read_picture_mask(mask)) if 0 < v != IGNORED})
    else:
        found = list(_official(lists[0].parents[2]))
        present = list(range(1, len(CLASSES)))
    names = [mask.stem for _, mask, _ in found]

    def pictures() -> Iterator[SetPicture]:
        for (image, file, is_validation), name in zip(found, names, strict=True):
            mask = _renumbered(read_picture_mask(file), present)
            sizes = {CLASSES[k]: [round(fraction_of(mask, n), 6)] for n, k in enumerate(present, start=1)}
            yield SetPicture(name, image, mask, name, {"slice_size": sizes}, is_validation=is_validation)

    write_set(
        output_dir,
        pictures(),
        len(found),
        [CLASSES[k] for k in (0, *present)],
        folds_from(names, folds, validation_fold) if is_plain else None,
        channels=3,
        modality="XC",
        clicks=clicks,
        size_unit="fraction",
        name="PASCAL VOC 2012",
        licence="research use; the photographs are under Flickr's terms",
        reference="Everingham et al., IJCV 2010; Hariharan et al., ICCV 2011",
    )


def _official(root: Path) -> Iterator[tuple[Path, Path, bool]]:
    """Yield picture, mask, and whether it is for validation."""
    lists = root / "ImageSets" / "Segmentation"
    more = root / "SegmentationClassAug"
    validation = _names(lists / "val.txt")
    if (lists / "trainaug.txt").is_file():
        training = _names(lists / "trainaug.txt")
    elif more.is_dir():
        training = sorted({file.stem for file in more.glob("*.png")} - set(validation))
    else:
        training = _names(lists / "train.txt")
    for is_validation, names in ((False, training), (True, validation)):
        for name in names:
            mask = root / "SegmentationClass" / f"{name}.png"  # the official one has the ignored rim
            mask = mask if mask.is_file() else more / f"{name}.png"
            if not mask.is_file():
                raise typer.BadParameter(f"found no mask of {name} in {mask.parent}. Unpack the set again.")
            yield root / "JPEGImages" / f"{name}.jpg", mask, is_validation


def _names(file: Path) -> list[str]:
    """Return the names in a list; an augmented list may hold paths of pictures and masks."""
    return [Path(line.split()[0]).stem for line in file.read_text().splitlines() if line.strip()]


def _renumbered(mask: np.ndarray, present: Sequence[int]) -> np.ndarray:
    """Return a mask with the classes that are present numbered from 1; 255 stays."""
    table = np.zeros(256, dtype=np.uint8)
    table[IGNORED] = IGNORED
    table[list(present)] = np.arange(1, len(present) + 1)
    return table[mask]


if __name__ == "__main__":
    typer.run(main)
