"""Pictures to segment: their conversion to scans of one slice, and their masks as they are stored."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import nibabel
import numpy as np

from medsize.bundle.run.folder import MASKS
from medsize.bundle.segment_images import read_segmentation
from medsize.inference.large_picture import mask_summary
from medsize.inference.output_folder import LARGE_MASK, OutputFolder, mask_file
from medsize.inference.report.page import Panel
from medsize.inference.segmentation import Segmentation
from medsize.metrics.reliability import StructureFacts, image_facts, structure_facts
from medsize.scans.pictures.file import read_picture, write_picture
from medsize.scans.pictures.mask import write_picture_mask
from medsize.scans.pictures.picture import Picture, to_channels
from medsize.scans.pictures.rows import TILE, PictureRows, TiffRows, every_nth, open_rows, write_tiles
from medsize.scans.scan import FoundScan
from medsize.sizes.fitted_ellipse import fitted_circumference
from medsize.units import MM3_PER_ML

__all__ = ["LARGE", "ConvertedPictures", "PictureMask", "convert_pictures", "in_pixels", "large_mask", "small_mask"]

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
    doubts: list[str]
    """Lines about pictures that show nothing."""


@dataclass(frozen=True)
class PictureMask:
    """Facts about the mask of a picture."""

    file: str
    """Its path from the output's folder."""
    spacing_mm: Spacing
    """Width and height of a pixel; ``None`` if unknown."""
    counts: np.ndarray
    """Pixels of each class."""
    panel: Panel
    structures: tuple[StructureFacts, ...]
    """Values of the classes 1, 2, …"""
    facts: Mapping[str, float]
    """Values of the picture, see :func:`medsize.metrics.reliability.image_facts`."""
    circumferences_mm: tuple[float, ...] = ()
    """Those of each class by a fitted ellipse, NaN if it is not there; empty if the pixels have no known size."""


def convert_pictures(
    named: Mapping[str, FoundScan],
    output: OutputFolder,
    settings: Mapping[str, Any],
    pixel_mm: Mapping[str, float] = MappingProxyType({}),
    large: int = LARGE,
) -> ConvertedPictures:
    """
    Write pictures that are not finished as NIfTI of one slice, as the network of a run takes them.

    Args:
        named: pictures by name.
        output: folder to write to.
        settings: the run's ``inference.json``.
        pixel_mm: side of a pixel, mm, of pictures by name, whatever the files state. Default: what they state.
        large: number of pixels above which a picture is not converted.
    """
    converted = ConvertedPictures({}, {}, [], [])
    for name, scan in named.items():
        try:
            if scan.fault:
                raise ValueError(scan.fault)
            with open_rows(scan.files[0], scan.frame or 0, pixel_mm.get(name)) as rows:
                _check_known(scan, rows.spacing_mm, settings)
                if rows.height * rows.width > large:
                    converted.large[name] = scan
                    continue
                if isinstance(rows, PictureRows):
                    picture = rows.picture
                else:
                    picture = read_picture(scan.files[0], scan.frame or 0, pixel_mm.get(name))
        except ValueError as e:
            converted.problems.append(str(e))
            continue
        if not output.is_finished(name):
            seen = Picture(picture.pixels, None if in_pixels(settings) else picture.spacing_mm)
            if (seen.pixels == seen.pixels.flat[0]).all():
                converted.doubts.append(f"{scan.source}: the picture has a single intensity, so that it shows nothing")
            output.scans[name]["facts"] = _facts(seen.pixels, settings)
            write_picture(seen, output.unfinished / "images" / f"{name}.nii.gz", settings.get("in_channels", 1))
        converted.small[name] = picture.spacing_mm, picture.orientation
    return converted


def in_pixels(settings: Mapping[str, Any]) -> bool:
    """Return whether a run was trained on pictures whose pixels have no known size."""
    return settings.get("length_unit") == "px"


def small_mask(
    output: OutputFolder, name: str, spacing_mm: Spacing, orientation: int, structures: Sequence[str]
) -> PictureMask:
    """
    Write the mask of a converted picture as PNG, in the picture's size and orientation as stored.

    Args:
        output: folder of all output.
        name: name of the picture.
        spacing_mm: width and height of a pixel; ``None`` if unknown.
        orientation: EXIF orientation of the picture.
        structures: names of the classes 1, 2, ….
    """
    num_classes = len(structures) + 1
    record = output.scans[name]
    confidences = record.get("confidence", {})
    stored, _ = read_segmentation(mask_file(output.folder, name))
    labels = stored[..., 0].T.astype(np.uint8)
    file = f"{MASKS}/{name}_seg.png"
    write_picture_mask(labels, output.folder / file, orientation)
    pixels = np.asarray(nibabel.load(output.images / f"{name}.nii.gz").dataobj)[:, :, 0].swapaxes(0, 1)
    every = max(1, -(-max(labels.shape) // SHOWN))
    counts = np.bincount(labels.ravel(), minlength=num_classes)
    return PictureMask(
        file,
        spacing_mm,
        counts,
        _panel(name, pixels[::every, ::every], labels[::every, ::every], spacing_mm),
        tuple(
            found._replace(confidence=confidences.get(structure))
            for structure, found in zip(structures, _structures(labels, counts), strict=True)
        ),
        record.get("facts", {}),
        _circumferences(labels, num_classes, spacing_mm),
    )


def large_mask(segmentation: Segmentation, name: str, scan: FoundScan, pixel_mm: float | None = None) -> PictureMask:
    """
    Segment a large picture that is not finished, and write its mask as a TIFF in tiles.

    Args:
        segmentation: the network, and the folder of all output.
        name: name of the picture.
        scan: the picture.
        pixel_mm: side of a pixel, mm, whatever the file states. Default: what it states.

    Raises:
        ValueError: naming the file, when it cannot be read.
    """
    folder, file = segmentation.output.folder, f"{MASKS}/{name}{LARGE_MASK}"
    with open_rows(scan.files[0], scan.frame or 0, pixel_mm) as rows:
        if not (folder / file).is_file():
            segmentation.report(f"{scan.source}: it is large, and segmented row by row")
            strips = segmentation.network.segment(rows, TILE)
            write_tiles(strips, (rows.height, rows.width), folder / file, rows.spacing_mm)
        every = -(-max(rows.height, rows.width) // SHOWN)
        pixels = every_nth(rows, every)
        pixels = pixels[..., 0] if rows.channels == 1 else pixels
        with TiffRows(folder / file) as mask:
            summary = mask_summary(mask, len(segmentation.structures) + 1, every, TILE)
        panel = _panel(name, pixels, summary.small, rows.spacing_mm)
        spacing = None if rows.spacing_mm is None else (every * rows.spacing_mm[0], every * rows.spacing_mm[1])
        lengths = _circumferences(summary.small, len(segmentation.structures) + 1, spacing)  # exact enough
        structures = tuple(
            found._replace(at_edge=index in summary.at_edge)
            for index, found in enumerate(_structures(summary.small, summary.counts), start=1)
        )
        facts = _facts(pixels, segmentation.settings)
        return PictureMask(file, rows.spacing_mm, summary.counts, panel, structures, facts, lengths)


def _structures(labels: np.ndarray, counts: np.ndarray) -> Iterator[StructureFacts]:
    """
    Yield the values of each class but the background.

    Args:
        labels: ``(H, W)``; of a large picture, every n-th pixel.
        counts: pixels of each class in the whole picture.
    """
    for index in range(1, len(counts)):
        found = structure_facts(labels == index, 1 / MM3_PER_ML)
        yield found._replace(volume_ml=counts[index] / MM3_PER_ML, fraction=float(counts[index] / counts.sum()))


def _facts(pixels: np.ndarray, settings: Mapping[str, Any]) -> dict[str, float]:
    """Return the values of a picture, ``(H, W)`` or ``(H, W, 3)``, as the network of a run sees it."""
    seen = to_channels(pixels, settings.get("in_channels", 1))
    return image_facts(seen[:, :, np.newaxis], (1.0, 1.0, 1.0), settings.get("intensity_window"))


def _circumferences(labels: np.ndarray, num_classes: int, spacing_mm: Spacing) -> tuple[float, ...]:
    """Return the circumference of each class in ``labels``, ``(H, W)``."""
    if spacing_mm is None:
        return ()
    return (math.nan, *(fitted_circumference(labels == index, spacing_mm[::-1]) for index in range(1, num_classes)))


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
