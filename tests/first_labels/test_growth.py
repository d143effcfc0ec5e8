"""Growth from points: the distance in mm where nothing is seen, and a longer way across edges."""

from __future__ import annotations

import math

import pytest
import torch

from medsize.first_labels.growth import EDGE, UNLIKE, Growth

POINT_MM = (5.0, 2.0, 1.0)


def test_where_nothing_is_seen_it_is_the_distance_in_mm() -> None:
    distance = Growth(torch.full((2, 3, 6, 7), 3.0), POINT_MM).distance(torch.tensor([[1, 2, 3]]))
    assert distance.shape == (3, 6, 7)
    assert float(distance[1, 2, 3]) == 0
    for step in ((1, 0, 0), (0, 3, 0), (0, 0, -3), (1, 1, 1), (0, -2, 2)):
        at = tuple(a + b for a, b in zip((1, 2, 3), step, strict=True))
        assert float(distance[at]) == pytest.approx(math.hypot(*(n * mm for n, mm in zip(step, POINT_MM, strict=True))))


def test_steps_to_another_intensity_are_long() -> None:
    row = torch.tensor([0.0, 0, 1, 1]).reshape(1, 1, 1, 4)
    distance = Growth(row, POINT_MM).distance(torch.tensor([[0, 0, 0]])).flatten()
    difference = 1 / float(row.double().std(correction=0))
    across = 1 + EDGE * difference + UNLIKE * difference / 2
    beyond = 1 + UNLIKE * difference
    assert distance.tolist() == pytest.approx([0, 1, 1 + across, 1 + across + beyond], rel=1e-5)


def test_the_intensity_around_a_point_counts_not_its_noise() -> None:
    slice_ = torch.zeros(1, 1, 5, 5)
    slice_[..., 2, 2] = 1  # noise at the click
    distance = Growth(slice_, POINT_MM).distance(torch.tensor([[0, 2, 2]]))[0]
    deviation = float(slice_.double().std(correction=0))
    away, further = float(distance[2, 3]), float(distance[2, 4])
    assert away == pytest.approx(1 + EDGE / deviation + UNLIKE / deviation / 2)
    assert further - away == pytest.approx(1)


def test_the_difference_is_the_mean_over_the_channels() -> None:
    row = torch.tensor([0.0, 0, 1, 1]).reshape(1, 1, 1, 4)
    start = torch.tensor([[0, 0, 0]])
    one, both = (Growth(scan, POINT_MM).distance(start) for scan in (row, torch.cat([row, torch.zeros_like(row)])))
    torch.testing.assert_close(both, (one + Growth(0 * row, POINT_MM).distance(start)) / 2)


def test_the_scale_of_intensities_does_not_count() -> None:
    scan = torch.rand(1, 4, 6, 5, generator=torch.Generator().manual_seed(0))
    start = torch.tensor([[1, 2, 3], [2, 2, 2]])
    torch.testing.assert_close(
        Growth(scan, POINT_MM).distance(start), Growth(100 * scan - 7, POINT_MM).distance(start), rtol=1e-4, atol=1e-4
    )


def test_more_points_are_nearer_than_each_alone() -> None:
    scan = torch.zeros(1, 4, 6, 5)
    scan[..., 2] = 1  # a wall between both, which have one intensity
    both = torch.tensor([[0, 0, 0], [3, 5, 4]])
    alone = torch.stack([Growth(scan, POINT_MM).distance(point[None]) for point in both]).amin(dim=0)
    torch.testing.assert_close(Growth(scan, POINT_MM).distance(both), alone)
