"""Pictures to segment: their conversion to scans of one slice, and their masks as they are stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np

from medsize.bundle.run_folder import MASKS
from medsize.inference.large_picture import MaskSummary
from medsize.inference.page import Panel
from medsize.inference.run_network import RunNetwork
from medsize.inference.segmentation import mask_file
from medsize.scans.picture import Picture
from medsize.scans.picture_file import read_picture, write_picture
from medsize.scans.picture_mask import write_picture_mask
from medsize.scans.picture_rows import TILE, PictureRows, every_nth, open_rows, write_tiles
from medsize.scans.scan import FoundScan

__all__ = ["LARGE", "ConvertedPictures", "PictureMask", "convert_pictures", "large_mask", "small_mask"]

LARGE = 2**24
"""Number of pixels above which a picture is segmented row by row."""
SHOWN = 400
"""Pixels along the longer side of a picture on the page."""

Spacing = tuple[float, float] | None


@dataclass(frozen=True)
class ConvertedPictures:
    """Pictures by the way in which they are segmented."""

    small: dict[str, tuple[Spacing, int]]
    """Size of a pixel and EXIF orientation of those that became NIfTI, by name."""
    large: dict[str, FoundScan]
    """Those that are segmented row by row."""
    problems: list[str]


@dataclass(frozen=True)
class PictureMask:
    """Facts about the mask of a picture."""

    file: str
    """Its path from the output's folder."""
    spacing_mm: Spacing
    """Width and height of a pixel; ``None`` if unknown."""
    counts: np.ndarray
    """Pixels of each class."""
    at_edge: frozenset[int]
    """Classes at the edge of the picture."""
    panel: Panel


def convert_pictures(
    named: Mapping[str, FoundScan],
    images: Path,
    settings: Mapping[str, Any],
    pixel_mm: float | None = None,
    large: int = LARGE,
) -> ConvertedPictures:
    """
    Write pictures as NIfTI of one slice, as the network of a run takes them.

    Args:
        named: pictures by name.
        images: folder to write to.
        settings: the run's ``inference.json``.
        pixel_mm: side of a pixel, mm, whatever the files state. Default: what they state.
        large: number of pixels above which a picture is not converted.
    """
    converted = ConvertedPictures({}, {}, [])
    for name, scan in named.items():
        try:
            if scan.fault:
                raise ValueError(scan.fault)
            with open_rows(scan.files[0], scan.frame or 0, pixel_mm) as rows:
                _check_known(scan, rows.spacing_mm, settings)
                if rows.height * rows.width > large:
                    converted.large[name] = scan
                    continue
                if isinstance(rows, PictureRows):
                    picture = rows.picture
                else:
                    picture = read_picture(scan.files[0], scan.frame or 0, pixel_mm)
        except ValueError as e:
            converted.problems.append(str(e))
            continue
        seen = Picture(picture.pixels, None if in_pixels(settings) else picture.spacing_mm)
        write_picture(seen, images / f"{name}.nii.gz", settings.get("in_channels", 1))
        converted.small[name] = picture.spacing_mm, picture.orientation
    return converted


def in_pixels(settings: Mapping[str, Any]) -> bool:
    """Return whether a run was trained on pictures whose pixels have no known size."""
    return settings.get("length_unit") == "px"


def small_mask(output_dir: Path, name: str, spacing_mm: Spacing, orientation: int, num_classes: int) -> PictureMask:
    """
    Write the mask of a converted picture as PNG, in the picture's size and orientation as stored.

    Args:
        output_dir: folder of all output.
        name: name of the picture.
        spacing_mm: width and height of a pixel; ``None`` if unknown.
        orientation: EXIF orientation of the picture.
        num_classes: K, with the background.
    """
    stored = nibabel.load(mask_file(output_dir, name))
    labels = np.asarray(stored.dataobj).reshape(stored.shape[:2]).T.astype(np.uint8)
    file = f"{MASKS}/{name}_seg.png"
    write_picture_mask(labels, output_dir / file, orientation)
    pixels = np.asarray(nibabel.load(output_dir / "images" / f"{name}.nii.gz").dataobj)[:, :, 0].swapaxes(0, 1)
    every = max(1, -(-max(labels.shape) // SHOWN))
    edges = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    return PictureMask(
        file,
        spacing_mm,
        np.bincount(labels.ravel(), minlength=num_classes),
        frozenset(np.unique(edges).tolist()),
        _panel(name, pixels[::every, ::every], labels[::every, ::every], spacing_mm),
    )


def large_mask(
    output_dir: Path,
    name: str,
    scan: FoundScan,
    network: RunNetwork,
    pixel_mm: float | None = None,
) -> PictureMask:
    """
    Segment a large picture, and write its mask as a TIFF in tiles.

    Args:
        output_dir: folder of all output.
        name: name of the picture.
        scan: the picture.
        network: the run's network.
        pixel_mm: see :func:`convert_pictures`.

    Raises:
        ValueError: naming the file, when it cannot be read.
    """
    file = f"{MASKS}/{name}_seg.tif"
    with open_rows(scan.files[0], scan.frame or 0, pixel_mm) as rows:
        every = -(-max(rows.height, rows.width) // SHOWN)
        pixels = every_nth(rows, every)
        small = pixels[..., 0] if rows.channels == 1 else pixels
        summary = MaskSummary(np.zeros(network.num_classes, dtype=np.int64), every)
        strips = network.segment(rows, summary, TILE)
        write_tiles(strips, (rows.height, rows.width), output_dir / file, rows.spacing_mm)
        panel = _panel(name, small, summary.small, rows.spacing_mm)
        return PictureMask(file, rows.spacing_mm, summary.counts, frozenset(summary.at_edge), panel)


def _panel(name: str, pixels: np.ndarray, labels: np.ndarray, spacing_mm: Spacing) -> Panel:
    """Return a picture, rows from top to bottom, as it is drawn: y upwards."""
    plane = pixels[::-1].swapaxes(0, 1).astype(np.float32)
    return Panel(name, plane, labels[::-1].T, spacing_mm or (1.0, 1.0))


def _check_known(scan: FoundScan, spacing_mm: Spacing, settings: Mapping[str, Any]) -> None:
    if spacing_mm is None and not in_pixels(settings) and not settings.get("fit_to_window"):
        raise ValueError(
            f"{scan.source}: found no size of its pixels, but the network was trained at a spacing in mm. State it: "
            "--pixel-mm."
        )
