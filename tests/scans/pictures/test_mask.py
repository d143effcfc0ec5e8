"""Masks that are pictures: indices, palettes and colours; what is blurred is refused unless a threshold is given."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps

from medsize.scans.pictures.mask import parse_colour, read_picture_mask, turned

LABELS = np.kron(np.array([[0, 1, 2], [3, 0, 1]], dtype=np.uint8), np.ones((8, 8), dtype=np.uint8))
COLOURS = {(255, 0, 0): 1, (0, 255, 0): 2, (0, 0, 255): 3}
PAINTED = np.array([(0, 0, 0), *COLOURS], dtype=np.uint8)[LABELS]


def test_indices_are_read_from_grey_palettes_and_bits(tmp_path: Path) -> None:
    Image.fromarray(LABELS).save(tmp_path / "a.png")
    palette = Image.fromarray(LABELS, mode="P")
    palette.putpalette([200, 10, 30, 0, 0, 0, 9, 9, 9, 1, 2, 3])
    palette.save(tmp_path / "b.png")
    tifffile.imwrite(tmp_path / "c.tif", LABELS)
    palette.save(tmp_path / "d.tif")
    for name in ("a.png", "b.png", "c.tif", "d.tif"):
        assert np.array_equal(read_picture_mask(tmp_path / name), LABELS)
    Image.fromarray(LABELS > 0).save(tmp_path / "e.png")
    tifffile.imwrite(tmp_path / "f.tif", LABELS > 0)
    for name in ("e.png", "f.tif"):
        assert np.array_equal(read_picture_mask(tmp_path / name), LABELS > 0)


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "group4"])
def test_bits_whose_0_is_white_are_read_as_stored_by_any_compression(tmp_path: Path, compression: str | None) -> None:
    file = tmp_path / "a.tif"
    Image.fromarray(LABELS > 0).save(file, compression=compression, tiffinfo={262: 0})
    with tifffile.TiffFile(file) as tiff:
        assert tiff.pages.first.photometric == tifffile.PHOTOMETRIC.MINISWHITE
    stored = read_picture_mask(file)
    file.write_bytes(b"")
    tifffile.imwrite(file, LABELS == 0, photometric="miniswhite")
    assert np.array_equal(stored, read_picture_mask(file))


def test_an_orientation_that_exif_does_not_know_turns_nothing(tmp_path: Path) -> None:
    palette, exif = Image.fromarray(LABELS, mode="P"), Image.Exif()
    palette.putpalette([200, 10, 30, 0, 0, 0, 9, 9, 9, 1, 2, 3])
    exif[0x0112] = 9
    palette.save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(read_picture_mask(tmp_path / "a.png"), LABELS)


def test_colours_need_a_table_and_unknown_ones_are_named(tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    Image.fromarray(PAINTED).save(file)
    assert np.array_equal(read_picture_mask(file, COLOURS), LABELS)
    with pytest.raises(ValueError, match=r"a\.png: found the colours #ff0000, #0000ff, #00ff00, expected .*Name each"):
        read_picture_mask(file)
    with pytest.raises(ValueError, match="found the colours #0000ff, expected #ff0000, #00ff00"):
        read_picture_mask(file, {(255, 0, 0): 1, (0, 255, 0): 2})
    assert parse_colour("#ff8000") == parse_colour("255, 128, 0") == (255, 128, 0)
    with pytest.raises(ValueError, match="found the colour 'red', expected one such as #ff0000"):
        parse_colour("red")


def test_a_mask_saved_as_jpeg_is_refused_or_cut_at_a_threshold(tmp_path: Path) -> None:
    file, inside = tmp_path / "a.jpg", LABELS > 0
    Image.fromarray(inside.astype(np.uint8) * 255).resize((50, 30)).save(file)
    with pytest.raises(ValueError, match=r"a\.jpg: found \d+ values, .*of JPEG.*expected class indices.*threshold"):
        read_picture_mask(file)
    Image.fromarray(inside.astype(np.uint8) * 255).save(file)
    assert np.array_equal(read_picture_mask(file, threshold=128), inside)
    Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16)).save(tmp_path / "b.png")
    with pytest.raises(ValueError, match="soft edges"):
        read_picture_mask(tmp_path / "b.png")


def test_transparent_pixels_of_a_mask_are_background(tmp_path: Path) -> None:
    inside = LABELS > 0
    white = np.full((*LABELS.shape, 4), 255, dtype=np.uint8)
    white[..., 3] = 128 * inside
    painted = np.dstack([PAINTED, 255 * (LABELS == 1).astype(np.uint8)])
    Image.fromarray(white).save(tmp_path / "a.png")
    tifffile.imwrite(tmp_path / "a.tif", white, photometric="rgb", extrasamples=["unassalpha"])
    Image.fromarray(painted).save(tmp_path / "b.png")
    for name in ("a.png", "a.tif"):
        assert np.array_equal(read_picture_mask(tmp_path / name), 255 * inside)
    assert np.array_equal(read_picture_mask(tmp_path / "b.png", COLOURS), LABELS == 1)
    white[..., 3] = 0
    Image.fromarray(white).save(tmp_path / "e.png")
    assert not read_picture_mask(tmp_path / "e.png").any()
    palette = Image.fromarray(LABELS, mode="P")
    palette.putpalette([200, 10, 30, 0, 0, 0, 9, 9, 9, 1, 2, 3])
    palette.save(tmp_path / "p.png", transparency=3)
    assert np.array_equal(read_picture_mask(tmp_path / "p.png"), np.where(LABELS == 3, 0, LABELS))
    white[..., 3] = np.arange(LABELS.size).reshape(LABELS.shape) % 200
    Image.fromarray(white).save(tmp_path / "c.png")
    with pytest.raises(
        ValueError, match=r"c\.png: found 200 values of opacity \(alpha\), expected pixels that are drawn"
    ):
        read_picture_mask(tmp_path / "c.png")


def test_a_threshold_for_others_keeps_a_mask_of_0_and_1_and_tells(tmp_path: Path) -> None:
    inside, notes = (LABELS > 0).astype(np.uint8), list[str]()
    Image.fromarray(inside).save(tmp_path / "a.png")
    assert np.array_equal(read_picture_mask(tmp_path / "a.png", threshold=128, notes=notes), inside)
    assert notes == ["it holds 0 and 1 alone, taken for the classes whatever the threshold of 128"]
    Image.fromarray(LABELS).save(tmp_path / "b.png")
    assert not read_picture_mask(tmp_path / "b.png", threshold=128, notes=notes).any()
    assert len(notes) == 1


def test_a_mask_is_turned_as_exif_shows_it() -> None:
    for orientation in range(1, 9):
        image = Image.fromarray(LABELS)
        image.getexif()[0x0112] = orientation
        assert np.array_equal(turned(LABELS, orientation), np.asarray(ImageOps.exif_transpose(image)))
