"""A mask on other voxels than its scan's is resampled, with its own volume kept; or its place is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from scipy.ndimage import map_coordinates

from medsize.scans.masks import place_masks
from medsize.scans.resampled_mask import resampled
from medsize.scans.space.grid import Grid
from tests.dicom import write_seg, write_series

TURN = np.array([[0.36, 0.48, -0.8], [-0.8, 0.6, 0.0], [0.48, 0.64, 0.6]])  # an oblique stack
TURNS = [np.eye(3), TURN]
IMAGE = (16, 12, 8)
"""Voxels of 2 mm."""


def volume(size: tuple[int, ...], mm: float, first: np.ndarray, turn: np.ndarray) -> SimpleITK.Image:
    """An empty volume; its first voxel's centre is so many mm from the corner of the scan, along the axes."""
    image = SimpleITK.Image(size, SimpleITK.sitkUInt8)
    image.SetSpacing([mm] * 3)
    image.SetOrigin((np.array([30.0, -20.0, 7.0]) + turn @ first).tolist())
    image.SetDirection(turn.ravel().tolist())
    return image


def scan(turn: np.ndarray) -> SimpleITK.Image:
    return volume(IMAGE, 2.0, np.ones(3), turn)


def drawn(empty: SimpleITK.Image, *boxes: tuple[slice, slice, slice]) -> SimpleITK.Image:
    """Boxes of the values 1, 2, …; x, y, z."""
    values = SimpleITK.GetArrayFromImage(empty)
    for value, box in enumerate(boxes, start=1):
        values[box[::-1]] = value
    mask = SimpleITK.GetImageFromArray(values)
    mask.CopyInformation(empty)
    return mask


def array(image: SimpleITK.Image) -> np.ndarray:
    """Values in the order x, y, z."""
    return SimpleITK.GetArrayFromImage(image).T


@pytest.mark.parametrize("turn", TURNS)
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_a_box_at_half_the_resolution(tmp_path: Path, turn: np.ndarray, order: tuple[int, ...]) -> None:
    mask = drawn(volume((8, 6, 4), 4.0, np.full(3, 2.0), turn), np.s_[2:5, 1:4, 1:3])
    SimpleITK.WriteImage(SimpleITK.PermuteAxes(SimpleITK.Flip(mask, [True, False, False]), order), tmp_path / "m.nrrd")
    placed = place_masks(tmp_path / "m.nrrd", scan(turn), ["cube"])
    expected = np.zeros(IMAGE)
    expected[4:10, 2:8, 2:6] = 1
    expected[np.ix_([4, 9], [2, 7], [2, 5])] = 0  # 0.75³ of a corner is inside, less than a half
    np.testing.assert_array_equal(array(placed.labels), expected)
    assert placed.own_mm3 == {"cube": pytest.approx(3 * 3 * 2 * 64.0)}


@pytest.mark.parametrize("turn", TURNS)
def test_a_box_at_twice_the_resolution(tmp_path: Path, turn: np.ndarray) -> None:
    mask = drawn(volume((32, 24, 16), 1.0, np.full(3, 0.5), turn), np.s_[4:10, 3:9, 0:7])
    SimpleITK.WriteImage(mask, tmp_path / "mask.mha")
    placed = place_masks(tmp_path / "mask.mha", scan(turn), ["cube"])
    expected = np.zeros(IMAGE)
    expected[2:5, 1:5, 0:4] = 1  # half of the outer voxels along y and z
    expected[:, [1, 4], 3] = 0  # a quarter
    np.testing.assert_array_equal(array(placed.labels), expected)
    assert placed.own_mm3 == {"cube": pytest.approx(6 * 6 * 7.0)}


@pytest.mark.parametrize("turn", TURNS)
def test_a_grid_that_is_shifted_by_half_a_voxel(tmp_path: Path, turn: np.ndarray) -> None:
    mask = drawn(volume(IMAGE, 2.0, np.array([2.0, 1.0, 1.0]), turn), np.s_[3:6, 2:4, 0:2], np.s_[6:9, 2:4, 0:2])
    SimpleITK.WriteImage(mask, tmp_path / "mask.nii.gz")
    placed = place_masks(tmp_path / "mask.nii.gz", scan(turn), ["a", "b"])
    expected = np.zeros(IMAGE)
    expected[3:7, 2:4, 0:2] = 1  # of equal shares, a structure's and the first one's
    expected[7:10, 2:4, 0:2] = 2
    np.testing.assert_array_equal(array(placed.labels), expected)
    assert placed.own_mm3 == {"a": pytest.approx(12 * 8.0), "b": pytest.approx(12 * 8.0)}


def test_a_mask_that_is_oblique_to_the_scan_and_covers_a_part() -> None:
    image = scan(np.eye(3))
    to_middle = TURN.T @ [16.0, 12.0, 8.0] - 1.5 * np.array([4.0, 4.0, 2.5])
    mask = drawn(volume((9, 8, 7), 1.5, to_middle, TURN), np.s_[2:7, 1:8, 1:5])
    to_mask = np.linalg.inv(Grid.of(mask).affine) @ Grid.of(image).affine
    places = to_mask[:3, :3] @ np.indices(IMAGE).reshape(3, -1) + to_mask[:3, 3:]
    expected = map_coordinates(array(mask).astype(float), places, order=1, cval=0.0, mode="grid-constant") >= 0.5 - 1e-9
    inside = resampled(mask, Grid.of(image)).T
    assert 40 < inside.sum() < 80  # 140 voxels of 1.5 mm are 59 of 2 mm
    np.testing.assert_array_equal(inside, expected.reshape(IMAGE))


def test_where_several_structures_meet_the_largest_share_counts() -> None:
    image = volume((3, 3, 1), 2.0, np.ones(3), np.eye(3))
    mask = volume((6, 6, 2), 1.0, np.full(3, 0.5), np.eye(3))
    values = np.zeros((2, 6, 6), np.uint8)
    values[:, 0:2, 0:2] = [[1, 1], [2, 0]]  # a half, a quarter, a quarter
    values[:, 0:2, 2:4] = [[1, 2], [3, 0]]  # four quarters
    values[:, 2:4, 0:2] = [[3, 0], [0, 0]]
    values[:, 2:4, 2:4] = [[3, 1], [2, 2]]
    mask = SimpleITK.GetImageFromArray(values)
    mask.CopyInformation(volume((6, 6, 2), 1.0, np.full(3, 0.5), np.eye(3)))
    np.testing.assert_array_equal(resampled(mask, Grid.of(image))[0], [[1, 1, 0], [0, 2, 0], [0, 0, 0]])


def test_all_readers_resample_alike(tmp_path: Path) -> None:
    """A scan on every second row and column, and its masks on all of them."""
    write_series(tmp_path / "scan")
    liver, lesion = np.zeros((2, 6, 10, 12), dtype=bool)
    liver[1:4, 2:8, 2:7] = True
    lesion[2:4, 2:6, 7:11] = True
    write_seg(tmp_path / "seg.dcm", tmp_path / "scan", {"liver": liver, "lesion": lesion})
    like = SimpleITK.Image([12, 10, 6], SimpleITK.sitkUInt8)
    like.SetSpacing([4.0, 4.0, 3.0])
    like.SetOrigin([0.0, 0.0, -20.0])
    image = like[::2, ::2]
    for name, values in (("liver", liver), ("lesion", lesion), ("both", liver + 2 * lesion)):
        mask = SimpleITK.GetImageFromArray(values.astype(np.uint8))
        mask.CopyInformation(like)
        SimpleITK.WriteImage(mask, tmp_path / f"{name}.nii.gz")
    for value, name in ((1, "liver"), (2, "lesion")):
        mask[f"Segment{value}_Name"], mask[f"Segment{value}_LabelValue"] = name, str(value)
    SimpleITK.WriteImage(mask, tmp_path / "both.seg.nrrd")
    expected = (liver + 2 * lesion)[:, ::2, ::2]
    own = {"liver": liver.sum() * 48.0, "lesion": lesion.sum() * 48.0}
    files = {name: tmp_path / f"{name}.nii.gz" for name in own}
    for source in (tmp_path / "both.nii.gz", tmp_path / "both.seg.nrrd", tmp_path / "seg.dcm", files):
        placed = place_masks(source, image, list(own))
        np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(placed.labels), expected)
        assert placed.own_mm3 == own


def test_overlap_is_told_in_the_masks_own_voxels(tmp_path: Path) -> None:
    empty = volume((8, 6, 4), 4.0, np.full(3, 2.0), np.eye(3))
    boxes = {"organ": np.s_[2:6, 1:5, 1:3], "lesion": np.s_[5:7, 1:5, 1:3]}
    files = {name: tmp_path / f"{name}.nrrd" for name in boxes}
    for name, box in boxes.items():
        SimpleITK.WriteImage(drawn(empty, box), files[name])
    image = scan(np.eye(3))
    with pytest.raises(ValueError, match=r"lesion.nrrd: 'lesion' overlaps 'organ' in 8 voxels"):
        place_masks(files, image, list(boxes))
    own = place_masks(files, image, list(boxes), later_wins=True).own_mm3
    assert own == {"organ": 3 * 4 * 2 * 64.0, "lesion": 2 * 4 * 2 * 64.0}
    SimpleITK.WriteImage(drawn(image, np.s_[10:14, 2:10, 2:6]), files["lesion"])  # the same, on the scan's voxels
    placed = place_masks(files, image, list(boxes), later_wins=True)
    assert placed.own_mm3 == {"organ": 4 * 4 * 2 * 64.0 - (2 * 8 * 4 - 4) * 8.0}
    np.testing.assert_array_equal(array(placed.labels) == 2, array(drawn(image, np.s_[10:14, 2:10, 2:6])))
