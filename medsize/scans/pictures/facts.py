"""Facts about pictures, each read from its file once."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from medsize.scans.fact_cache import cached_facts
from medsize.scans.image_file import MAX_BYTES
from medsize.scans.pictures.file import read_picture

__all__ = ["PictureFacts", "picture_facts"]


class PictureFacts(BaseModel):
    """Facts about a picture."""

    model_config = ConfigDict(frozen=True)

    size: tuple[int, int]
    """Width and height in pixels, upright."""
    channels: int
    """1 for grey, 3 for colour."""
    spacing_mm: tuple[float, float] | None
    """Width and height of a pixel, mm; ``None`` if the file does not say."""
    bits: int
    """Bits of a stored value, 8 or 16."""
    highest: int
    """Highest value of all."""
    note: str


def picture_facts(file: Path, frame: int = 0, max_bytes: int = MAX_BYTES) -> PictureFacts:
    """
    Return facts about a picture, from the cache if it was read before.

    Args:
        file: the file.
        frame: see :func:`medsize.scans.pictures.file.read_picture`.
        max_bytes: memory that its pixels may take.

    Raises:
        OSError, ValueError: naming the file, when it cannot be read.
    """

    def find() -> PictureFacts:
        picture = read_picture(file, frame, max_bytes=max_bytes)
        height, width = picture.pixels.shape[:2]
        return PictureFacts(
            size=(width, height),
            channels=picture.channels,
            spacing_mm=picture.spacing_mm,
            bits=8 * picture.pixels.dtype.itemsize,
            highest=int(picture.pixels.max()),
            note=picture.note,
        )

    return cached_facts(file, f"picture {frame}", PictureFacts, find)
