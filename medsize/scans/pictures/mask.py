"""Masks that are pictures: PNG, TIFF and others, of class indices or of colours."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from medsize.files import atomic_write
from medsize.scans.image_file import MAX_BYTES
from medsize.scans.pictures.file import TIFF_ENDINGS, exif_orientation, opened_by_pillow, read_picture
from medsize.suggest import first_few

__all__ = ["SOFT_EDGES", "Colour", "parse_colour", "read_picture_mask", "turned", "write_picture_mask"]

Colour = tuple[int, int, int]
SOFT_EDGES = 16
"""Number of values above which a mask up to 255 has soft edges."""
JPEG_ENDINGS = (".jpg", ".jpeg")


def read_picture_mask(
    file: Path,
    colours: Mapping[Colour, int] | None = None,
    threshold: int | None = None,
    frame: int = 0,
    max_bytes: int = MAX_BYTES,
    notes: list[str] | None = None,
) -> np.ndarray:
    """
    Read a mask that is a picture.

    Grey values and the indices of a palette are class indices. The file's EXIF orientation is applied. Transparent
    pixels are background.

    Args:
        file: PNG, TIFF, BMP or GIF; JPEG only with a threshold.
        colours: class index of each colour, for a mask in colour; black, or the colour of index 0, is the background.
        threshold: grey value from which a pixel is 1, and below 0, for a mask with soft edges. Default: none. A mask
            of 0 and 1 alone, as beside masks with soft edges, stays as it is.
        frame: number of the page of a TIFF.
        max_bytes: memory that its pixels may take.
        notes: list that gets a remark on how it was read where its file leaves a choice.

    Returns:
        class indices, ``(H, W)``, uint8.

    Raises:
        ValueError: naming the file, when it cannot be read, has colours that the table lacks, soft edges without a
            threshold, or values above 255.
    """
    pixels = _indices(file, frame, max_bytes)
    if pixels.ndim == 3:
        if threshold is not None and not colours:
            pixels = pixels.max(axis=-1)
        else:
            return _by_colour(file, pixels, colours or {})
    values = np.unique(pixels)
    is_jpeg = file.name.lower().endswith(JPEG_ENDINGS)
    if threshold is not None and threshold > 1 and not is_jpeg and values.tolist() == [0, 1]:
        if notes is not None:
            notes.append(f"it holds 0 and 1 alone, taken for the classes whatever the threshold of {threshold}")
        return pixels.astype(np.uint8)
    if threshold is not None:
        return (pixels >= threshold).astype(np.uint8)
    if colours and not np.isin(np.unique(pixels), [0, *colours.values()]).all():
        return _by_colour(file, np.repeat(pixels[..., None], 3, axis=-1), colours)
    if (is_jpeg and len(values) > 2) or (len(values) > SOFT_EDGES and values[-1] > 250 and pixels.dtype == np.uint8):
        listed = first_few([str(value) for value in values.tolist()], 5)
        raise ValueError(
            f"{file}: found {len(values)} values, {listed}, {'of JPEG, which blurs edges' if is_jpeg else 'soft edges'}"
            ", expected class indices. Save the mask as PNG without smoothing, or give --mask-threshold 128."
        )
    if values[-1] > 255:
        raise ValueError(f"{file}: found values up to {values[-1]}, expected class indices up to 255. Correct it.")
    return pixels.astype(np.uint8)


def turned(mask: np.ndarray, orientation: int) -> np.ndarray:
    """
    Return a mask as an EXIF orientation shows it.

    Args:
        mask: ``(H, W)``, drawn on the pixels as they are stored.
        orientation: 1 to 8.
    """
    return {
        1: lambda m: m,
        2: lambda m: m[:, ::-1],
        3: lambda m: m[::-1, ::-1],
        4: lambda m: m[::-1],
        5: lambda m: m.T,
        6: lambda m: np.rot90(m, -1),
        7: lambda m: m.T[::-1, ::-1],
        8: lambda m: np.rot90(m),
    }[orientation](mask)


def write_picture_mask(mask: np.ndarray, file: Path, orientation: int = 1) -> None:
    """
    Write a mask as a picture of grey values, the class indices, on the pixels of a picture as they are stored.

    Args:
        mask: ``(H, W)``, uint8, upright.
        file: PNG or another file without loss.
        orientation: EXIF orientation of the picture, which the mask's file does not state.

    Raises:
        OutputError: when it cannot be written.
    """
    from PIL import Image

    stored = turned(mask, {6: 8, 8: 6}.get(orientation, orientation))
    with atomic_write(file) as partial:
        Image.fromarray(np.ascontiguousarray(stored)).save(partial)


def parse_colour(text: str) -> Colour:
    """
    Return the red, green and blue of ``#ff0000`` or ``255,0,0``.

    Raises:
        ValueError: when it is not a colour.
    """
    try:
        digits = text.strip().removeprefix("#")
        if "," in digits:
            red, green, blue = (int(part) for part in digits.split(","))
        else:
            red, green, blue = bytes.fromhex(digits)
        if max(red, green, blue) > 255 or min(red, green, blue) < 0:
            raise ValueError
    except ValueError as e:
        raise ValueError(f"found the colour '{text}', expected one such as #ff0000 or 255,0,0. Correct it.") from e
    return red, green, blue


def _indices(file: Path, frame: int, max_bytes: int) -> np.ndarray:
    """Return the values of a mask: indices of a palette, grey values, or colours."""
    if not file.name.lower().endswith(TIFF_ENDINGS):
        image = opened_by_pillow(file, max_bytes)
        if image.mode == "1":
            return np.asarray(image).astype(np.uint8)
        if image.mode == "P":
            drawn = _without_transparent(np.asarray(image), image.info.get("transparency"))
            return turned(drawn, exif_orientation(image))
    else:
        from medsize.scans.pictures.tiff import page_indices

        if (indices := page_indices(file, frame)) is not None:
            return indices
    picture = read_picture(file, frame, max_bytes=max_bytes)
    if picture.alpha is None:
        return picture.pixels
    if len(levels := np.unique(picture.alpha)) > SOFT_EDGES:
        raise ValueError(
            f"{file}: found {len(levels)} values of opacity (alpha), expected pixels that are drawn or not. Save the "
            "mask without smoothing, or without transparency."
        )
    is_drawn = picture.alpha > 0
    return np.where(is_drawn if picture.pixels.ndim == 2 else is_drawn[..., None], picture.pixels, 0)


def _without_transparent(indices: np.ndarray, transparency: int | bytes | None) -> np.ndarray:
    """Return indices of a palette, those that it states as transparent as background."""
    opacities = b"" if transparency is None or isinstance(transparency, int) else transparency
    hidden = [transparency] if isinstance(transparency, int) else [i for i, n in enumerate(opacities) if n == 0]
    return np.where(np.isin(indices, hidden), 0, indices)


def _by_colour(file: Path, pixels: np.ndarray, colours: Mapping[Colour, int]) -> np.ndarray:
    codes = pixels.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], dtype=np.uint32)
    known = {(r << 16) + (g << 8) + b: index for (r, g, b), index in colours.items()}
    known.setdefault(0, 0)
    found, counts = np.unique(codes, return_counts=True)
    if unknown := sorted((-int(n), int(c)) for c, n in zip(found, counts, strict=True) if int(c) not in known):
        listed = first_few([f"#{code:06x}" for _, code in unknown], 5)
        stated = ", ".join(f"#{code:06x}" for code in known if code) or "class indices in grey or a palette"
        raise ValueError(
            f"{file}: found the colours {listed}, expected {stated}. Name each: --mask-colour STRUCTURE=#RRGGBB."
        )
    result = np.zeros(codes.shape, dtype=np.uint8)
    for code, index in known.items():
        result[codes == code] = index
    return result
