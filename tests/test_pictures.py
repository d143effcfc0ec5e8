"""Slices are drawn at their shape in mm, and each class is outlined in its own colour."""

from __future__ import annotations

import base64
from io import BytesIO

import matplotlib.colors
import matplotlib.image
import numpy as np
import pytest

from medsize.pictures import COLOURS, data_url, fullest_slice, slice_png


def pixels(png: bytes) -> np.ndarray:
    """Rows from the top, RGB in [0, 1]."""
    return matplotlib.image.imread(BytesIO(png), format="png")[..., :3]


def has_colour(picture: np.ndarray, colour: str) -> np.ndarray:
    return np.abs(picture - matplotlib.colors.to_rgb(colour)).max(axis=-1) < 0.1


def test_the_slice_with_most_of_a_mask_is_shown_or_the_middle_one() -> None:
    mask = np.zeros((6, 6, 5), dtype=np.uint8)
    assert fullest_slice(mask) == 2
    mask[0, 0, 1] = 9
    mask[:2, 0, 4] = 1
    assert fullest_slice(mask) == 4


@pytest.mark.parametrize(
    ("shape", "spacing", "width_and_height"),
    [((40, 20), (1, 1), (200, 100)), ((20, 40), (2, 1), (200, 200)), ((40, 20), (1, 8), (50, 200))],
)
def test_a_picture_has_the_shape_of_the_slice_in_mm(
    shape: tuple[int, int], spacing: tuple[float, float], width_and_height: tuple[int, int]
) -> None:
    plane = np.random.default_rng(0).random(shape)
    height, width, _ = pixels(slice_png(plane, spacing=spacing, pixels=200)).shape
    assert (width, height) == width_and_height


def test_x_runs_to_the_right_and_y_upwards() -> None:
    plane = np.zeros((20, 20))
    plane[:10, :10] = 1
    picture = pixels(slice_png(plane, pixels=100))
    assert picture[75, 25].tolist() == [1, 1, 1]
    assert picture[25, 25].tolist() == picture[25, 75].tolist() == picture[75, 75].tolist() == [0, 0, 0]


def test_each_class_is_outlined_in_its_colour_even_at_the_border() -> None:
    labels = np.zeros((20, 20), dtype=np.uint8)
    labels[0:5, 5:15] = 1
    labels[10:16, 5:15] = 2
    plane = np.full((20, 20), np.nan)
    plane[0, :10] = 1.0
    picture = pixels(slice_png(plane, [(labels, "solid")], pixels=200))
    first, second = has_colour(picture, COLOURS[0]), has_colour(picture, COLOURS[1])
    assert first[50:150, :5].any(axis=1).all()  # along the left border
    assert first[50:150, 45:55].any(axis=1).all()
    assert not first[:, 60:].any()
    assert second[60:140, 95:105].any(axis=1).all()
    assert second[60:140, 155:165].any(axis=1).all()
    assert not second[70:130, 110:150].any()
    assert not has_colour(picture, COLOURS[2]).any()


def test_the_style_of_lines_tells_label_maps_apart() -> None:
    labels = np.zeros((20, 20), dtype=np.uint8)
    labels[5:15, 5:15] = 1
    solid, dashed = (
        has_colour(pixels(slice_png(np.zeros((20, 20)), [(labels, style)])), COLOURS[0]).sum()
        for style in ("solid", "dashed")
    )
    assert 0.3 * solid < dashed < 0.9 * solid


def test_a_cross_marks_a_place_in_the_colour_of_its_class() -> None:
    picture = pixels(slice_png(np.zeros((20, 20)), pixels=200, crosses=[(2, 4.5, 14.5), (1, 40, 40)]))
    across, up = np.argwhere(has_colour(picture, COLOURS[1])).mean(axis=0)[::-1]
    assert (across, 200 - up) == pytest.approx((50, 150), abs=2)
    assert not has_colour(picture, COLOURS[0]).any()  # beyond the slice, which keeps its place


def test_a_data_url_holds_the_content() -> None:
    assert base64.b64decode(data_url(b"PNG", "image/png").removeprefix("data:image/png;base64,")) == b"PNG"
