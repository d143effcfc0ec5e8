"""Clicks, filled targets and slices."""

from __future__ import annotations

import pytest
import torch
from monai.data import DataLoader, Dataset, MetaTensor
from monai.transforms import Compose
from scipy.ndimage import distance_transform_edt

from medsize.losses import IGNORE_INDEX
from medsize.transforms import (
    ClickFromMask,
    ClickFromMaskd,
    FillMissingTargets,
    FillMissingTargetsd,
    RandSampleSlicesd,
    SizeToFractiond,
    SplitSlicesd,
)


def mask_of_two() -> torch.Tensor:
    mask = torch.zeros(1, 20, 24, 3)
    mask[:, 3:12, 4:13, :2] = 1
    mask[:, 14:17, 15:22, 1:] = 2
    return mask


def test_click_lies_deepest_inside_each_class() -> None:
    mask = mask_of_two()[..., 1]
    clicks = ClickFromMask(radius=0)(mask)
    assert clicks.dtype == torch.uint8
    for k in (0, 1, 2):
        voxels = (clicks == k).nonzero()
        assert len(voxels) == 1
        inside = torch.nn.functional.pad(mask[0] == k, (1, 1, 1, 1)).numpy()
        depth = distance_transform_edt(inside)[1:-1, 1:-1]
        assert depth[tuple(voxels[0, 1:])] == depth.max()


def test_dot_stays_inside_its_class() -> None:
    mask = mask_of_two()[..., 1]
    clicks = ClickFromMask(radius=4)(mask)
    labelled = clicks != IGNORE_INDEX
    assert (clicks[labelled] == mask[labelled]).all()
    assert int((clicks == 1).sum()) > 9


def test_click_per_slice_labels_the_classes_of_each_slice() -> None:
    clicks = ClickFromMask(radius=0, per_slice=True, include_background=False)(mask_of_two())
    found = [sorted(set(clicks[..., z].unique().tolist()) - {IGNORE_INDEX}) for z in range(3)]
    assert found == [[1], [1, 2], [2]]


def test_click_keeps_the_affine_and_goes_to_its_key() -> None:
    item = ClickFromMaskd("label")(
        {"label": MetaTensor(mask_of_two(), affine=torch.diag(torch.tensor([2.0, 2, 9, 1])))}
    )
    assert float(item["scribble"].affine[2, 2]) == 9
    assert item["label"].shape == item["scribble"].shape


def test_missing_targets_say_nothing() -> None:
    item = FillMissingTargetsd(num_classes=3)({"image": torch.zeros(2, 5, 6)})
    assert (item["label"] == IGNORE_INDEX).all()
    assert item["scribble"].shape == (1, 5, 6)
    torch.testing.assert_close(item["fraction"], torch.tensor([[0.0] * 3, [1.0] * 3]))
    with pytest.raises(ValueError, match="no target of the kind 'volume'"):
        FillMissingTargets(3)(torch.zeros(1, 2, 2), "volume")


def test_present_targets_are_kept() -> None:
    label = torch.ones(1, 5, 6)
    item = FillMissingTargetsd(num_classes=3)({"image": torch.zeros(1, 5, 6), "label": label})
    assert item["label"].dtype == torch.uint8
    assert (item["label"] == 1).all()


def volume(num_slices: int, **more: object) -> dict:
    image = MetaTensor(torch.arange(num_slices).float().expand(1, 4, 4, num_slices).clone(), affine=torch.eye(4))
    return {
        "image": image,
        "slice_area_mm2": torch.arange(num_slices).double().view(1, 1, -1).expand(2, 1, -1) / 100,
        **more,
    }


def test_sampled_slices_keep_their_sizes() -> None:
    sample = RandSampleSlicesd(["image", "slice_area_mm2"], num_slices=4)
    sample.set_random_state(0)
    item = sample(volume(9))
    assert item["image"].shape == (1, 4, 4, 4)
    areas = item["slice_area_mm2"][0, 0]
    torch.testing.assert_close(item["image"][0, 0, 0].double(), areas * 100, check_dtype=False)
    assert len(item["image"][0, 0, 0].unique()) == 4
    assert sample(volume(3))["image"].shape[-1] == 3


def test_slices_of_several_volumes_make_one_batch() -> None:
    pipeline = Compose(
        [
            SizeToFractiond(allow_missing_keys=True),
            SplitSlicesd(["image", "fraction", "scribble"], group_key="group", allow_missing_keys=True),
            FillMissingTargetsd(num_classes=2),
        ]
    )
    without_size = volume(2, scribble=MetaTensor(torch.zeros(1, 4, 4, 2)))
    del without_size["slice_area_mm2"]
    dataset = Dataset([volume(3), without_size], pipeline)
    batch = next(iter(DataLoader(dataset, batch_size=2)))
    assert batch["image"].shape == (5, 1, 4, 4)
    assert batch["group"].unique_consecutive(return_counts=True)[1].tolist() == [3, 2]
    torch.testing.assert_close(
        batch["fraction"][2, 0, 1].double(), torch.tensor(0.02 / 16, dtype=torch.float64), rtol=1e-5, atol=0
    )
    torch.testing.assert_close(batch["fraction"][3:, 1], torch.ones(2, 2))
    assert batch["scribble"].float().mean(dim=(1, 2, 3)).tolist() == [255, 255, 255, 0, 0]


def test_a_volume_that_is_drawn_twice_makes_two_groups() -> None:
    split = SplitSlicesd("image", shared_keys=("fraction",), group_key="group")
    groups = [{item["group"] for item in split(volume(3))} for _ in range(2)]
    assert [len(group) for group in groups] == [1, 1]
    assert groups[0] != groups[1]


def test_slices_of_unlike_number_are_refused() -> None:
    item = {"image": MetaTensor(torch.rand(1, 4, 4, 6)), "slice_area_mm2": torch.ones(2, 1, 5)}
    keys = ["image", "slice_area_mm2"]
    for transform in (RandSampleSlicesd(keys, num_slices=2), SplitSlicesd(keys)):
        with pytest.raises(ValueError, match="unlike numbers of slices, 6 of 'image', 5 of 'slice_area_mm2'"):
            transform(item)
    with pytest.raises(ValueError, match="num_slices must be at least 1, got 0"):
        RandSampleSlicesd(keys, num_slices=0)
