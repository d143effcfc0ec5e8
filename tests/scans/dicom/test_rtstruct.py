"""Contours give the area that they enclose, and a mask of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK
from hypothesis import given
from hypothesis import strategies as st

from medsize.scans.dicom.polygons import contour_area, contour_mask
from medsize.scans.dicom.rtstruct import (
    contours_by_slice,
    held_regions,
    interpolated_slices,
    read_contours,
    volume_mask,
)
from medsize.scans.space.grid import Grid
from tests.dicom import COLUMNS, FIRST_SLICE, ROWS, SLICES, square, write_rtstruct


def rectangle(low: float, high: float, shift: float = 0.0) -> np.ndarray:
    corners = np.array([[low, low], [high, low], [high, high], [low, high]])
    return corners + np.array([shift, 0])


OUTER, HOLE, ISLAND = rectangle(1.5, 11.5), rectangle(3.5, 9.5), rectangle(5.5, 7.5)
KEYHOLE = np.concatenate([OUTER, OUTER[:1], HOLE[:1], HOLE[::-1]])


@pytest.mark.parametrize(
    ("polygons", "area"),
    [
        ([OUTER], 100),
        ([OUTER, HOLE], 100 - 36),
        ([HOLE, OUTER], 100 - 36),
        ([OUTER, HOLE[::-1]], 100 - 36),
        ([OUTER, HOLE, ISLAND], 100 - 36 + 4),
        ([KEYHOLE], 100 - 36),
        ([OUTER, rectangle(1.5, 3.5, shift=12)], 100 + 4),
        ([], 0),
    ],
    ids=["square", "hole", "hole first", "hole in reverse", "island in the hole", "keyhole", "apart", "nothing"],
)
def test_area_and_mask_agree_with_the_closed_form(polygons: list[np.ndarray], area: float) -> None:
    assert contour_area(polygons) == pytest.approx(area)
    assert contour_mask(polygons, (20, 14)).sum() == area  # the edges run between voxel centres


@given(
    corners=st.integers(3, 40),
    radius=st.floats(2, 9),
    center=st.tuples(st.floats(10, 12), st.floats(10, 12)),
    clockwise=st.booleans(),
)
def test_regular_polygon(corners: int, radius: float, center: tuple[float, float], clockwise: bool) -> None:
    angles = 2 * math.pi * np.arange(corners) / corners
    polygon = np.stack([np.cos(angles), np.sin(angles)], axis=1)[:: -1 if clockwise else 1] * radius + center
    area = corners / 2 * radius**2 * math.sin(2 * math.pi / corners)
    assert contour_area([polygon]) == pytest.approx(area)
    perimeter = 2 * corners * radius * math.sin(math.pi / corners)
    # Only voxels that the outline runs near can be counted wrongly.
    assert abs(contour_mask([polygon], (24, 24)).sum() - area) <= math.sqrt(2) * perimeter + 4


@pytest.fixture
def oblique() -> SimpleITK.Image:
    """10 × 8 × 4 voxels of 2 × 2 × 5 mm, turned about all axes."""
    image = SimpleITK.Image(10, 8, 4, SimpleITK.sitkFloat32)
    image.SetSpacing((2.0, 2.0, 5.0))
    image.SetOrigin((-30.0, 40.0, 7.0))
    turn = SimpleITK.Euler3DTransform((0.0, 0.0, 0.0), 0.3, -0.2, 0.5)
    image.SetDirection(turn.GetMatrix())
    return image


def drawn(image: SimpleITK.Image, polygon: np.ndarray, position: float) -> np.ndarray:
    """The polygon, in voxels, as patient coordinates."""
    points = [(float(x), float(y), position) for x, y in polygon]
    return np.array([image.TransformContinuousIndexToPhysicalPoint(p) for p in points])


def test_contours_are_found_on_their_slices_of_an_oblique_image(oblique: SimpleITK.Image) -> None:
    square = rectangle(1.5, 5.5)
    by_slice = contours_by_slice([drawn(oblique, square, 2), drawn(oblique, square, 1)], oblique)
    assert [len(polygons) for polygons in by_slice] == [0, 1, 1, 0]
    np.testing.assert_allclose(by_slice[2][0], square, atol=1e-9)


@pytest.mark.parametrize(
    ("polygon", "position", "message"),
    [
        (rectangle(1.5, 5.5), 1.5, "slices 1.50 to 1.50, expected at one of the image's slices"),
        (rectangle(1.5, 5.5), 4, "of slice 4, but the image has 10 × 8 × 4"),
        (rectangle(1.5, 5.5), -1, "of slice -1, but"),
        (rectangle(1.5, 5.5, shift=5), 1, r"voxels \(6.5, 1.5\) to \(10.5, 5.5\)"),
    ],
)
def test_contours_off_the_image_are_refused(
    oblique: SimpleITK.Image, polygon: np.ndarray, position: float, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        contours_by_slice([drawn(oblique, polygon, position)], oblique)


def test_a_contour_along_the_border_is_inside(oblique: SimpleITK.Image) -> None:
    border = np.array([[-0.5, -0.5], [9.5, -0.5], [9.5, 7.5], [-0.5, 7.5]])
    by_slice = contours_by_slice([drawn(oblique, border, 0)], oblique)
    assert contour_mask(by_slice[0], (10, 8)).all()


def test_planes_drawn_in_turn_are_filled_and_wide_gaps_are_not() -> None:
    assert interpolated_slices([2, 4, 6, 8]) == [3, 5, 7]
    assert interpolated_slices([2, 5, 8, 9]) == [3, 4, 6, 7]
    assert interpolated_slices([2, 3, 5, 6, 7]) == []  # a slice was forgotten, or there are two parts
    assert interpolated_slices([2, 4, 6, 12, 14, 16]) == [3, 5, 13, 15]
    assert interpolated_slices([1, 9]) == interpolated_slices([3]) == interpolated_slices([]) == []
    small, large = rectangle(5.5, 9.5), rectangle(3.5, 11.5)
    mask = volume_mask([[], [small], [], [large], [], [small], []], (20, 14))
    assert mask.sum(axis=(1, 2)).tolist() == [0, 16, 36, 64, 36, 16, 0]


CUBE = [square(1.5, 7.5, k) for k in (1, 2, 3)]


@pytest.fixture
def rtstruct(tmp_path: Path) -> Callable[..., Path]:
    def write(change: Callable[[pydicom.Dataset], object], **regions: list[list[float]]) -> Path:
        write_rtstruct(tmp_path / "RS.dcm", "1.2.3", regions)
        dataset = pydicom.dcmread(tmp_path / "RS.dcm")
        change(dataset)
        dataset.save_as(tmp_path / "RS.dcm")
        return tmp_path / "RS.dcm"

    return write


def contour(dataset: pydicom.Dataset, region: int = 1, number: int = 0) -> pydicom.Dataset:
    return dataset.ROIContourSequence[region].ContourSequence[number]


REGIONS = [
    (lambda d: delattr(d.StructureSetROISequence[1], "ROIName"), ["liver"], "1 regions without a name were left out"),
    (lambda d: setattr(d.StructureSetROISequence[1], "ROIName", " "), ["liver"], "1 regions without a name"),
    (lambda d: delattr(d.StructureSetROISequence[1], "ROINumber"), ["liver"], "without contours were left out: 'x'"),
    (lambda d: delattr(d.ROIContourSequence[1], "ContourSequence"), ["liver"], "without contours were left out: 'x'"),
    (
        lambda d: setattr(contour(d), "ContourGeometricType", "POINT"),
        ["liver"],
        "no area were left out: 'x' (POINT)",
    ),
    (lambda d: delattr(contour(d), "ContourData"), ["liver"], "'x' (without valid points)"),
    (lambda d: setattr(contour(d), "ContourData", [1, 2, 3, 4]), ["liver"], "'x' (without valid points)"),
    (lambda d: setattr(contour(d), "ContourData", [1, 2, 3, 4, 5, 3]), ["liver"], "'x' (of fewer than 3 points)"),
    (lambda d: delattr(contour(d, 0, 1), "ContourGeometricType"), ["liver", "x"], ""),
]


@pytest.mark.parametrize(("change", "names", "note"), REGIONS, ids=[note[-25:] for _, _, note in REGIONS])
def test_regions_that_enclose_nothing_are_left_out_with_a_word(
    rtstruct: Callable, change: Callable, names: list[str], note: str
) -> None:
    file = rtstruct(change, liver=CUBE, x=CUBE[:1])
    held, notes = held_regions(file)
    assert held == names
    assert note in " ".join(notes)
    assert bool(note) == bool(notes)
    assert len(read_contours(file, "liver")) == 3


def test_contours_that_are_there_twice_do_not_cancel(rtstruct: Callable) -> None:
    turned = [np.roll(np.reshape(points, (-1, 3)), 1, axis=0)[::-1].ravel().tolist() for points in CUBE]
    file = rtstruct(lambda d: None, liver=CUBE + turned)
    assert len(read_contours(file, "liver")) == 3
    assert "'liver' (3 repeated)" in held_regions(file)[1][0]


def test_slices_without_a_contour_are_told(rtstruct: Callable) -> None:
    planes = [square(1.5, 7.5, k) for k in range(6)]
    file = rtstruct(lambda d: None, liver=planes[::2], spleen=[planes[k] for k in (0, 1, 2, 4, 5)])
    grid = Grid((COLUMNS, ROWS, SLICES), (4.0, 4.0, 3.0), (0.0, 0.0, FIRST_SLICE), tuple(np.eye(3).ravel()))
    filled, empty = held_regions(file, grid)[1]
    assert filled == "slices without a contour were interpolated between others: 'liver' (slices 1, 3)"
    assert empty == "slices without a contour between others stay empty: 'spleen' (slices 3)"
