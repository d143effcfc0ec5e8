"""Images, masks and clicks among image files, told by the words of their paths."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path, PurePosixPath

from medsize.scans.image_file import ENDINGS
from medsize.scans.pictures.file import PICTURE_ENDINGS
from medsize.scans.scan import VOLUMES, FoundScan, ScanKind

__all__ = ["Roles", "num_shared", "plain_words", "roles_of", "without_ending"]

IMAGES = (*VOLUMES, ScanKind.PICTURE)
BY_NAME = (ScanKind.FILE, ScanKind.PICTURE)
"""Kinds whose names tell images from masks."""
IMAGE_WORDS = {
    "image",
    "images",
    "imagestr",
    "imagests",
    "img",
    "imgs",
    "scan",
    "scans",
    "volume",
    "volumes",
    "jpegimages",
}
MASK_WORDS = {
    *("mask", "masks", "label", "labels", "labelstr", "labelsts", "gt", "groundtruth", "annotation", "annotations"),
    *("seg", "segs", "segment", "segments", "segmentation", "segmentations", "labelmap", "labelmaps", "roi", "rois"),
    *("segmentationclass", "segmentationclassaug"),  # of PASCAL VOC
    *("dseg", "probseg", "contour", "contours", "delineation", "delineations"),
}
CLICK_WORDS = {"scribble", "scribbles", "click", "clicks"}
OME = (".ome.tif", ".ome.tiff")
FIRST_CHANNEL = "0000"
"""Ending of the names of images in nnU-Net; those of their masks lack it."""
INNER_ENDING = re.compile(r"\.(nii(\.gz)?|nrrd|nhdr|mha|mhd|dcm|png|jpe?g|tiff?|bmp|gif)(?=[-_./ ]|$)", re.IGNORECASE)
"""Ending within a name: 3D Slicer calls the mask of ct.nii ``ct.nii-label.nrrd``."""
JOINED = re.compile(
    r"(.+)(Mask|Masks|Label|Labels|Seg|Segmentation|ROI|Roi|GT|mask|masks|segmentation|labelmap|groundtruth)"
)
"""Word for a mask at the end of another one: ``LiverMask``."""
BEFORE = re.compile(r"(Mask|Label|Seg|Segmentation|ROI|GT|mask|label|seg)(?=[A-Z])(.+)")
"""Word for a mask before another one: ``maskLiver``."""
NUMBERED = re.compile(r"([^\d]+)(\d+)")
"""Word with a number: ``label0001``."""


@dataclass(frozen=True)
class Roles:
    """Found scans, by what they are for."""

    images: list[FoundScan]
    masks: list[Path]
    """Image files of masks."""
    clicks: list[Path]
    """Image files of clicks or scribbles."""


def roles_of(found: Sequence[FoundScan], folder: Path) -> Roles:
    """
    Tell images from masks and clicks.

    An image file is a mask if the words of its path say so, see ``MASK_WORDS``. Folders above all files say nothing,
    nor do those that would make a mask of every file.

    Args:
        found: scans and masks below the folder.
        folder: the folder.
    """
    files = [scan for scan in found if scan.kind in BY_NAME]
    others = [scan for scan in found if scan.kind in IMAGES and scan.kind not in BY_NAME]
    parts = {scan.files[0]: scan.files[0].relative_to(folder).parts for scan in (*files, *others)}
    common = num_shared(*(of_file[:-1] for of_file in parts.values()))
    deepest = max((len(of_file) for of_file in parts.values()), default=1)
    chosen: Roles | None = None
    for depth in range(common, max(deepest, common + 1)):
        roles = _roles(files, {file: "/".join(of_file[depth:] or of_file[-1:]) for file, of_file in parts.items()})
        chosen = chosen or roles
        if roles.images or others:
            chosen = roles
            break
    assert chosen is not None
    chosen = Roles(chosen.images, list(dict.fromkeys(chosen.masks)), list(dict.fromkeys(chosen.clicks)))  # of pages
    of_images = {scan.files[0] for scan in (*chosen.images, *others)}
    images = [scan for scan in found if scan.kind in IMAGES and scan.files[0] in of_images]
    return Roles(images, chosen.masks, chosen.clicks)


def _roles(files: Sequence[FoundScan], paths: dict[Path, str]) -> Roles:
    roles = Roles([], [], [])
    for scan in files:
        file = scan.files[0]
        words = set(_words(paths[file]))
        if words & CLICK_WORDS:
            roles.clicks.append(file)
        elif words & MASK_WORDS:
            roles.masks.append(file)
        else:
            roles.images.append(scan)
    return roles


def plain_words(path: str) -> tuple[str, ...]:
    """Return the words of a path that do not distinguish images from masks, in lower case."""
    words = [word for word in _words(path) if word not in IMAGE_WORDS | MASK_WORDS]
    return tuple(words[:-1] if words[-1:] == [FIRST_CHANNEL] else words)


def num_shared(*paths: tuple[str, ...]) -> int:
    """Return the number of words or folders that paths have in common at their beginning."""
    if not paths:
        return 0
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(min(paths), max(paths), strict=False)))


def without_ending(path: str) -> str:
    """Return a path without the ending of image files."""
    ending = next(
        (e for e in sorted((*ENDINGS, *PICTURE_ENDINGS, *OME), key=len, reverse=True) if path.lower().endswith(e)), ""
    )
    return path[: len(path) - len(ending)] if ending else path


def _words(path: str) -> list[str]:
    bare = INNER_ENDING.sub("", without_ending(PurePosixPath(path).as_posix()))
    return [word.lower() for chunk in re.split(r"[\W_]+", bare) if chunk for word in _parts(chunk)]


def _parts(chunk: str) -> list[str]:
    """Return the words that a chunk of letters and digits is made of, if one of them tells images from masks."""
    known = IMAGE_WORDS | MASK_WORDS
    if chunk.lower() in known:
        return [chunk]
    numbered = NUMBERED.fullmatch(chunk)
    if numbered is not None and (parts := _parts(numbered[1]))[-1].lower() in known:
        return [*parts, numbered[2]]
    joined = JOINED.fullmatch(chunk) or BEFORE.fullmatch(chunk)
    return [chunk] if joined is None else [joined[1], joined[2]]
