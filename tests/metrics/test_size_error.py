"""Size metrics need no mask and keep their closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from ignite.engine import Engine
from monai.data import MetaTensor

from medsize.handlers import MeanRelativeSizeError, MeanVolumeError
from medsize.metrics import (
    RelativeSizeError,
    VolumeError,
    mean_relative_error,
    relative_size_error,
    volume_error,
    volumes_of,
)

AFFINE = torch.diag(torch.tensor([2.0, 2.0, 5.0, 1.0]))


def prediction(*counts: int) -> MetaTensor:
    """One-hot (K, 10, 10, 10) with so many voxels of the foreground classes, of 20 mm³ each."""
    labels = torch.zeros(1000, dtype=torch.long)
    labels[: sum(counts)] = torch.repeat_interleave(torch.arange(1, len(counts) + 1), torch.tensor(counts))
    onehot = torch.nn.functional.one_hot(labels, len(counts) + 1).T.reshape(-1, 10, 10, 10)
    return MetaTensor(onehot.float(), affine=AFFINE)


def test_volumes_are_in_mm3() -> None:
    torch.testing.assert_close(volumes_of(prediction(3, 50)[None]), torch.tensor([[60.0, 1000.0]]).double())


def test_relative_error_is_the_mean_over_cases_of_that_over_present_structures() -> None:
    metric = RelativeSizeError()
    metric([prediction(30, 50)], [torch.tensor([500.0, 0.0])])
    metric([prediction(10, 0)], [torch.tensor([400.0, 100.0])])
    expected = (100 / 500 + (200 / 400 + 1.0) / 2) / 2
    assert metric.aggregate().item() == pytest.approx(expected)
    assert metric.get_buffer().isnan().sum() == 1


def test_intervals_count_the_distance_to_them() -> None:
    metric = RelativeSizeError("none")
    metric([prediction(30, 50)], [torch.tensor([[500.0, 1200.0], [700.0, 2800.0]])])
    torch.testing.assert_close(metric.aggregate(), torch.tensor([[0.0, 200 / 2000]]).double())


def test_unknown_sizes_do_not_count() -> None:
    box = torch.tensor([[0.0, 600.0], [math.inf, 600.0]])
    relative, volume = RelativeSizeError("none"), VolumeError("none")
    relative([prediction(30, 50)], [box])
    volume([prediction(30, 50)], [box])
    assert relative.aggregate()[0].isnan().tolist() == [True, False]
    assert volume.aggregate()[0].isnan().tolist() == [True, False]


def test_the_mean_of_nothing_is_unknown_not_the_best_error() -> None:
    for given in ([0.0, 0.0], [[0.0, 0.0], [math.inf, math.inf]]):
        metric = RelativeSizeError(get_not_nans=True)
        metric([prediction(30, 50)], [torch.tensor(given)])
        mean, number = metric.aggregate()
        assert bool(mean.isnan().all())
        assert int(number.sum()) == 0
    metric = RelativeSizeError("mean_batch")
    metric([prediction(30, 50)], [torch.tensor([600.0, 0.0])])
    assert metric.aggregate().isnan().tolist() == [False, True]


def test_volume_error_is_signed_and_in_ml() -> None:
    metric = VolumeError("mean_batch")
    metric([prediction(30, 50)], [torch.tensor([100.0, 3000.0])])
    torch.testing.assert_close(metric.aggregate(), torch.tensor([0.5, -2.0]))


def test_errors_of_numbers_arrays_and_tensors_follow_one_definition() -> None:
    found, low, high = (
        [300.0, 300.0, 300.0, 50.0, 7.0],
        [500.0, 100.0, 250.0, 0.0, 0.0],
        [700.0, 200.0, 350.0, 0.0, math.inf],
    )
    signed = torch.tensor([-200.0, 100.0, 0.0, 50.0, math.nan]).double()
    relative = torch.tensor([200 / 600, 100 / 150, 0.0, math.nan, math.nan]).double()
    for made in (list, np.array, torch.tensor):
        torch.testing.assert_close(volume_error(made(found), made(low), made(high)), signed, equal_nan=True)
        torch.testing.assert_close(relative_size_error(made(found), made(low), made(high)), relative, equal_nan=True)
    assert [float(volume_error(*one)) for one in zip(found[:4], low, high, strict=False)] == signed[:4].tolist()
    assert mean_relative_error(found, low, high) == pytest.approx((1 / 3 + 2 / 3 + 0) / 3)


def test_where_nothing_is_present_and_known_there_is_no_mean_relative_error() -> None:
    assert mean_relative_error([1.0, 2.0, math.inf], [0.0, math.inf, 3.0]) is None
    assert mean_relative_error([], []) is None


def test_handlers_report_to_their_engine() -> None:
    outputs = [([prediction(30, 50)], [torch.tensor([500.0, 1000.0])])]
    engine = Engine(lambda _, batch: batch)
    MeanRelativeSizeError(output_transform=lambda x: x).attach(engine, "size_error")
    MeanVolumeError(output_transform=lambda x: x).attach(engine, "volume_error")
    state = engine.run(outputs)
    assert state.metrics["size_error"] == pytest.approx((0.2 + 0.0) / 2)
    assert state.metrics["volume_error"] == pytest.approx(0.05)
    assert state.metric_details["size_error"].shape == (1, 2)


def test_aggregate_before_any_case_is_refused() -> None:
    with pytest.raises(ValueError, match="data to aggregate"):
        RelativeSizeError().aggregate()


@pytest.mark.parametrize("shape", [(1, 1), (1, 3), (2, 2), (2,), (1, 3, 2)])
def test_sizes_of_another_shape_are_not_spread_over_the_structures(shape: tuple[int, ...]) -> None:
    for metric in (RelativeSizeError(), VolumeError()):
        with pytest.raises(ValueError, match=r"y must have the shape \(B, K − 1\) = \(1, 2\)"):
            metric(prediction(5, 3)[None], torch.ones(shape))
