"""
Picture files: PNG, JPEG, TIFF, BMP, GIF, and DICOM pictures such as ultrasound and X-ray.

A picture becomes a scan of one slice: a NIfTI of the shape ``(W, H, 1)``, or ``(W, H, 1, 3)`` for colour. The first
axis runs to the right of the picture and the second down, so that viewers show it upright.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import nibabel
import numpy as np

from medsize.files import atomic_write
from medsize.scans.image_file import MAX_BYTES, check_memory
from medsize.scans.pictures.picture import Picture, as_picture, to_channels

__all__ = [
    "PICTURE_ENDINGS",
    "TIFF_ENDINGS",
    "Picture",
    "num_pictures",
    "picture_affine",
    "picture_nifti",
    "read_picture",
    "write_picture",
]

TIFF_ENDINGS = (".tif", ".tiff")
PICTURE_ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", *TIFF_ENDINGS)
ANIMATED = ("PNG", "GIF")
"""Formats of Pillow whose further pictures are frames of an animation; those of a JPEG (MPO) are previews."""
EXIF_ORIENTATION = 0x0112


def num_pictures(file: Path) -> int:
    """
    Return the number of pictures in a file: pages of a TIFF, frames of a DICOM file, else 1.

    Raises:
        ValueError: naming the file, when it cannot be read.
    """
    name = file.name.lower()
    if name.endswith(TIFF_ENDINGS):
        from medsize.scans.pictures.tiff import num_pages

        return num_pages(file)
    if name.endswith(PICTURE_ENDINGS):
        return 1
    from medsize.scans.pictures.dicom import num_frames

    return num_frames(file)


def read_picture(file: Path, frame: int = 0, pixel_mm: float | None = None, max_bytes: int = MAX_BYTES) -> Picture:
    """
    Read a picture, upright.

    Grey that is stored as red, green and blue becomes grey, palettes become what they show, alpha is dropped. The size
    of a pixel is read where a file states it in space: DICOM, OME-TIFF, ImageJ, GeoTIFF, and the resolution of a TIFF
    unless it is one of printers and screens. That of PNG and JPEG is of print, and never taken.

    Args:
        file: the file.
        frame: number of the page of a TIFF, or of the frame of a DICOM file.
        pixel_mm: side of a pixel, mm, whatever the file states.
        max_bytes: memory that its pixels may take.

    Raises:
        ValueError: naming the file, when it is cut off or broken, animated, larger than allowed, CMYK or of another
            kind of colour, or of other than 8 or 16 bits.
    """
    name = file.name.lower()
    try:
        if name.endswith(TIFF_ENDINGS):
            from medsize.scans.pictures.tiff import read_page

            picture = read_page(file, frame, max_bytes)
        elif name.endswith(PICTURE_ENDINGS):
            picture = _read_by_pillow(file, max_bytes)
        else:
            from medsize.scans.pictures.dicom import read_frame

            picture = read_frame(file, frame, max_bytes)
    except ValueError as e:
        text = str(e)
        raise ValueError(text if text.startswith(str(file)) else f"{file}: {text}. Save it again.") from e
    if pixel_mm is not None:
        return Picture(picture.pixels, (pixel_mm, pixel_mm), picture.note, picture.orientation)
    return picture


def picture_affine(spacing_mm: tuple[float, float] | None) -> np.ndarray:
    """Return the affine (RAS+) of a picture: x to the right, y down, a slice of 1 mm; pixels of 1 if unknown."""
    x, y = spacing_mm or (1.0, 1.0)
    return np.diag([-x, -y, 1.0, 1.0])


def picture_nifti(pixels: np.ndarray, spacing_mm: tuple[float, float] | None = None) -> nibabel.Nifti1Image:
    """Return pixels ``(H, W)`` or ``(H, W, 3)`` as NIfTI of one slice, whose unit is unknown without a spacing."""
    array = np.swapaxes(pixels, 0, 1)
    array = array[:, :, None] if array.ndim == 2 else array[:, :, None, :]
    nifti = nibabel.Nifti1Image(np.asfortranarray(array), picture_affine(spacing_mm))
    nifti.header.set_xyzt_units("unknown" if spacing_mm is None else "mm")
    return nifti


def write_picture(picture: Picture, file: str | Path, channels: int | None = None) -> None:
    """
    Write a picture as NIfTI of one slice, whole or not at all.

    Args:
        picture: the picture.
        file: ``.nii`` or ``.nii.gz``.
        channels: 1 or 3; the luminance of colours, or grey three times. Default: its own.

    Raises:
        OutputError: when it cannot be written.
    """
    pixels = to_channels(picture.pixels, channels or picture.channels)
    with atomic_write(Path(file)) as partial:
        nibabel.save(picture_nifti(pixels, picture.spacing_mm), partial)


def opened_by_pillow(file: Path, max_bytes: int = MAX_BYTES) -> Any:
    """
    Open a picture by Pillow, with all of its pixels.

    Raises:
        ValueError: naming the file, when it is cut off or broken, animated, or larger than allowed.
    """
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            image = Image.open(file)
            check_memory(file, image.size, len(image.getbands()) * (2 if "16" in image.mode else 1), max_bytes)
            if image.format in ANIMATED and (frames := getattr(image, "n_frames", 1)) > 1:
                raise ValueError(
                    f"{file}: found {frames} frames of an animation, expected one picture. Save its frames as pictures."
                )
            image.load()
        except Image.DecompressionBombError as e:
            raise ValueError(f"{file}: found too large a picture: {e} Save it as a tiled TIFF.") from e
        except (OSError, EOFError, SyntaxError, IndexError, OverflowError) as e:
            raise ValueError(
                f"{file}: found a file that is cut off or broken ({_reason(e, file)}), expected a whole picture. Copy "
                "it again from its source."
            ) from e
    return image


def exif_orientation(image: Any) -> int:
    """Return the EXIF orientation of an image of Pillow, 1 to 8; 1, upright, if it states none of these."""
    orientation = int(image.getexif().get(EXIF_ORIENTATION, 1) or 1)
    return orientation if orientation in range(1, 9) else 1


def _read_by_pillow(file: Path, max_bytes: int) -> Picture:
    from PIL import ImageOps

    image = opened_by_pillow(file, max_bytes)
    notes: list[str] = []
    orientation = exif_orientation(image)
    if orientation > 1:
        image = ImageOps.exif_transpose(image)
        notes.append(f"its EXIF orientation {orientation} was applied")
    if image.mode in ("P", "PA"):
        image = image.convert("RGBA" if "transparency" in image.info or image.mode == "PA" else "RGB")
    if image.mode in ("CMYK", "LAB", "HSV", "YCbCr"):
        raise ValueError(f"{file}: found the colours {image.mode}, expected grey or RGB. Convert it to RGB.")
    if image.mode in ("La", "RGBa", "RGBX"):
        image = image.convert("LA" if image.mode == "La" else "RGBA")
    return as_picture(np.asarray(image), None, tuple(notes), orientation)


def _reason(error: BaseException, file: Path) -> str:
    """Return the message of Pillow's error without the file's path."""
    text = (str(error) or type(error).__name__).splitlines()[0]
    return text.replace(repr(str(file)), "it").replace(str(file), "it").rstrip(".")
