"""Pictures in memory: their pixels, the size of a pixel, and what was done to them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["Picture", "as_picture", "to_channels"]

LUMINANCE = (0.299, 0.587, 0.114)
"""Weights of red, green and blue, ITU-R BT.601."""
GREY = 2
"""Largest difference of red, green and blue of a grey pixel; JPEG rounds them."""
SQUARE = 0.01
"""Relative difference of the sides of a pixel that counts as none: headers are rounded."""


@dataclass(frozen=True)
class Picture:
    """A picture, upright."""

    pixels: np.ndarray
    """Grey values ``(H, W)`` or red, green and blue ``(H, W, 3)``, uint8 or uint16 as stored."""
    spacing_mm: tuple[float, float] | None = None
    """Width and height of a pixel, mm; ``None`` if unknown."""
    note: str = ""
    """Remarks on how it was read where its file leaves a choice, without a full stop at the end."""
    orientation: int = 1
    """EXIF orientation that was applied, 1 to 8; 1: none."""
    alpha: np.ndarray | None = None
    """The opacity that was dropped, ``(H, W)``, if some pixels are transparent or differ in it."""

    @property
    def pixel_mm(self) -> float | None:
        """Side of a pixel, mm: of one that is not square, the side of a square of its area; ``None`` if unknown."""
        return None if self.spacing_mm is None else float(np.prod(self.spacing_mm) ** 0.5)

    @property
    def channels(self) -> int:
        """1 for grey, 3 for colour."""
        return 1 if self.pixels.ndim == 2 else 3


def as_picture(
    pixels: np.ndarray,
    spacing_mm: tuple[float, float] | None = None,
    notes: tuple[str, ...] = (),
    orientation: int = 1,
) -> Picture:
    """
    Return a picture of decoded pixels. Alpha is dropped; grey that is stored as red, green and blue becomes grey.

    Args:
        pixels: ``(H, W)`` or ``(H, W, C)``, of 1 grey, 2 grey and alpha, 3 colour, or 4 colour and alpha.
        spacing_mm: see :class:`Picture`.
        notes: remarks so far.
        orientation: see :class:`Picture`.

    Raises:
        ValueError: without the file's name, when the pixels are of another kind.
    """
    pixels = _as_stored(pixels)
    alpha = None
    if pixels.ndim == 3 and pixels.shape[-1] in (2, 4):
        opacity = pixels[..., -1]
        differs = bool((opacity != opacity.max(initial=0)).any())
        alpha = opacity if differs or not opacity.any() else None
        if differs:
            notes += ("its alpha channel (transparency) was dropped",)
        pixels = pixels[..., :-1]
    if pixels.ndim == 3 and pixels.shape[-1] == 1:
        pixels = pixels[..., 0]
    if pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[-1] != 3) or 0 in pixels.shape:
        raise ValueError(f"found pixels of the shape {pixels.shape}, expected grey or red, green and blue")
    if pixels.ndim == 3 and _is_grey(pixels):
        pixels = to_channels(pixels, 1)
    if spacing_mm is not None:
        x, y = spacing_mm
        if abs(x - y) <= SQUARE * min(x, y):
            spacing_mm = ((x * y) ** 0.5,) * 2
    return Picture(np.ascontiguousarray(pixels), spacing_mm, "; ".join(notes), orientation, alpha)


def to_channels(pixels: np.ndarray, channels: int) -> np.ndarray:
    """Return pixels as grey ``(H, W)``, the luminance of colours; or as three channels, grey three times."""
    if channels not in (1, 3):
        raise ValueError(f"found {channels} channels, expected 1 or 3. Give one of them.")
    if channels == 3:
        return pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=-1)
    if pixels.ndim == 2:
        return pixels
    first = pixels[..., 0]
    if np.array_equal(first, pixels[..., 1]) and np.array_equal(first, pixels[..., 2]):
        return first
    grey: np.ndarray = np.rint(pixels @ np.array(LUMINANCE, dtype=np.float32)).astype(pixels.dtype)
    return grey


def _is_grey(pixels: np.ndarray) -> bool:
    low = np.minimum(np.minimum(pixels[..., 0], pixels[..., 1]), pixels[..., 2])
    high = np.maximum(np.maximum(pixels[..., 0], pixels[..., 1]), pixels[..., 2])
    return bool(((high - low) <= GREY).all())


def _as_stored(pixels: np.ndarray) -> np.ndarray:
    """Return pixels of 8 or 16 bits without sign."""
    if pixels.dtype == bool:
        return pixels.astype(np.uint8) * np.uint8(255)
    if pixels.dtype.kind == "u" and pixels.dtype.itemsize <= 2:
        return pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
    low, high = (float(pixels.min()), float(pixels.max())) if pixels.size else (0.0, 0.0)
    if pixels.dtype.kind in "iu" and low >= 0 and high < 2**16:
        return pixels.astype(np.uint8 if high < 2**8 and pixels.dtype.itemsize == 1 else np.uint16)
    raise ValueError(
        f"found pixels of the type {pixels.dtype} from {low:g} to {high:g}, expected 8 or 16 bits without sign"
    )
