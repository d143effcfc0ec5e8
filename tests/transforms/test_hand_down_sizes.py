"""A scan's volume becomes sizes of its slices, by soft labels that meet it."""

from __future__ import annotations

import pytest
import torch
from monai.data import MetaTensor

from medsize.transforms import HandDownSizesd

AFFINE = torch.diag(torch.tensor([2.0, 5.0, 8.0, 1.0]))
PIXEL_MM2 = 10.0


def soft_label(structures: int = 2, slices: int = 5) -> MetaTensor:
    logits = 2 * torch.randn(structures + 1, 12, 12, slices, generator=torch.Generator().manual_seed(0))
    return MetaTensor(logits.softmax(dim=0), affine=AFFINE)


def item_of(soft: MetaTensor) -> dict:
    volume = soft.as_tensor()[1:].double().sum(dim=(1, 2, 3)) * PIXEL_MM2 * 8
    return {"soft_label": soft, "volume_mm3": volume.expand(2, -1), "subject": "a"}


def test_areas_are_those_of_the_soft_label_and_sum_to_the_volume() -> None:
    item = item_of(soft_label())
    made = HandDownSizesd()(item)
    assert "volume_mm3" not in made
    assert "volume_mm3" in item
    areas = made["slice_area_mm2"]
    assert areas.shape == (2, 2, 5)
    torch.testing.assert_close(areas[0], areas[1])
    torch.testing.assert_close(areas.sum(dim=2) * 8, item["volume_mm3"])
    exact = item | {"volume_mm3": item["volume_mm3"][0]}
    torch.testing.assert_close(HandDownSizesd()(exact)["slice_area_mm2"], areas)


def test_little_in_a_slice_is_taken_as_absent_but_not_a_structure_that_is_small_everywhere() -> None:
    soft = torch.zeros(3, 12, 12, 4)
    soft[1, :10, 0, 0], soft[1, :5, 0, 1], soft[1, 0, 0, 2] = 1, 1, 1  # 100, 50 and 10 mm²
    soft[2, :4, 1, 0], soft[2, 0, 1, 1] = 1, 1  # 40 and 10 mm²
    soft[0] = 1 - soft[1:].sum(dim=0)
    item = item_of(MetaTensor(soft, affine=AFFINE))
    areas = HandDownSizesd()(item)["slice_area_mm2"][0]
    torch.testing.assert_close(areas[0], torch.tensor([100.0, 50, 0, 0], dtype=torch.float64))
    torch.testing.assert_close(areas[1], torch.tensor([40.0, 0, 0, 0], dtype=torch.float64))
    kept = HandDownSizesd(least_mm2=0)(item)["slice_area_mm2"][0]
    torch.testing.assert_close(kept.sum(dim=1) * 8, item["volume_mm3"][0])


@pytest.mark.parametrize("sure", [0.5, 0.7, 0.95])
def test_intervals_contain_the_area_and_grow_with_what_must_be_sure(sure: float) -> None:
    item = item_of(soft_label())
    exact = HandDownSizesd(least_mm2=0)(item)["slice_area_mm2"][0]
    low, high = HandDownSizesd(least_mm2=0, sure=sure)(item)["slice_area_mm2"]
    assert bool(((low <= exact) & (exact <= high)).all())
    wider = HandDownSizesd(least_mm2=0, sure=min(sure + 0.04, 1.0))(item)["slice_area_mm2"]
    assert bool(((wider[0] <= low) & (wider[1] >= high)).all())


def test_an_interval_reaches_from_the_certain_area_to_the_possible_one() -> None:
    soft = torch.zeros(2, 12, 12, 1)
    soft[1, :4, 0], soft[1, :6, 1], soft[1, :2, 2] = 0.9, 0.4, 0.05
    soft[0] = 1 - soft[1]
    low, high = HandDownSizesd(sure=0.8)(item_of(MetaTensor(soft, affine=AFFINE)))["slice_area_mm2"]
    assert (float(low), float(high)) == (40.0, 100.0)
    low, high = HandDownSizesd(sure=1.0)(item_of(MetaTensor(soft, affine=AFFINE)))["slice_area_mm2"]
    assert (float(low), float(high)) == (0.0, 120.0)


def test_structures_leave_room_in_their_slice_for_a_zoom() -> None:
    soft = torch.zeros(3, 12, 12, 2)
    soft[1, :6, :, 0], soft[2, 6:11, :, 0], soft[1, :2, :, 1] = 1, 1, 1  # 132 and 24 of 144 pixels
    soft[0] = 1 - soft[1:].sum(dim=0)
    item = item_of(MetaTensor(soft, affine=AFFINE))
    areas = HandDownSizesd()(item)["slice_area_mm2"][0]
    torch.testing.assert_close(areas[:, 0], 0.7 * 1440 * torch.tensor([72 / 132, 60 / 132], dtype=torch.float64))
    torch.testing.assert_close(areas[:, 1], torch.tensor([240.0, 0.0], dtype=torch.float64))
    within = HandDownSizesd()(item | {"region": torch.ones(2, 12, 12, 2)})["slice_area_mm2"][0]
    torch.testing.assert_close(within[:, 0], torch.tensor([720.0, 600.0], dtype=torch.float64))


def test_an_unknown_volume_stays_unknown_in_every_slice() -> None:
    item = item_of(soft_label())
    item["volume_mm3"] = torch.tensor([[0.0, 100.0], [torch.inf, 100.0]], dtype=torch.float64)
    areas = HandDownSizesd()(item)["slice_area_mm2"]
    assert bool((areas[0, 0] == 0).all())
    assert bool(areas[1, 0].isinf().all())
    assert bool(areas[:, 1].isfinite().all())


@pytest.mark.parametrize("missing", ["volume_mm3", "soft_label"])
def test_an_item_without_a_volume_or_a_soft_label_stays_as_it_is(missing: str) -> None:
    item = {key: value for key, value in item_of(soft_label()).items() if key != missing}
    assert HandDownSizesd()(item) == item


@pytest.mark.parametrize("wrong", [{"sure": 2.0}, {"sure": 0.3}, {"least_mm2": -1.0}])
def test_bad_parameters_are_refused(wrong: dict[str, float]) -> None:
    ((name, value),) = wrong.items()
    with pytest.raises(ValueError, match=rf"{name} must .*, got {value}"):
        HandDownSizesd(**wrong)
