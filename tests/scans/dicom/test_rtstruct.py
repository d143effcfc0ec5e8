"""Contours give the area that they enclose, and a mask of it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import SimpleITK
from hypothesis import given
from hypothesis import strategies as st

from medsize.scans.dicom.polygons import contour_area, contour_mask
from medsize.scans.dicom.rtstruct import contours_by_slice


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
