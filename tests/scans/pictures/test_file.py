"""Pictures are read as they are shown; the size of a pixel is known only where a file states it in space."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import tifffile
from PIL import Image

from medsize.scans.pictures.file import (
    Picture,
    num_pictures,
    read_picture,
    write_picture,
)

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (20, 30), dtype=np.uint8)
COLOUR = RNG.integers(0, 256, (20, 30, 3), dtype=np.uint8)
DEEP = RNG.integers(0, 4096, (20, 30), dtype=np.uint16)
OME = {"axes": "YX", "PhysicalSizeX": 0.5, "PhysicalSizeXUnit": "µm", "PhysicalSizeY": 0.5, "PhysicalSizeYUnit": "µm"}
GEO = [(33550, "d", 3, (0.5, 0.5, 0.0), True), (34735, "H", 8, (1, 1, 0, 1, 3072, 0, 1, 32633), True)]


def save(file: Path, pixels: np.ndarray, mode: str | None = None, **options: Any) -> Path:
    """Write a picture by tifffile or, for another ending or a compression of Pillow's, by Pillow."""
    if file.suffix == ".tif" and not isinstance(options.get("compression"), str):
        tifffile.imwrite(file, pixels, **options)
        return file
    image = Image.fromarray(pixels)
    image = image.quantize(200) if mode == "P" else image.convert(mode) if mode else image
    image.save(file, **options)
    return file


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.gif", "a.tif"])
def test_grey_and_colour_are_read_as_stored(name: str, tmp_path: Path) -> None:
    assert np.array_equal(read_picture(save(tmp_path / name, GREY)).pixels, GREY)
    if name != "a.gif":
        assert np.array_equal(read_picture(save(tmp_path / name, COLOUR)).pixels, COLOUR)


def test_grey_that_is_stored_as_colour_becomes_one_channel(tmp_path: Path) -> None:
    smooth = np.tile(np.arange(0, 240, 8, dtype=np.uint8), (20, 1))
    for name in ("a.png", "a.jpg"):
        picture = read_picture(save(tmp_path / name, np.repeat(smooth[..., None], 3, axis=-1)))
        assert picture.channels == 1
        assert np.allclose(picture.pixels.astype(int), smooth, atol=3)


def test_palettes_become_what_they_show_and_alpha_is_dropped(tmp_path: Path) -> None:
    shown = np.asarray(Image.fromarray(COLOUR).quantize(200).convert("RGB"))
    for name in ("a.png", "a.tif"):
        file = save(tmp_path / name, COLOUR, "P", **({"compression": "raw"} if name == "a.tif" else {}))
        assert np.array_equal(read_picture(file).pixels, shown)
    picture = read_picture(save(tmp_path / "b.png", np.dstack([COLOUR, GREY])))
    assert np.array_equal(picture.pixels, COLOUR)
    assert "alpha" in picture.note


@pytest.mark.parametrize("orientation", [2, 3, 6, 8])
def test_the_orientation_of_exif_is_applied_and_said(orientation: int, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = read_picture(save(tmp_path / "a.png", GREY, exif=exif))
    turned = {2: GREY[:, ::-1], 3: GREY[::-1, ::-1], 6: np.rot90(GREY, -1), 8: np.rot90(GREY)}[orientation]
    assert np.array_equal(picture.pixels, turned)
    assert (picture.orientation, f"orientation {orientation}" in picture.note) == (orientation, True)


def test_sixteen_bits_stay_sixteen(tmp_path: Path) -> None:
    for name in ("a.png", "a.tif"):
        pixels = read_picture(save(tmp_path / name, DEEP)).pixels
        assert pixels.dtype == np.uint16
        assert np.array_equal(pixels, DEEP)


@pytest.mark.parametrize("compression", ["tiff_lzw", "jpeg", "tiff_deflate", "packbits"])
def test_tiff_of_any_usual_compression(compression: str, tmp_path: Path) -> None:
    pixels = read_picture(save(tmp_path / "a.tif", COLOUR, compression=compression)).pixels
    assert compression == "jpeg" or np.array_equal(pixels, COLOUR)
    assert pixels.shape == COLOUR.shape


def test_kinds_of_tiff(tmp_path: Path) -> None:
    planes = save(tmp_path / "a.tif", np.moveaxis(COLOUR, -1, 0), photometric="rgb", planarconfig="separate")
    assert np.array_equal(read_picture(planes).pixels, COLOUR)
    white = read_picture(save(tmp_path / "b.tif", GREY, photometric="miniswhite"))
    assert np.array_equal(white.pixels, 255 - GREY)
    pages = save(tmp_path / "c.tif", np.stack([GREY, GREY.T.reshape(20, 30)]), photometric="minisblack")
    assert num_pictures(pages) == 2
    assert np.array_equal(read_picture(pages, 1).pixels, GREY.T.reshape(20, 30))
    with pytest.raises(ValueError, match=r"c\.tif: found 2 pages, expected page 3"):
        read_picture(pages, 2)
    with tifffile.TiffWriter(tmp_path / "d.tif") as pyramid:
        pyramid.write(COLOUR, subifds=0, photometric="rgb")
        pyramid.write(COLOUR[::2, ::2], subfiletype=1, photometric="rgb")
    assert num_pictures(tmp_path / "d.tif") == 1


@pytest.mark.parametrize(
    ("options", "pixel_mm"),
    [
        ({}, None),
        ({"resolution": (72, 72), "resolutionunit": "INCH"}, None),
        ({"resolution": (300 / 2.54, 300 / 2.54), "resolutionunit": "CENTIMETER"}, None),
        ({"resolution": (4000, 4000), "resolutionunit": "CENTIMETER"}, 0.0025),
        ({"imagej": True, "resolution": (2, 2), "metadata": {"unit": "um"}}, 0.0005),
        ({"imagej": True, "resolution": (2, 2), "metadata": {"unit": "pixel"}}, None),
        ({"ome": True, "metadata": OME}, 0.0005),
        ({"extratags": GEO}, 500.0),
        ({"description": "Aperio Image Library v1|AppMag = 20|MPP = 0.5"}, 0.0005),
    ],
)
def test_a_resolution_counts_only_in_space(options: dict[str, Any], pixel_mm: float | None, tmp_path: Path) -> None:
    picture = read_picture(save(tmp_path / "a.tif", GREY, **options))
    assert picture.pixel_mm == (None if pixel_mm is None else pytest.approx(pixel_mm))
    assert ("print" in picture.note) == ("resolutionunit" in options and pixel_mm is None)


def test_the_resolution_of_png_is_of_print_and_a_stated_pixel_counts(tmp_path: Path) -> None:
    file = save(tmp_path / "a.png", GREY, dpi=(254, 254))
    assert read_picture(file).pixel_mm is None
    assert read_picture(file, pixel_mm=0.2).spacing_mm == (0.2, 0.2)


def test_what_cannot_be_used_is_refused_by_name(tmp_path: Path) -> None:
    whole = save(tmp_path / "a.jpg", COLOUR).read_bytes()
    deep = save(tmp_path / "a.tif", GREY).read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "cut.tif").write_bytes(deep[:-300])
    last = save(tmp_path / "b.tif", GREY, compression="tiff_lzw").read_bytes()
    (tmp_path / "cut_lzw.tif").write_bytes(last[: len(last) * 2 // 3])
    (tmp_path / "none.png").write_bytes(b"")
    (tmp_path / "none.tif").write_bytes(b"text")
    save(tmp_path / "cmyk.jpg", COLOUR, "CMYK")
    save(tmp_path / "cmyk.tif", np.dstack([COLOUR, GREY]), photometric="separated")
    save(tmp_path / "real.tif", GREY + np.float32(0.5))
    save(tmp_path / "moves.gif", GREY, save_all=True, append_images=[Image.fromarray(255 - GREY)])
    save(tmp_path / "moves.png", GREY, save_all=True, append_images=[Image.fromarray(255 - GREY)])
    expected = {
        "cut.jpg": "cut off or broken .*Copy it again",
        "cut.tif": "cut off or broken .*Copy it again",
        "cut_lzw.tif": "cut off or broken .*Copy it again",
        "none.png": "cut off or broken",
        "none.tif": "cut off or broken",
        "cmyk.jpg": "found the colours CMYK, expected grey or RGB. Convert",
        "cmyk.tif": "found the colours CMYK, expected grey or RGB. Convert",
        "real.tif": "found pixels of the type float32 from .*, expected 8 or 16 bits",
        "moves.gif": "found 2 frames of an animation, expected one picture",
        "moves.png": "found 2 frames of an animation, expected one picture",
    }
    for name, message in expected.items():
        with pytest.raises(ValueError, match=f"{name}: found .*expected") as refused:
            read_picture(tmp_path / name)
        assert refused.match(message)
    with pytest.raises(ValueError, match="expected at most"):
        read_picture(save(tmp_path / "b.png", GREY), max_bytes=100)


def test_a_picture_becomes_one_upright_slice(tmp_path: Path) -> None:
    file = tmp_path / "a.nii.gz"
    write_picture(Picture(COLOUR, (0.2, 0.3)), file)
    written = nibabel.load(file)
    assert (written.shape, written.get_data_dtype()) == ((30, 20, 1, 3), np.uint8)
    assert written.header.get_zooms()[:3] == pytest.approx((0.2, 0.3, 1))
    assert written.header.get_xyzt_units()[0] == "mm"
    assert np.array_equal(np.asarray(written.dataobj)[7, 5, 0], COLOUR[5, 7])
    assert nibabel.aff2axcodes(written.affine) == ("L", "P", "S")  # as radiologists look at an axial slice
    write_picture(Picture(GREY), file, channels=3)
    written = nibabel.load(file)
    assert written.header.get_xyzt_units()[0] == "unknown"
    assert np.array_equal(np.asarray(written.dataobj)[..., 0, 2], GREY.T)
    write_picture(Picture(COLOUR), file, channels=1)
    assert nibabel.load(file).shape == (30, 20, 1)
