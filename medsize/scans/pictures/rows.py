"""Rows of pictures: those of a TIFF are decoded when they are asked for."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import tifffile

from medsize.files import atomic_write
from medsize.scans.pictures.file import TIFF_ENDINGS, read_picture
from medsize.scans.pictures.picture import Picture
from medsize.scans.pictures.tiff import TIFF_ERRORS, page_spacing, picture_pages

__all__ = ["TILE", "PictureRows", "TiffRows", "every_nth", "open_rows", "write_tiles"]

TILE = 256
"""Pixels along the sides of the tiles that are written."""
PHOTOMETRIC = ("MINISBLACK", "MINISWHITE", "RGB")


class TiffRows:
    """
    Rows of a page of a TIFF, from its tiles or strips.

    Ask for rows from top to bottom: only the tiles of the last rows are kept in memory.

    Args:
        file: the file.
        frame: number of the page. Defaults to 0.

    Raises:
        ValueError: naming the file, when it cannot be read tile by tile: it is cut off, in a compression that tifffile
            does not decode, or not grey or RGB of 8 or 16 bits.
    """

    def __init__(self, file: Path, frame: int = 0) -> None:
        self.file = file
        try:
            self._tiff = tifffile.TiffFile(file)
            page = picture_pages(self._tiff)[frame]
            self._page = page if isinstance(page, tifffile.TiffPage) else page.aspage()
            self.spacing_mm, _ = page_spacing(self._tiff, self._page)
        except TIFF_ERRORS as e:
            raise ValueError(f"{file}: it cannot be read as TIFF: {e}. Is the file complete?") from e
        page = self._page
        self.height, self.width, self.dtype = page.imagelength, page.imagewidth, np.dtype(page.dtype)
        self.channels = 3 if page.samplesperpixel >= 3 else 1  # others are alpha
        self._kept: dict[int, np.ndarray] = {}
        try:
            photometric = getattr(page.photometric, "name", str(page.photometric))
            if self.dtype not in (np.uint8, np.uint16) or photometric not in PHOTOMETRIC:
                raise ValueError(
                    f"{file}: found pixels of {self.dtype}, {photometric}, expected grey or RGB of 8 or 16 "
                    "bits. Convert it."
                )
            self._tile(0)
        except ValueError:
            self.close()
            raise

    def __enter__(self) -> TiffRows:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._tiff.close()

    def rows(self, start: int, stop: int) -> np.ndarray:
        """Return rows as an array ``(rows, width, channels)``."""
        high = self._page.chunks[0]
        numbers = range(start // high, math.ceil(stop / high))
        self._kept = {n: self._kept[n] if n in self._kept else self._decoded(n) for n in numbers}
        joined = np.concatenate(list(self._kept.values())) if len(self._kept) > 1 else self._kept[numbers[0]]
        return joined[start - numbers[0] * high : stop - numbers[0] * high]

    def _decoded(self, number: int) -> np.ndarray:
        """Return a row of tiles."""
        page = self._page
        high, wide = page.chunks[0], page.chunks[1]
        down, across = math.ceil(self.height / high), math.ceil(self.width / wide)
        result = np.zeros((min(high, self.height - number * high), self.width, self.channels), dtype=self.dtype)
        separate = page.planarconfig == tifffile.PLANARCONFIG.SEPARATE and page.samplesperpixel > 1
        for sample in range(self.channels) if separate else (0,):
            for column in range(across):
                index = (sample * down + number) * across + column
                tile = self._tile(index)
                if tile is None:  # a tile without data is empty
                    continue
                part = result[:, column * wide : (column + 1) * wide, sample if separate else slice(None)]
                tile = tile[0, : part.shape[0], : part.shape[1]]
                part[...] = tile[..., 0] if separate else tile[..., : self.channels]
        return np.iinfo(self.dtype).max - result if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE else result

    def _tile(self, index: int) -> np.ndarray | None:
        page, handle = self._page, self._tiff.filehandle
        try:
            handle.seek(page.dataoffsets[index])
            data = handle.read(page.databytecounts[index])
            return page.decode(data, index, jpegtables=page.jpegtables)[0] if data else None
        except TIFF_ERRORS as e:
            raise ValueError(
                f"{self.file}: its tile {index} cannot be decoded: {e}. Is the file complete? For other "
                "compressions: pip install imagecodecs"
            ) from e


class PictureRows:
    """
    Rows of a picture in memory.

    Args:
        picture: the picture.
    """

    def __init__(self, picture: Picture) -> None:
        self.picture = picture
        self.spacing_mm = picture.spacing_mm
        self.height, self.width = picture.pixels.shape[:2]
        self.dtype, self.channels = picture.pixels.dtype, picture.channels

    def rows(self, start: int, stop: int) -> np.ndarray:
        """Return rows as an array ``(rows, width, channels)``."""
        rows = self.picture.pixels[start:stop]
        return rows[..., None] if rows.ndim == 2 else rows


@contextmanager
def open_rows(file: Path, frame: int = 0, pixel_mm: float | None = None) -> Iterator[TiffRows | PictureRows]:
    """
    Open a picture to read its rows: a TIFF tile by tile if possible, others whole.

    Args:
        file: the file.
        frame: number of the page of a TIFF, or of the frame of a DICOM file.
        pixel_mm: side of a pixel, mm, whatever the file states.

    Raises:
        ValueError: naming the file, when it cannot be read.
    """
    rows: TiffRows | PictureRows | None = None
    if file.name.lower().endswith(TIFF_ENDINGS):
        with suppress(ValueError):
            rows = TiffRows(file, frame)
            rows.spacing_mm = rows.spacing_mm if pixel_mm is None else (pixel_mm, pixel_mm)
    rows = rows or PictureRows(read_picture(file, frame, pixel_mm))
    try:
        yield rows
    finally:
        if isinstance(rows, TiffRows):
            rows.close()


def every_nth(rows: TiffRows | PictureRows, n: int) -> np.ndarray:
    """Return every n-th pixel of a picture, along both axes, ``(H, W, channels)``."""
    return np.concatenate([rows.rows(start, start + 1)[:, ::n] for start in range(0, rows.height, n)])


def write_tiles(
    strips: Iterator[np.ndarray],
    shape: tuple[int, int],
    file: Path,
    spacing_mm: tuple[float, float] | None = None,
) -> None:
    """
    Write a mask as a compressed TIFF in tiles, whole or not at all.

    Args:
        strips: its rows from top to bottom, ``TILE`` at a time, uint8.
        shape: rows and columns of the mask.
        file: file to write.
        spacing_mm: width and height of a pixel; ``None`` if unknown.

    Raises:
        OutputError: when it cannot be written.
    """

    def tiles() -> Iterator[np.ndarray]:
        for strip in strips:
            for start in range(0, shape[1], TILE):
                part = strip[:, start : start + TILE]
                yield np.pad(part, [(0, TILE - length) for length in part.shape])

    resolution: dict[str, Any] = {}
    if spacing_mm is not None:
        resolution = {"resolution": tuple(10 / mm for mm in spacing_mm), "resolutionunit": "CENTIMETER"}
    with atomic_write(file) as partial:
        tifffile.imwrite(
            partial,
            tiles(),
            shape=shape,
            dtype=np.uint8,
            tile=(TILE, TILE),
            compression="zlib",
            photometric="minisblack",
            metadata=None,
            **resolution,
        )
