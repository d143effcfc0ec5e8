"""Coarse sizes tell what they promise, and nothing more."""

from __future__ import annotations

import pytest
import torch

from medsize.sizes import mean_fractions, with_size_detail

REGION = [100.0, 100.0, -1.0]


def item(*rows: list[float]) -> dict[str, torch.Tensor]:
    exact = torch.tensor(rows, dtype=torch.float64)
    return {"slice_area_mm2": torch.stack([exact.nan_to_num(posinf=0.0), exact])}


def test_given_sizes_stay() -> None:
    items = [item([100.0, 0.0], [50.0, 25.0])]
    assert with_size_detail(items, "given", REGION) == items


def test_cohort_mean_is_over_the_slices_that_show_the_structure() -> None:
    items = [item([100.0, 0.0], [50.0, 25.0]), item([300.0], [0.0])]
    first, second = with_size_detail(items, "cohort mean", REGION)
    torch.testing.assert_close(
        first["slice_area_mm2"][0], torch.tensor([[200.0, 0.0], [37.5, 37.5]], dtype=torch.float64)
    )
    torch.testing.assert_close(second["slice_area_mm2"][1], torch.tensor([[200.0], [0.0]], dtype=torch.float64))


def test_tags_give_equal_parts_of_the_region_to_what_is_present() -> None:
    (tagged,) = with_size_detail([item([100.0, 0.0, 0.0], [50.0, 25.0, 0.0])], "tags", REGION)
    third, half = 100 * 100 / 3, 100 * 100 / 2
    expected = torch.tensor([[third, 0.0, 0.0], [third, half, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(tagged["slice_area_mm2"], expected.expand(2, 2, 3))
    assert mean_fractions([tagged], REGION)[0] == pytest.approx((1 / 3 + 1 / 2 + 1) / 3)


def test_tags_of_many_structures_leave_room_for_a_zoom() -> None:
    (tagged,) = with_size_detail([item(*[[1.0]] * 104)], "tags", REGION)
    torch.testing.assert_close(
        tagged["slice_area_mm2"], torch.full((2, 104, 1), 0.7 * 100 * 100 / 104, dtype=torch.float64)
    )


def test_mean_fractions_leave_a_background_and_pass_over_presence_alone() -> None:
    fraction = 100.0 * 100.0
    present = torch.tensor([[1e-3], [1.0]], dtype=torch.float64) * fraction
    in_half = torch.full((2, 1), 0.5 * fraction, dtype=torch.float64)
    absent = torch.zeros((2, 1), dtype=torch.float64)
    alone = {"slice_area_mm2": torch.stack([present, present, present], dim=1)}
    assert mean_fractions([alone], REGION) == pytest.approx([1 - 3e-4, 1e-4, 1e-4, 1e-4])
    beside = {"slice_area_mm2": torch.stack([in_half, absent, in_half], dim=1)}
    assert mean_fractions([alone, beside], REGION) == pytest.approx([0.3 - 1e-4, 0.35, 1e-4, 0.35])


@pytest.mark.parametrize("size_detail", ["cohort mean", "tags"])
def test_unknown_sizes_stay_unknown(size_detail: str) -> None:
    (coarse,) = with_size_detail([item([100.0, 40.0], [float("inf"), 25.0])], size_detail, REGION)
    assert coarse["slice_area_mm2"][:, 1, 0].tolist() == [0.0, float("inf")]


def test_true_sizes_do_not_leak_into_the_tags() -> None:
    small, large = (with_size_detail([item([x], [2 * x])], "tags", REGION)[0]["slice_area_mm2"] for x in (10.0, 900.0))
    torch.testing.assert_close(small, large)


def test_other_details_are_refused() -> None:
    with pytest.raises(ValueError, match="size_detail is 'exact'"):
        with_size_detail([], "exact", REGION)
