"""Clicks in scanner mm label the voxels that hold them, wherever an image was cropped, flipped or resampled to."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor
from monai.transforms import Compose, Flip, Spacing, SpatialCrop

from medsize.items import Click
from medsize.transforms import CropToRoid, DrawClicks, DrawClicksd

AFFINE = torch.tensor([[-2.0, 0, 0, 50], [0, 1.5, 0, -20], [0, 0, 4, 10], [0, 0, 0, 1]])


def image(shape: tuple[int, ...] = (20, 30, 6)) -> MetaTensor:
    return MetaTensor(torch.rand(1, *shape), affine=AFFINE)


def place(*voxel: float) -> tuple[float, float, float]:
    """Scanner mm of a voxel of :func:`image`."""
    x, y, z = (AFFINE @ torch.tensor([*voxel, 1.0]))[:3].tolist()
    return x, y, z


def point(k: int, *voxel: float) -> Click:
    return Click(k, place(*voxel), place(*voxel))


def test_a_point_labels_the_voxel_that_holds_it() -> None:
    drawn = DrawClicks()(image(), [point(2, 3.4, 7.6, 2.2), point(1, 19, 29, 5), point(1, 21, 3, 3)])
    assert drawn.dtype == torch.uint8
    assert drawn.shape == (1, 20, 30, 6)
    assert {tuple(v): int(drawn[(0, *v)]) for v in (drawn[0] != 255).nonzero().tolist()} == {
        (3, 8, 2): 2,
        (19, 29, 5): 1,
    }
    torch.testing.assert_close(drawn.affine, AFFINE.double())


def test_a_line_labels_all_voxels_between_its_ends_without_a_gap() -> None:
    drawn = DrawClicks()(image(), [Click(1, place(2, 3, 1), place(14, 9, 4))])
    voxels = (drawn[0] == 1).nonzero()
    assert voxels.min(dim=0).values.tolist() == [2, 3, 1]
    assert voxels.max(dim=0).values.tolist() == [14, 9, 4]
    ordered = voxels[voxels[:, 0].argsort(stable=True)]
    assert int((ordered[1:] - ordered[:-1]).abs().max()) == 1


@settings(deadline=None, max_examples=25)
@given(voxel=st.tuples(st.integers(4, 15), st.integers(4, 25), st.integers(1, 4)))
def test_clicks_stay_at_their_place_in_a_transformed_image(voxel: tuple[int, int, int]) -> None:
    """The intensity marks the place: after any transform the click lies where it is brightest."""
    marked = MetaTensor(torch.zeros(1, 20, 30, 6), affine=AFFINE)
    marked[(0, *voxel)] = 1
    change = Compose([SpatialCrop(roi_start=[2, 1, 0], roi_end=[18, 29, 6]), Flip(0), Spacing((1.0, 1.5, 4.0))])
    changed = change(marked)
    drawn = DrawClicks()(changed, [point(1, *voxel)])
    (at,) = (drawn[0] == 1).nonzero().tolist()
    assert float(changed[(0, *at)]) == float(changed.max())


def test_an_item_without_clicks_stays_and_scribbles_are_drawn_over() -> None:
    scribble = torch.full((1, 20, 30, 6), 255, dtype=torch.uint8)
    scribble[0, 0, 0, 0] = 3
    transform = DrawClicksd("image")
    assert transform({"image": image()}).keys() == {"image"}
    drawn = transform({"image": image(), "scribble": scribble, "clicks": (point(1, 5, 5, 5),)})
    assert drawn.keys() == {"image", "scribble"}
    assert (drawn["scribble"][0, 0, 0, 0], drawn["scribble"][0, 5, 5, 5]) == (3, 1)
    assert int(scribble[0, 5, 5, 5]) == 255


def test_clicks_survive_a_coarser_grid_and_are_lost_only_outside_a_crop() -> None:
    item = {"image": image(), "roi": {"center_mm": list(place(4, 4, 2))}, "clicks": (point(1, 4, 4, 2),)}
    cropped = CropToRoid("image", extent=[16.0, 12.0, -1])(item)
    cropped["image"] = Spacing((6.0, 6.0, 8.0))(cropped["image"])
    assert int((DrawClicksd("image")(cropped)["scribble"] == 1).sum()) == 1
    cropped["clicks"] = (point(1, 18, 25, 2),)
    assert int((DrawClicksd("image")(cropped)["scribble"] == 1).sum()) == 0


def test_a_missing_image_is_refused_unless_allowed() -> None:
    with pytest.raises(KeyError, match="image"):
        DrawClicksd("image")({"clicks": ()})
    assert DrawClicksd("image", allow_missing_keys=True)({"clicks": ()}) == {}


def test_an_image_that_does_not_tell_its_place_is_refused() -> None:
    with pytest.raises(TypeError, match="image must be a MetaTensor, as LoadImaged makes it, got Tensor"):
        DrawClicks()(torch.rand(1, 20, 30, 6), [point(1, 3, 3, 3)])
    with pytest.raises(ValueError, match=r"image must have the shape \(C, H, W, Z\), got \(1, 20, 30\)"):
        DrawClicks()(image()[..., 0], [point(1, 3, 3, 3)])
