"""DICOM pictures: the size of a pixel in ultrasound and X-ray, frames, colours, and what is left out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from medsize.scans.find_scans import find_scans
from medsize.scans.pictures.file import num_pictures, read_picture
from medsize.scans.scan import ScanKind
from tests.dicom import save, write_series

ULTRASOUND, MANY_FRAMES, RADIOGRAPH, CAPTURE, PHOTOGRAPH, FUNDUS = (
    "1.2.840.10008.5.1.4.1.1.6.1",
    "1.2.840.10008.5.1.4.1.1.3.1",
    "1.2.840.10008.5.1.4.1.1.1",
    "1.2.840.10008.5.1.4.1.1.7",
    "1.2.840.10008.5.1.4.1.1.77.1.4",
    "1.2.840.10008.5.1.4.1.1.77.1.5.1",
)
GREY = np.random.default_rng(0).integers(0, 256, (10, 14), dtype=np.uint8)
COLOUR = np.random.default_rng(1).integers(0, 256, (10, 14, 3), dtype=np.uint8)


def region(x_mm: float, y_mm: float, **changed: int) -> Dataset:
    item = Dataset()
    item.RegionSpatialFormat, item.RegionDataType = 1, 1
    item.PhysicalUnitsXDirection = item.PhysicalUnitsYDirection = 3
    item.PhysicalDeltaX, item.PhysicalDeltaY = x_mm / 10, y_mm / 10
    for keyword, value in changed.items():
        setattr(item, keyword, value)
    return item


def write(file: Path, pixels: np.ndarray, sop_class: str = CAPTURE, **attributes: Any) -> Path:
    """Write a picture of one frame, ``(H, W)`` or ``(H, W, 3)``, or of several, ``(N, H, W)``."""
    header = Dataset()
    header.PatientID, header.Modality = "MRN-1", "US"
    header.StudyInstanceUID, header.SeriesInstanceUID = generate_uid(), generate_uid()
    is_colour = pixels.shape[-1] == 3
    shape = pixels.shape[:-1] if is_colour else pixels.shape
    header.Rows, header.Columns = shape[-2:]
    if len(shape) == 3:
        header.NumberOfFrames = shape[0]
    header.SamplesPerPixel = 3 if is_colour else 1
    header.PhotometricInterpretation = "RGB" if is_colour else "MONOCHROME2"
    if is_colour:
        header.PlanarConfiguration = 0
    header.BitsAllocated = header.BitsStored = 8 * pixels.dtype.itemsize
    header.HighBit, header.PixelRepresentation = header.BitsStored - 1, 0
    content = pixels.tobytes()
    header.add_new("PixelData", "OB" if pixels.dtype.itemsize == 1 else "OW", content + bytes(len(content) % 2))
    for keyword, value in attributes.items():
        setattr(header, keyword, value)
    save(header, file, sop_class)
    return file


M_MODE = region(1, 1, RegionSpatialFormat=2)


@pytest.mark.parametrize(
    ("sop_class", "attributes", "spacing_mm"),
    [
        (ULTRASOUND, {"SequenceOfUltrasoundRegions": [region(0.2, 0.3)]}, (0.2, 0.3)),
        (
            ULTRASOUND,
            {"SequenceOfUltrasoundRegions": [region(0.2, 0.2), M_MODE]},
            (0.2, 0.2),
        ),
        (ULTRASOUND, {"SequenceOfUltrasoundRegions": [region(0.2, 0.2), region(0.1, 0.1)]}, None),
        (ULTRASOUND, {"SequenceOfUltrasoundRegions": [region(1, 1, PhysicalUnitsYDirection=4)]}, None),
        (RADIOGRAPH, {"ImagerPixelSpacing": [0.15, 0.1]}, (0.1, 0.15)),
        (RADIOGRAPH, {"ImagerPixelSpacing": [0.2, 0.2], "PixelSpacing": [0.1, 0.1]}, (0.1, 0.1)),
        (CAPTURE, {}, None),
        (PHOTOGRAPH, {}, None),
        (FUNDUS, {}, None),
    ],
)
def test_the_size_of_a_pixel_is_that_of_its_header(
    sop_class: str, attributes: dict[str, Any], spacing_mm: tuple[float, float] | None, tmp_path: Path
) -> None:
    file = write(tmp_path / "a.dcm", GREY, sop_class, **attributes)
    picture = read_picture(file)
    assert np.array_equal(picture.pixels, GREY)
    assert picture.spacing_mm == (None if spacing_mm is None else pytest.approx(spacing_mm))
    assert ("at the detector" in picture.note) == (set(attributes) == {"ImagerPixelSpacing"})
    (found,) = find_scans(tmp_path)
    assert (found.kind, found.fault, found.subject) == (ScanKind.PICTURE, "", "MRN-1")


def test_colours_inverted_and_deep_pictures(tmp_path: Path) -> None:
    assert np.array_equal(read_picture(write(tmp_path / "a.dcm", COLOUR)).pixels, COLOUR)
    inverted = write(tmp_path / "b.dcm", GREY, RADIOGRAPH, PhotometricInterpretation="MONOCHROME1")
    assert np.array_equal(read_picture(inverted).pixels, 255 - GREY)
    deep = 16 * GREY.astype(np.uint16)
    assert np.array_equal(read_picture(write(tmp_path / "c.dcm", deep, RADIOGRAPH, BitsStored=12)).pixels, deep)


def test_a_picture_is_not_said_to_be_read_as_a_volume_would_be(tmp_path: Path) -> None:
    write(tmp_path / "a.dcm", COLOUR)
    write(tmp_path / "b.dcm", GREY, RADIOGRAPH, PhotometricInterpretation="MONOCHROME1")
    found = find_scans(tmp_path)
    assert {scan.kind for scan in found} == {ScanKind.PICTURE}
    assert [scan.note for scan in found] == ["", ""]


def test_frames_of_ultrasound_are_pictures_and_a_page_says_its_number(tmp_path: Path) -> None:
    frames = np.stack([GREY, GREY[::-1], GREY[:, ::-1]])
    file = write(tmp_path / "a.dcm", frames, MANY_FRAMES)
    assert num_pictures(file) == 3
    assert np.array_equal(read_picture(file, 1).pixels, GREY[::-1])
    assert [(scan.frame, scan.source) for scan in find_scans(tmp_path)] == [(i, f"{file}#{i + 1}") for i in range(3)]
    with pytest.raises(ValueError, match=r"a\.dcm: found 3 frames, expected frame 4"):
        read_picture(file, 3)


def test_pictures_with_text_or_too_few_bytes_are_refused_and_sheets_left_out(tmp_path: Path) -> None:
    write(tmp_path / "a.dcm", GREY, ULTRASOUND, BurnedInAnnotation="YES")
    write(tmp_path / "b.dcm", GREY, ULTRASOUND, PixelData=GREY.tobytes()[:100])
    write(tmp_path / "c.dcm", GREY, SeriesDescription="Dose Report")
    text, cut, sheet = find_scans(tmp_path)
    assert "a.dcm: it has text burned into the image" in text.fault
    assert "b.dcm: it ends 40 bytes before its last pixel" in cut.fault
    assert sheet.kind is ScanKind.OTHER
    with pytest.raises(ValueError, match=r"b\.dcm: found DICOM that cannot be read as a picture"):
        read_picture(tmp_path / "b.dcm")


def test_pictures_of_a_patient_with_a_volume_are_left_out(tmp_path: Path) -> None:
    write_series(tmp_path / "ct")
    write(tmp_path / "scout.dcm", GREY)
    assert sorted(scan.kind.name for scan in find_scans(tmp_path)) == ["OTHER", "SERIES"]
    slice_file = next((tmp_path / "ct").iterdir())
    assert pydicom.dcmread(slice_file).SOPClassUID != CAPTURE
