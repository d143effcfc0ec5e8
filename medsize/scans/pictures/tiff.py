"""TIFF: its pages as pictures, and the size of their pixels."""

from __future__ import annotations

import logging
import math
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import tifffile

from medsize.scans.image_file import MAX_BYTES, check_memory
from medsize.scans.pictures.picture import Picture, as_picture

__all__ = ["TIFF_ERRORS", "num_pages", "page_indices", "page_spacing", "picture_pages", "read_page"]

TIFF_ERRORS = (
    *(OSError, EOFError, ValueError, TypeError, LookupError, AttributeError, RuntimeError, OverflowError),
    *(MemoryError, tifffile.TiffFileError, ElementTree.ParseError),
)
"""Exceptions of tifffile for files that break off or do not follow the standard."""
MM_PER_UNIT = {
    **{"m": 1000.0, "dm": 100.0, "cm": 10.0, "mm": 1.0, "inch": 25.4, "in": 25.4},
    **{"µm": 1e-3, "μm": 1e-3, "um": 1e-3, "micron": 1e-3, "micrometer": 1e-3, "microns": 1e-3, "nm": 1e-6, "Å": 1e-7},
}
PRINT_DPI = (
    *(1, 72, 75, 90, 92, 96, 100, 120, 144, 150, 180, 192, 200, 220, 240, 250, 300, 350, 360, 400, 600, 720, 1200),
)
"""Resolutions of screens, printers and scanners: of the paper, not of what the picture shows."""
METRE = 9001
"""Code of metres in GeoTIFF."""
PHOTOMETRIC = ("MINISBLACK", "MINISWHITE", "RGB", "PALETTE", "YCBCR")
logging.getLogger("tifffile").addHandler(logging.NullHandler())  # what it says of broken files stands in our errors
BY_TIFFFILE = {1, 8, 32773, 32946}
"""Compressions that tifffile decodes by itself: none, deflate, PackBits."""


def num_pages(file: Path) -> int:
    """
    Return the number of pictures in a TIFF: its pages but smaller copies of others.

    Raises:
        ValueError: naming the file, when it cannot be read.
    """
    try:
        with tifffile.TiffFile(file) as tiff:
            return len(picture_pages(tiff))
    except TIFF_ERRORS as e:
        raise _broken(file, e) from e


def picture_pages(tiff: tifffile.TiffFile) -> list[Any]:
    """
    Return the pages of a TIFF that are pictures: of a pyramid only the largest.

    Raises:
        ValueError: when it has no page at all.
    """
    if not len(tiff.pages):  # many programs write the directory of pages last
        raise ValueError("it holds no page")
    pages = [page for page in tiff.pages if not page.is_reduced and not page.is_mask]  # type: ignore[union-attr]
    if tiff.is_svs:  # beside the slide, a thumbnail, its label and the overview
        return pages[:1]
    return pages


def read_page(file: Path, page: int = 0, max_bytes: int = MAX_BYTES) -> Picture:
    """
    Read a page of a TIFF.

    Raises:
        ValueError: naming the file, when it cannot be read, is larger than allowed, or has colours of another kind.
    """
    try:
        with tifffile.TiffFile(file) as tiff:
            pages = picture_pages(tiff)
            if page >= len(pages):
                raise ValueError(f"{file}: found {len(pages)} pages, expected page {page + 1}. Correct its number.")
            chosen = pages[page]
            photometric = getattr(chosen.photometric, "name", str(chosen.photometric))
            if photometric not in PHOTOMETRIC:
                kind = "CMYK" if photometric == "SEPARATED" else photometric
                raise ValueError(f"{file}: found the colours {kind}, expected grey or RGB. Convert it to RGB.")
            check_memory(file, chosen.shape, max(1, chosen.dtype.itemsize if chosen.dtype else 1), max_bytes)
            spacing, notes = page_spacing(tiff, chosen)
            pixels, is_black = _stored(file, chosen, chosen.index)
            pixels = _coloured(pixels, chosen)
            if not is_black:
                pixels = _inverted(pixels)
                notes.append("its 0 is white: it was inverted")
            return as_picture(pixels, spacing, tuple(notes))
    except ValueError as e:
        raise e if str(e).startswith((str(file), "found")) else _broken(file, e) from e
    except TIFF_ERRORS as e:
        raise _broken(file, e) from e


def page_indices(file: Path, page: int = 0) -> np.ndarray | None:
    """
    Return the values of a page with a palette, with a bit a pixel, or whose 0 is white; ``None`` for another page.

    Raises:
        ValueError: naming the file, when it cannot be read.
    """
    try:
        with tifffile.TiffFile(file) as tiff:
            pages = picture_pages(tiff)
            chosen = pages[page]
            if chosen.bitspersample == 1 or chosen.photometric.name in ("PALETTE", "MINISWHITE"):
                pixels, is_black = _stored(file, chosen, chosen.index)
                is_inverted = is_black and chosen.photometric == tifffile.PHOTOMETRIC.MINISWHITE
                return (_inverted(pixels) if is_inverted else pixels).astype(np.uint8)
            return None
    except TIFF_ERRORS as e:
        raise _broken(file, e) from e


def page_spacing(tiff: tifffile.TiffFile, page: Any) -> tuple[tuple[float, float] | None, list[str]]:
    """Return the width and height of a page's pixels in mm, ``None`` if unknown; and a remark if one was not taken."""
    for spacing in (_of_ome(tiff, page), _of_slide(page), _of_imagej(tiff, page), _of_map(page)):
        if spacing is not None and all(math.isfinite(mm) and mm > 0 for mm in spacing):
            return spacing, []
    unit = getattr(page.tags.get("ResolutionUnit"), "value", 2 if "XResolution" in page.tags else 1)
    mm_per_unit = {2: 25.4, 3: 10.0}.get(int(unit))
    resolution = _resolution(page)
    if mm_per_unit is None or resolution is None or tiff.is_imagej:
        return None, []
    dpi = [per_unit * 25.4 / mm_per_unit for per_unit in resolution]
    if any(min(abs(value - usual) for usual in PRINT_DPI) < 0.005 * value for value in dpi):
        return None, [f"its resolution of {dpi[0]:.4g} dpi is one of print, and was not taken for the size of a pixel"]
    return (mm_per_unit / resolution[0], mm_per_unit / resolution[1]), []


def _coloured(pixels: np.ndarray, page: Any) -> np.ndarray:
    """Return the colours of a palette, and colours that are stored plane by plane with red, green and blue last."""
    if page.photometric == tifffile.PHOTOMETRIC.PALETTE:
        table = page.colormap if page.colormap.max(initial=0) < 256 else page.colormap >> 8
        return np.moveaxis(table[:, pixels], 0, -1).astype(np.uint8)
    return np.moveaxis(pixels, 0, -1) if pixels.ndim == 3 and page.axes.startswith("S") else pixels


def _inverted(pixels: np.ndarray) -> np.ndarray:
    return (~pixels if pixels.dtype == bool else np.iinfo(pixels.dtype).max - pixels).astype(pixels.dtype)


def _stored(file: Path, page: Any, index: int) -> tuple[np.ndarray, bool]:
    """Return the pixels of a page as stored, and whether 0 is black in them; by Pillow if it is LZW, JPEG, ...."""
    from PIL import Image

    is_black = page.photometric != tifffile.PHOTOMETRIC.MINISWHITE
    if int(page.compression) in BY_TIFFFILE or find_spec("imagecodecs"):
        return np.asarray(page.asarray()), is_black
    name = getattr(page.compression, "name", page.compression)
    try:
        with Image.open(file) as image:
            image.seek(index)
            return np.asarray(image), True  # Pillow inverts by itself
    except (OSError, EOFError, SyntaxError, Image.DecompressionBombError) as e:
        raise ValueError(
            f"{file}: found pixels of the compression {name} that cannot be read ({e}), expected a TIFF "
            "without compression or with deflate. Save it so, or install imagecodecs."
        ) from e


def _resolution(page: Any) -> tuple[float, float] | None:
    """Return the pixels per unit, along x and y."""
    stated = [getattr(page.tags.get(name), "value", None) for name in ("XResolution", "YResolution")]
    if None in stated:
        return None
    values = [v[0] / v[1] if isinstance(v, tuple) and v[1] else v for v in stated]
    x, y = (float(v) if isinstance(v, int | float) else 0.0 for v in values)
    return (x, y) if x > 0 and y > 0 else None


def _of_ome(tiff: tifffile.TiffFile, page: Any) -> tuple[float, float] | None:
    """Return the physical size that OME states for the image of a page."""
    if not tiff.is_ome or not tiff.ome_metadata:
        return None
    root = ElementTree.fromstring(tiff.ome_metadata)
    pixels = [node for node in root.iter() if node.tag.rpartition("}")[2] == "Pixels"]
    of_size = [
        node
        for node in pixels
        if [node.get("SizeX"), node.get("SizeY")] == [f"{page.imagewidth}", f"{page.imagelength}"]
    ]
    found = set()
    for node in of_size or pixels:
        sides = []
        for axis in "XY":
            stated, unit = node.get(f"PhysicalSize{axis}"), node.get(f"PhysicalSize{axis}Unit", "µm")
            if stated is None or unit not in MM_PER_UNIT:
                return None
            sides.append(float(stated) * MM_PER_UNIT[unit])
        found.add((sides[0], sides[1]))
    return found.pop() if len(found) == 1 else None


def _of_slide(page: Any) -> tuple[float, float] | None:
    """Return the µm per pixel that Aperio's slides (SVS) state."""
    stated = re.search(r"\bMPP\s*=\s*([\d.]+)", page.description or "")
    return None if stated is None else (float(stated[1]) * 1e-3,) * 2


def _of_imagej(tiff: tifffile.TiffFile, page: Any) -> tuple[float, float] | None:
    unit = str((tiff.imagej_metadata or {}).get("unit", "")) if tiff.is_imagej else ""
    unit = unit.encode("latin-1", "ignore").decode("unicode_escape", "ignore") if "\\u" in unit else unit
    resolution = _resolution(page)
    if unit not in MM_PER_UNIT or resolution is None:
        return None
    return MM_PER_UNIT[unit] / resolution[0], MM_PER_UNIT[unit] / resolution[1]


def _of_map(page: Any) -> tuple[float, float] | None:
    """Return the metres per pixel of a GeoTIFF; degrees are no length."""
    if not page.is_geotiff:
        return None
    tags = page.geotiff_tags or {}
    scale, unit = tags.get("ModelPixelScale"), tags.get("ProjLinearUnitsGeoKey", METRE)
    if scale is None or int(unit) != METRE or "ProjectedCSTypeGeoKey" not in tags:
        return None
    return float(scale[0]) * 1000, float(scale[1]) * 1000


def _broken(file: Path, error: BaseException) -> ValueError:
    reason = (str(error) or type(error).__name__).splitlines()[0].rstrip(".")
    return ValueError(
        f"{file}: found a file that is cut off or broken ({reason}), expected a whole TIFF. Copy it again from its "
        "source."
    )
