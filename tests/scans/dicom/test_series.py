"""Voxels of a series keep their values, however its files are written."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

pydicom = pytest.importorskip("pydicom", reason="DICOM needs pydicom: pip install 'medsize[dicom]'")

from pydicom.dataset import Dataset  # noqa: E402
from pydicom.uid import DeflatedExplicitVRLittleEndian, HTJ2KLossless, RLELossless, generate_uid  # noqa: E402

from medsize.scans.find_scans import find_scans, read_scan  # noqa: E402
from tests.dicom import COLUMNS, ROWS, SLICES, write_enhanced, write_series  # noqa: E402

STORED = 100 * np.arange(SLICES)


def inverse(folder: Path) -> None:
    change(folder, lambda dataset: setattr(dataset, "PhotometricInterpretation", "MONOCHROME1"))


def inverse_rle(folder: Path) -> None:
    inverse(folder)
    change(folder, lambda dataset: dataset.compress(RLELossless))


def inverse_without_preamble(folder: Path) -> None:
    inverse(folder)
    for file in folder.iterdir():
        pydicom.dcmwrite(file, Dataset(pydicom.dcmread(file)), implicit_vr=True, little_endian=True)


def deflate(folder: Path) -> None:
    change(folder, lambda d: setattr(d.file_meta, "TransferSyntaxUID", DeflatedExplicitVRLittleEndian))


def pack(folder: Path) -> None:
    for file in list(folder.iterdir()):
        file.with_name(f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes()))
        file.unlink()
    (folder / "notes.gz").write_bytes(b"not gzip")


def rename_in_latin_1(folder: Path) -> None:
    os.rename(os.fsencode(folder / "0.dcm"), os.fsencode(folder) + b"/f\xfcr.dcm")


def change(folder: Path, how: Callable[[Dataset], object]) -> None:
    for file in folder.iterdir():
        dataset = pydicom.dcmread(file)
        how(dataset)
        dataset.save_as(file)


@pytest.mark.parametrize(
    ("rewrite", "said"),
    [
        (inverse, "MONOCHROME1"),
        (inverse_rle, "MONOCHROME1"),
        (inverse_without_preamble, "MONOCHROME1"),
        (deflate, ""),
        (pack, ""),
        (rename_in_latin_1, ""),
    ],
)
def test_stored_values_are_kept(tmp_path: Path, rewrite: Callable[[Path], None], said: str) -> None:
    write_series(tmp_path / "ct")
    rewrite(tmp_path / "ct")
    (scan,) = find_scans(tmp_path)
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(read_scan(scan))[:, 3, 3], STORED)
    assert said in scan.note
    assert bool(said) == bool(scan.note)


@pytest.mark.parametrize(
    ("keyword", "value"),
    [("FrameOfReferenceUID", ""), ("PhotometricInterpretation", "MONOCHROME1"), (None, None)],
    ids=["without a frame of reference", "inverse", "deflated"],
)
def test_multi_frame_files_keep_their_values_too(tmp_path: Path, keyword: str | None, value: str | None) -> None:
    pytest.importorskip("highdicom", reason="multi-frame DICOM needs highdicom: pip install 'medsize[dicom]'")
    write_enhanced(tmp_path, [3.0, 9.0, 0.0, 6.0])  # in no order
    if keyword is None:
        deflate(tmp_path)
    else:
        change(tmp_path, lambda dataset: setattr(dataset, keyword, value))
    (scan,) = find_scans(tmp_path)
    array = SimpleITK.GetArrayFromImage(read_scan(scan))
    np.testing.assert_allclose(array[:, 5, 5], np.array([200, 0, 300, 100]) / 2 - 1000)
    assert bool(scan.note) == (value == "MONOCHROME1")


def test_enhanced_images_of_one_frame_each_are_a_series(tmp_path: Path) -> None:
    write_enhanced(tmp_path, [0.0, 3.0, 6.0])
    whole = pydicom.dcmread(tmp_path / "enhanced.dcm")
    frames, pixels = list(whole.PerFrameFunctionalGroupsSequence), np.frombuffer(whole.PixelData, np.uint16)
    for frame, stored in zip(frames, pixels.reshape(3, -1), strict=True):
        whole.NumberOfFrames, whole.PerFrameFunctionalGroupsSequence = 1, [frame]
        whole.PixelData, whole.SOPInstanceUID = stored.tobytes(), generate_uid()
        whole.save_as(tmp_path / f"{whole.SOPInstanceUID}.dcm")
    (tmp_path / "enhanced.dcm").unlink()
    (scan,) = find_scans(tmp_path)
    image = read_scan(scan)
    assert (image.GetSize(), image.GetSpacing()) == ((COLUMNS, ROWS, 3), (0.75, 1.5, 3.0))
    np.testing.assert_allclose(SimpleITK.GetArrayFromImage(image)[:, 5, 5], np.array([0, 100, 200]) / 2 - 1000)


def mosaic(dataset: Dataset) -> None:
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"]


def mosaic_by_its_tiles(dataset: Dataset) -> None:
    dataset.private_block(0x0019, "SIEMENS MR HEADER", create=True).add_new(0x0A, "US", 12)


def palette(dataset: Dataset) -> None:
    dataset.PhotometricInterpretation = "PALETTE COLOR"


def unknown_syntax(dataset: Dataset) -> None:
    dataset.compress(RLELossless)
    dataset.file_meta.TransferSyntaxUID = HTJ2KLossless


RED, GREY = (200, 30, 90), (77, 77, 77)


def rgb(dataset: Dataset) -> None:
    pixels = np.full((ROWS, COLUMNS, 3), GREY, np.uint8)
    pixels[2, 3] = RED
    dataset.SamplesPerPixel, dataset.PlanarConfiguration, dataset.PhotometricInterpretation = 3, 0, "RGB"
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.PixelRepresentation, dataset.RescaleSlope, dataset.RescaleIntercept = 7, 0, 1, 0
    dataset.PixelData = pixels.tobytes()


def ybr(dataset: Dataset) -> None:
    rgb(dataset)
    pixels = np.frombuffer(dataset.PixelData, np.uint8).reshape(ROWS, COLUMNS, 3)
    dataset.PixelData = pydicom.pixels.convert_color_space(pixels, "RGB", "YBR_FULL").tobytes()
    dataset.PhotometricInterpretation = "YBR_FULL"


def ybr_422(dataset: Dataset) -> None:
    ybr(dataset)
    pixels = np.frombuffer(dataset.PixelData, np.uint8).reshape(-1, 2, 3)
    shared = np.stack([pixels[:, 0, 0], pixels[:, 1, 0], *pixels[:, 1, 1:].T], axis=1)  # the pair's second, RED's
    dataset.PixelData, dataset.PhotometricInterpretation = shared.tobytes(), "YBR_FULL_422"


def compressed_rgb(dataset: Dataset) -> None:
    rgb(dataset)
    dataset.compress(RLELossless)


def coloured_palette(dataset: Dataset) -> None:
    rgb(dataset)
    pixels = np.zeros((ROWS, COLUMNS), np.uint8)
    pixels[2, 3] = 1
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "PALETTE COLOR"
    dataset.PixelData = pixels.tobytes()
    for name, values in zip(("Red", "Green", "Blue"), zip(GREY, RED, strict=True), strict=True):
        dataset.add_new(f"{name}PaletteColorLookupTableDescriptor", "US", [2, 0, 8])
        dataset.add_new(f"{name}PaletteColorLookupTableData", "OW", bytes(values))


@pytest.mark.parametrize("how", [rgb, ybr, ybr_422, compressed_rgb, coloured_palette])
def test_colours_are_read_as_their_luminance_with_a_word(tmp_path: Path, how: Callable[[Dataset], None]) -> None:
    write_series(tmp_path)
    for file in tmp_path.glob("*.dcm"):
        dataset = pydicom.dcmread(file)
        how(dataset)
        dataset.save_as(file)
    (scan,) = find_scans(tmp_path)
    assert scan.note.startswith("it is in colour")
    grey = SimpleITK.GetArrayFromImage(read_scan(scan)).astype(int)
    assert grey.shape == (SLICES, ROWS, COLUMNS)
    assert np.abs(grey[:, 2, 3] - round(0.299 * 200 + 0.587 * 30 + 0.114 * 90)).max() <= (
        1 if "ybr" in how.__name__ else 0
    )
    grey[:, 2, 2:4] = 77  # of a pair that shares its colour
    assert (grey == 77).all()


@pytest.mark.parametrize(
    ("how", "message"),
    [
        (mosaic, "is a mosaic, whose tiles are the slices"),
        (mosaic_by_its_tiles, "is a mosaic, whose tiles are the slices"),
        (palette, r"holds indices of colours \(PALETTE COLOR\)"),
        (unknown_syntax, "its transfer syntax is High-Throughput JPEG 2000"),
    ],
)
def test_what_would_be_read_wrongly_is_refused(tmp_path: Path, how: Callable[[Dataset], None], message: str) -> None:
    write_series(tmp_path)
    change(tmp_path, how)
    (scan,) = find_scans(tmp_path)
    with pytest.raises(ValueError, match=message):
        read_scan(scan)


@pytest.mark.parametrize("rewrite", [deflate, pack, lambda f: change(f, lambda d: d.compress(RLELossless))])
def test_a_compressed_slice_that_is_cut_off_is_refused(tmp_path: Path, rewrite: Callable[[Path], None]) -> None:
    write_series(tmp_path)
    rewrite(tmp_path)
    file = max(tmp_path.glob("*.dcm*"))
    file.write_bytes(file.read_bytes()[:-60])
    for scan in find_scans(tmp_path):
        with pytest.raises(ValueError, match=str(tmp_path)):
            read_scan(scan)
