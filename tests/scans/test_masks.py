"""Masks in any of their forms become one label map on the image's voxels, or are refused by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK

pydicom = pytest.importorskip("pydicom", reason="DICOM needs pydicom: pip install 'medsize[dicom]'")

from medsize.scans.find_scans import find_scans, read_scan  # noqa: E402
from medsize.scans.masks import place_masks, structures_held  # noqa: E402
from medsize.scans.scan import ScanKind  # noqa: E402
from tests.dicom import COLUMNS, ROWS, SLICES, square, write_rtstruct, write_seg, write_series  # noqa: E402

LIVER, LESION = np.zeros((SLICES, ROWS, COLUMNS), dtype=bool), np.zeros((SLICES, ROWS, COLUMNS), dtype=bool)
LIVER[1:4, 2:8, 2:8] = True
LIVER[2:4, 4:6, 4:6] = False  # a hole
LESION[4, 1:3, 5:11] = True
LIVER_CONTOURS = [square(1.5, 7.5, k) for k in (1, 2, 3)] + [square(3.5, 5.5, k) for k in (2, 3)]
EXPECTED = LIVER * 1 + LESION * 2
STRUCTURES = ("liver", "lesion")


@pytest.fixture
def series(tmp_path: Path) -> Path:
    write_series(tmp_path / "scan")
    return tmp_path / "scan"


@pytest.fixture
def image(series: Path) -> SimpleITK.Image:
    return read_scan(find_scans(series)[0])


def on(image: SimpleITK.Image, array: np.ndarray) -> SimpleITK.Image:
    mask = SimpleITK.GetImageFromArray(array.astype(np.uint8))
    mask.CopyInformation(image)
    return mask


def read_masks(*arguments: Any, **settings: Any) -> SimpleITK.Image:
    return place_masks(*arguments, **settings).labels


def values(mask: SimpleITK.Image) -> np.ndarray:
    return SimpleITK.GetArrayFromImage(mask)


@pytest.mark.parametrize("ending", ["nii.gz", "nrrd", "mha"])
def test_a_label_map(image: SimpleITK.Image, tmp_path: Path, ending: str) -> None:
    file = tmp_path / f"mask.{ending}"
    SimpleITK.WriteImage(on(image, EXPECTED), file)
    mask = read_masks(file, image, STRUCTURES)
    assert (mask.GetSpacing(), mask.GetOrigin(), mask.GetDirection()) == (
        image.GetSpacing(),
        image.GetOrigin(),
        image.GetDirection(),
    )
    np.testing.assert_array_equal(values(mask), EXPECTED)


def test_a_mask_beside_its_scan_by_whole_voxels_is_told(image: SimpleITK.Image, tmp_path: Path) -> None:
    mask = on(image, EXPECTED)
    for shift, note in ((0, ""), (1, f"its grid lies {image.GetSpacing()[0]:.3g} mm beside that of its scan")):
        mask.SetOrigin(image.TransformIndexToPhysicalPoint((shift, 0, 0)))
        SimpleITK.WriteImage(mask, tmp_path / "mask.nrrd")
        placed = place_masks(tmp_path / "mask.nrrd", image, STRUCTURES)
        assert placed.note.startswith(note) if note else not placed.note
        assert placed.own_mm3 == {}


def test_one_file_per_structure(image: SimpleITK.Image, tmp_path: Path) -> None:
    for name, array in (("liver", LIVER * 255), ("lesion", LESION)):
        SimpleITK.WriteImage(on(image, array), tmp_path / f"{name}.nrrd")
    files = {name: tmp_path / f"{name}.nrrd" for name in STRUCTURES}
    np.testing.assert_array_equal(values(read_masks(files, image, STRUCTURES)), EXPECTED)
    np.testing.assert_array_equal(values(read_masks(files, image, ["lesion"])), LESION)
    with pytest.raises(ValueError, match="no mask is given for 'spleen', only for liver, lesion"):
        read_masks(files, image, ["spleen"])


def test_axes_in_another_order_and_parts_of_the_image_find_their_place(image: SimpleITK.Image, tmp_path: Path) -> None:
    turned = SimpleITK.PermuteAxes(SimpleITK.Flip(on(image, EXPECTED), [True, False, True]), [2, 0, 1])
    SimpleITK.WriteImage(turned, tmp_path / "turned.nrrd")
    np.testing.assert_array_equal(values(read_masks(tmp_path / "turned.nrrd", image, STRUCTURES)), EXPECTED)
    SimpleITK.WriteImage(on(image, EXPECTED)[1:, 1:9, 1:5], tmp_path / "part.nii")
    np.testing.assert_array_equal(values(read_masks(tmp_path / "part.nii", image, STRUCTURES)), EXPECTED)


def test_contours_with_holes(series: Path, image: SimpleITK.Image, tmp_path: Path) -> None:
    frame = find_scans(series)[0].frame_of_reference
    lesion = [[*square(0.5, 2.5, 4)]]
    lesion[0][0::3] = [16 + 2, 40 + 2, 40 + 2, 16 + 2]  # x, in mm of 4 mm voxels
    write_rtstruct(tmp_path / "RS.dcm", frame, {"Liver total": LIVER_CONTOURS, "lesion": lesion, "spleen": []})
    mask = read_masks(tmp_path / "RS.dcm", image, ["Liver", "lesion"], frame)
    np.testing.assert_array_equal(values(mask), EXPECTED)


def test_segments(series: Path, image: SimpleITK.Image, tmp_path: Path) -> None:
    frame = find_scans(series)[0].frame_of_reference
    write_seg(tmp_path / "seg.dcm", series, {"other": ~LIVER, "liver": LIVER, "lesion": LESION})
    np.testing.assert_array_equal(values(read_masks(tmp_path / "seg.dcm", image, STRUCTURES, frame)), EXPECTED)


@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP"])
def test_segments_without_a_label_are_left_out_with_a_word(
    series: Path, image: SimpleITK.Image, tmp_path: Path, kind: str
) -> None:
    write_seg(tmp_path / "seg.dcm", series, {"liver": LIVER, "lesion": LESION, "x": LESION[:, ::-1]}, kind)
    assert [scan.kind for scan in find_scans(tmp_path) if scan.files[0].name == "seg.dcm"] == [ScanKind.SEGMENTS]
    dataset = pydicom.dcmread(tmp_path / "seg.dcm")
    del dataset.SegmentSequence[-1].SegmentLabel
    dataset.SegmentSequence[-2].SegmentLabel = ""
    dataset.save_as(tmp_path / "seg.dcm")
    names, notes = structures_held(tmp_path / "seg.dcm")
    assert (names, notes) == (["liver"], ["2 segments without a name (SegmentLabel) were left out"])
    np.testing.assert_array_equal(values(read_masks(tmp_path / "seg.dcm", image, ["liver"])), LIVER)


def test_of_fractions_those_from_a_half_are_inside(series: Path, image: SimpleITK.Image, tmp_path: Path) -> None:
    write_seg(tmp_path / "seg.dcm", series, {"liver": 0.6 * LIVER + 0.4 * LESION}, kind="FRACTIONAL")
    np.testing.assert_array_equal(values(read_masks(tmp_path / "seg.dcm", image, ["liver"])), LIVER)


def test_a_segment_with_gaps_between_its_slices(series: Path, image: SimpleITK.Image, tmp_path: Path) -> None:
    gaps = np.zeros_like(LIVER)
    gaps[[0, 1, 4], 3:5, 3:5] = True
    write_seg(tmp_path / "seg.dcm", series, {"liver": gaps})
    np.testing.assert_array_equal(values(read_masks(tmp_path / "seg.dcm", image, ["liver"])), gaps)


def test_structures_may_be_spread_over_dicom_files(series: Path, image: SimpleITK.Image, tmp_path: Path) -> None:
    frame = find_scans(series)[0].frame_of_reference
    write_rtstruct(tmp_path / "RS.dcm", frame, {"liver": LIVER_CONTOURS})
    write_seg(tmp_path / "seg.dcm", series, {"lesion": LESION})
    files = [tmp_path / "seg.dcm", tmp_path / "RS.dcm"]
    np.testing.assert_array_equal(values(read_masks(files, image, STRUCTURES, frame)), EXPECTED)
    with pytest.raises(ValueError, match=r"'spleen' is in 0 of the 2 files, expected in one. They hold: .*lesion"):
        read_masks(files, image, ["spleen"])


def test_overlap_is_refused_or_the_later_structure_wins(series: Path, image: SimpleITK.Image, tmp_path: Path) -> None:
    inner = np.zeros_like(LIVER)
    inner[1, 3:6, 3:6] = True
    write_seg(tmp_path / "seg.dcm", series, {"liver": LIVER, "lesion": inner})
    with pytest.raises(ValueError, match=r"seg.dcm: 'lesion' overlaps 'liver' in 9 voxels, expected each voxel in one"):
        read_masks(tmp_path / "seg.dcm", image, STRUCTURES)
    mask = values(read_masks(tmp_path / "seg.dcm", image, STRUCTURES, later_wins=True))
    np.testing.assert_array_equal(mask, np.where(inner, 2, LIVER))


def swapped(image: SimpleITK.Image, file: Path) -> None:
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(EXPECTED.astype(np.uint8).transpose(0, 2, 1)), file)


def beyond(image: SimpleITK.Image, file: Path) -> None:
    mask = on(image, EXPECTED)
    mask.SetOrigin((0.0, 0.0, -20.0 + 2 * 3.0))  # two slices
    SimpleITK.WriteImage(mask, file)


def elsewhere(image: SimpleITK.Image, file: Path) -> None:
    mask = on(image, EXPECTED)
    mask.SetSpacing((2.0, 2.0, 3.0))
    SimpleITK.WriteImage(mask, file)


def beside(image: SimpleITK.Image, file: Path) -> None:
    mask = on(image, EXPECTED * 0)[:6]
    mask.SetOrigin((400.0, 0.0, -20.0))
    SimpleITK.WriteImage(mask, file)


def beyond_on_other_voxels(image: SimpleITK.Image, file: Path) -> None:
    mask = on(image, EXPECTED)[::2, ::2]
    mask.SetOrigin((-16.0, 0.0, -20.0))
    SimpleITK.WriteImage(mask, file)


def without_a_place(image: SimpleITK.Image, file: Path) -> None:
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(np.ones((4, 4, 4), np.uint8)), file)


def with_other_values(image: SimpleITK.Image, file: Path) -> None:
    SimpleITK.WriteImage(on(image, EXPECTED * 3), file)


def with_nan(image: SimpleITK.Image, file: Path) -> None:
    SimpleITK.WriteImage(SimpleITK.Cast(on(image, EXPECTED), SimpleITK.sitkFloat32) * float("nan"), file)


def beyond_classes(image: SimpleITK.Image, file: Path) -> None:
    SimpleITK.WriteImage(SimpleITK.Cast(on(image, EXPECTED), SimpleITK.sitkFloat32) * 1e30, file)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (swapped, "10 × 12 × 6 voxels .* the image has 12 × 10 × 6 voxels .* Were its axes swapped"),
        (
            elsewhere,
            "12 × 10 × 6 voxels of 2 × 2 × 3 mm .* It has as many, but elsewhere. Save the mask on the grid of",
        ),
        (beside, "it lies beside the image: it has 6 × 10 × 6 voxels .* from .400.00, .* the image has 12 × 10 × 6"),
        (
            beyond_on_other_voxels,
            "reaches out of the image: it has 6 × 5 × 6 voxels of 8 × 8 × 3 mm .* the image has 12",
        ),
        (without_a_place, "states no place in space: it has 4 × 4 × 4 voxels of 1 × 1 × 1 mm .* the image has 12 × 10"),
        (beyond, "reaches out of the image. Was it drawn on another series"),
        (with_other_values, r"holds the values \[3, 6\], expected the classes 0 background, 1 liver, 2 lesion. Name a"),
        (with_nan, "NaN or infinite, expected class indices"),
        (beyond_classes, r"holds values up to 2e\+30, expected class indices"),
    ],
)
def test_each_fault_of_a_label_map_is_named(
    image: SimpleITK.Image, tmp_path: Path, write: Callable, message: str
) -> None:
    write(image, tmp_path / "mask.nrrd")
    with pytest.raises(ValueError, match=rf"mask.nrrd: .*{message}"):
        read_masks(tmp_path / "mask.nrrd", image, STRUCTURES)


def test_each_fault_of_a_dicom_mask_is_named(series: Path, image: SimpleITK.Image, tmp_path: Path) -> None:
    frame = find_scans(series)[0].frame_of_reference
    seg, rtstruct = tmp_path / "seg.dcm", tmp_path / "RS.dcm"
    write_seg(seg, series, {"liver left": LIVER, "liver right": LESION})
    with pytest.raises(
        ValueError, match=r"seg.dcm: 2 of its regions are named 'liver…', expected one. It holds: 'liver l"
    ):
        read_masks(seg, image, ["liver"])
    with pytest.raises(
        ValueError, match=r"seg.dcm: it was drawn in the frame of reference .* but the image is in 1.2.3"
    ):
        read_masks(seg, image, ["liver left"], "1.2.3")
    with pytest.raises(ValueError, match=r"seg.dcm: 'liver left': it reaches out of the image"):
        read_masks(seg, image[:, :, 2:], ["liver left"])
    write_seg(seg, series, {"liver": LIVER, "lesion": LESION})
    dataset = pydicom.dcmread(seg)
    dataset.PerFrameFunctionalGroupsSequence[0].SegmentIdentificationSequence[0].ReferencedSegmentNumber = 9
    dataset.save_as(seg)
    with pytest.raises(ValueError, match=r"seg.dcm: it has frames of the segments \[9\], expected only those"):
        read_masks(seg, image, ["liver"])
    write_seg(seg, series, {"liver": LIVER})
    dataset = pydicom.dcmread(seg)
    dataset.Columns -= 2
    dataset.save_as(seg)
    with pytest.raises(ValueError, match=r"seg.dcm: found \d+ bytes of pixel data, expected \d+ for \d+ frames of"):
        read_masks(seg, image, ["liver"])
    write_seg(seg, series, {"liver": LIVER})
    seg.write_bytes(seg.read_bytes()[:-50])
    with pytest.raises(ValueError, match=r"seg.dcm: it cannot be read as DICOM \(\d+ bytes\)"):
        read_masks(seg, image, ["liver"])
    write_rtstruct(rtstruct, frame, {"liver": [square(1.5, 7.5, 2.5)]})
    with pytest.raises(
        ValueError, match=r"RS.dcm: 'liver': contour 0 lies at the slices 2.50 to 2.50, expected at one"
    ):
        read_masks(rtstruct, image, ["liver"])
    write_rtstruct(rtstruct, frame, {"liver": LIVER_CONTOURS}, kind="POINT")
    with pytest.raises(ValueError, match=r"RS.dcm: 'liver' is drawn as POINT; only CLOSED_PLANAR"):
        read_masks(rtstruct, image, ["liver"])
    with pytest.raises(ValueError, match=r"0.dcm: its modality is CT, expected a mask: SEG or RTSTRUCT"):
        read_masks(series / "0.dcm", image, ["liver"])
    with pytest.raises(ValueError, match="expected 1 to 255 different names"):
        read_masks(rtstruct, image, ["liver", "liver"])


def test_real_segments_are_those_of_the_label_maps(real_scans: Path) -> None:
    folder = real_scans / "dicom_seg"
    if not folder.is_dir():
        pytest.skip(f"no DICOM SEG at {folder}")
    (scan,) = (scan for scan in find_scans(folder) if scan.kind is ScanKind.SERIES)
    image, frame = read_scan(scan), scan.frame_of_reference
    liver = values(read_masks(folder / "liver.dcm", image, ["Liver"], frame))
    assert liver.sum() == 107098
    np.testing.assert_array_equal(liver, values(read_masks(folder / "liver_seg.nrrd", image, ["Liver"])))
    names = ["GREEN", "ORANGE", "PURPLE", "LIGHT_BLUE", "DARK_BLUE"]
    for index, (name, number) in enumerate(zip(names, (1, 2, 3, 1, 1), strict=True), start=1):
        mask = values(read_masks(folder / "partial_overlaps.dcm", image, [name], frame))
        labels = values(read_masks(folder / f"partial_overlaps-{number}.nrrd", image, names))
        np.testing.assert_array_equal(mask == 1, labels == index)
    with pytest.raises(ValueError, match=r"'ORANGE' overlaps 'GREEN' in 3017 voxels"):
        read_masks(folder / "partial_overlaps.dcm", image, names)


@pytest.mark.parametrize("scan_of", ["STS_001/MR_T1", "STS_002/CT"])
def test_real_contours_enclose_the_reference_masks(real_scans: Path, scan_of: str) -> None:
    folder = real_scans / "IBSI_STS" / scan_of
    if not folder.is_dir():
        pytest.skip(f"no soft-tissue sarcoma at {folder}")
    (scan,) = find_scans(folder / "image")
    image = read_scan(scan)
    rtstructs = [mask.files[0] for mask in find_scans(folder / "mask")]
    mask = values(read_masks(rtstructs, image, ["GTV_Mass"], scan.frame_of_reference)) > 0
    reference = values(read_masks(folder / "reference_mask.nii.gz", image, ["GTV_Mass"])) > 0
    assert 2 * (mask & reference).sum() / (mask.sum() + reference.sum()) > 0.99
