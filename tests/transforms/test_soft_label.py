"""A teacher's soft labels meet the size that is known, and change as little as that needs."""

from __future__ import annotations

import warnings

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from monai.data import MetaTensor
from monai.inferers import SliceInferer
from torch import nn

from medsize.transforms import ShiftToSize, SoftLabeld

AFFINE = torch.diag(torch.tensor([2.0, 2.0, 5.0, 1.0]))


def exact(fractions: list[float]) -> torch.Tensor:
    return torch.tensor([[fractions, fractions]])


@given(st.integers(0, 2**16), st.lists(st.floats(0.01, 1.0), min_size=3, max_size=3))
def test_averages_equal_the_size_target(seed: int, parts: list[float]) -> None:
    logits = 3 * torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
    target = [p / sum(parts) for p in parts]
    soft = ShiftToSize()(logits, exact(target))
    torch.testing.assert_close(soft.mean(dim=(2, 3))[0], torch.tensor(target), atol=2e-4, rtol=0)
    torch.testing.assert_close(soft.sum(dim=1), torch.ones(1, 8, 8))


@given(st.integers(0, 2**16), st.lists(st.floats(0.02, 1.0), min_size=3, max_size=3), st.integers(1, 3))
def test_averages_lie_in_an_interval_beside_a_class_that_is_absent(seed: int, parts: list[float], absent: int) -> None:
    logits = 3 * torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(seed))
    size = torch.tensor(parts) / sum(parts)
    size = torch.cat([size[:absent], torch.zeros(1), size[absent:]])
    low, high = 0.8 * size, (1.2 * size).clamp_max(1.0)
    soft = ShiftToSize()(logits, torch.stack([low, high]).unsqueeze(0)).mean(dim=(2, 3))[0]
    assert float(soft[absent]) == 0
    assert bool(((soft >= low - 2e-4) & (soft <= high + 2e-4)).all())


@pytest.mark.parametrize("small", [1e-3, 1e-4, 1e-6])
def test_small_structures_meet_their_size_as_well_as_large_ones(small: float) -> None:
    logits = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    logits[:, 2] -= 15
    soft = ShiftToSize()(logits, exact([0.7 - small, 0.3, small]))
    assert float(soft[:, 2].mean()) == pytest.approx(small, rel=0.011)


@pytest.mark.parametrize("sureness", [1.0, 10.0, 50.0])
@pytest.mark.parametrize("classes", [2, 4, 12])
def test_however_sure_the_teacher_is_sizes_are_met_within_a_few_iterations(sureness: float, classes: int) -> None:
    noise = torch.randn(8, classes, 44, 44, generator=torch.Generator().manual_seed(classes))
    smooth = nn.functional.avg_pool2d(noise, 13, stride=1)
    logits = sureness * smooth / smooth.std()
    size = 0.02 + torch.rand(8, classes, generator=torch.Generator().manual_seed(1))
    size[:, 0] += classes
    size[::2, 1] = 0
    size /= size.sum(dim=1, keepdim=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # that sizes are missed
        soft = ShiftToSize(max_iterations=25)(logits, torch.stack([size, size], dim=1))
    torch.testing.assert_close(soft.mean(dim=(2, 3)), size, atol=1e-4, rtol=0.011)


def test_one_bias_a_class_is_all_that_changes() -> None:
    logits = torch.randn(1, 3, 6, 6)
    soft = ShiftToSize()(logits, exact([0.5, 0.3, 0.2]))
    bias = soft.log() - logits.log_softmax(dim=1)
    relative = bias - bias[:, :1]
    torch.testing.assert_close(relative, relative[..., :1, :1].expand_as(relative), atol=1e-4, rtol=0)


def test_absent_classes_get_nothing_and_unknown_sizes_stay_as_predicted() -> None:
    logits = torch.randn(2, 3, 6, 6)
    size = torch.tensor([[[0.8, 0.2, 0.0], [0.8, 0.2, 0.0]], [[0.0, 0.0, 0.0], [1.0, 1.0, 1.0]]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # that sizes are missed
        soft = ShiftToSize()(logits, size)
    assert float(soft[0, 2].max()) == 0
    torch.testing.assert_close(soft[1], logits[1].softmax(dim=0))


def test_labels_that_miss_their_size_are_told_of() -> None:
    with pytest.warns(UserWarning, match="after 1 iterations soft labels miss"):
        ShiftToSize(max_iterations=1)(10 * torch.randn(1, 3, 6, 6), exact([0.98, 0.01, 0.01]))


@pytest.mark.parametrize("iterations", range(8))
def test_labels_are_told_of_only_where_they_miss_their_size(iterations: int) -> None:
    logits = 3 * torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    size = [0.7, 0.2, 0.1]
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        soft = ShiftToSize(max_iterations=iterations)(logits, exact(size))
    missed = (soft.mean(dim=(0, 2, 3)) - torch.tensor(size)).abs().max() > 1e-4
    assert bool(told) == bool(missed)


class Brightness(nn.Module):
    """Class 1 where it is bright; it was left in training mode."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        assert not self.training
        return torch.cat([-x, x], dim=1)


def test_every_slice_meets_its_own_size() -> None:
    image = MetaTensor(torch.rand(1, 8, 8, 3), affine=AFFINE)
    area = 8 * 8 * 4.0
    size = torch.tensor([[0.25, 0.0, 0.5]], dtype=torch.float64) * area
    inferer = SliceInferer(roi_size=(8, 8), spatial_dim=2)
    transform = SoftLabeld(Brightness(), num_classes=2, inferer=inferer)
    item = transform({"image": image, "slice_area_mm2": size})
    assert item["soft_label"].shape == (2, 8, 8, 3)
    torch.testing.assert_close(
        item["soft_label"].as_tensor()[1].mean(dim=(0, 1)), torch.tensor([0.25, 0.0, 0.5]), atol=2e-4, rtol=0
    )
    torch.testing.assert_close(item["soft_label"].affine, image.affine)


def test_a_scan_without_a_size_keeps_the_prediction_and_one_of_other_classes_is_refused() -> None:
    image = MetaTensor(torch.rand(1, 8, 8, 8), affine=AFFINE)
    item = SoftLabeld(Brightness(), num_classes=2)({"image": image})
    torch.testing.assert_close(item["soft_label"].as_tensor()[1], torch.sigmoid(2 * image.as_tensor()[0]))
    with pytest.raises(ValueError, match="knows 2 classes, the cohort has 3"):
        SoftLabeld(Brightness(), num_classes=3)({"image": image})


@pytest.mark.parametrize("key", ["volume_mm3", "slice_area_mm2"])
def test_soft_labels_stay_within_organs_and_meet_the_size_there(key: str) -> None:
    image = MetaTensor(torch.randn(1, 8, 8, 3), affine=torch.eye(4))
    organs = torch.zeros(2, 8, 8, 3)
    organs[0, :4, :, :2] = 1
    organs[1, 4:, :, :2] = 1
    size = torch.tensor([20.0, 10.0]) if key == "volume_mm3" else torch.tensor([[12.0, 8.0, 0.0], [4.0, 6.0, 0.0]])
    network = nn.Conv3d(1, 3, 1)
    soft = SoftLabeld(network, 3)({"image": image, key: size, "region": organs})["soft_label"].as_tensor()
    assert float((soft[1:] * (organs == 0)).max()) == 0
    found = soft[1:].sum(dim=(1, 2, 3) if key == "volume_mm3" else (1, 2))
    torch.testing.assert_close(found, size, atol=0.05, rtol=0)
    torch.testing.assert_close(soft.sum(dim=0), torch.ones(8, 8, 3))


def test_sizes_of_another_number_of_classes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"got \(1, 3, 8, 8\) and \(1, 2, 2\)"):
        ShiftToSize()(torch.zeros(1, 3, 8, 8), exact([0.5, 0.5]))
