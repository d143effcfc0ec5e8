"""Neighbours of a point: a blur where intensities are alike, and less across an edge."""

from __future__ import annotations

import math

import pytest
import torch

from medsize.first_labels import mean_of_neighbours
from medsize.first_labels.neighbours import ACROSS, EDGE


def in_one_point(*at: int, shape: tuple[int, int, int] = (3, 9, 9)) -> torch.Tensor:
    label = torch.zeros(1, *shape)
    label[(0, *at)] = 1
    return label


def test_among_like_points_the_weights_are_those_of_a_normal_distribution_and_of_the_slices_beside() -> None:
    mean = mean_of_neighbours(in_one_point(1, 4, 4), torch.zeros(1, 3, 9, 9, dtype=torch.uint8))[0]
    weights = {step: math.exp(-(step[0] ** 2 + step[1] ** 2) / 2) for step in ((0, 1), (1, 1), (2, 0), (2, 2))}
    total = sum(math.exp(-(y**2 + x**2) / 2) for y in range(-2, 3) for x in range(-2, 3)) + 2 * ACROSS
    for (y, x), weight in weights.items():
        assert float(mean[1, 4 + y, 4 - x]) == pytest.approx(weight / total)
    assert float(mean[1, 4, 4]) == pytest.approx(1 / total)
    assert float(mean[0, 4, 4]) == pytest.approx(ACROSS / (total - ACROSS))  # it has one slice beside it
    assert float(mean[:, 0].abs().max()) == 0


def test_a_point_across_an_edge_counts_less() -> None:
    levels = torch.zeros(2, 1, 9, 9, dtype=torch.uint8)
    levels[0, ..., 5:] = 4  # the mean square over both channels is 8
    mean = mean_of_neighbours(in_one_point(0, 4, 4, shape=(1, 9, 9)), levels)[0, 0]
    here = 1 / float(mean[4, 4])
    weights_here = sum(
        math.exp(-(y**2 + x**2) / 2) * (math.exp(-8 / (2 * EDGE**2)) if x > 0 else 1)
        for y in range(-2, 3)
        for x in range(-2, 3)
    )
    assert here == pytest.approx(weights_here)
    assert float(mean[4, 5]) < 0.5 * float(mean[4, 3])


def test_labels_stay_labels_and_a_scan_of_one_class_stays_as_it_is() -> None:
    draw = torch.Generator().manual_seed(0)
    levels = torch.randint(0, 16, (3, 4, 6, 7), generator=draw).to(torch.uint8)
    labels = torch.rand(5, 4, 6, 7, generator=draw).softmax(dim=0)
    mean = mean_of_neighbours(labels, levels)
    torch.testing.assert_close(mean.sum(dim=0), torch.ones(4, 6, 7))
    assert bool((mean >= labels.amin()).all() and (mean <= labels.amax()).all())
    torch.testing.assert_close(mean_of_neighbours(torch.ones(1, 4, 6, 7), levels), torch.ones(1, 4, 6, 7))


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 2, 5), (2, 1, 1)])
def test_a_grid_may_be_smaller_than_the_neighbourhood(shape: tuple[int, int, int]) -> None:
    labels = torch.rand(2, *shape, generator=torch.Generator().manual_seed(0))
    mean = mean_of_neighbours(labels, torch.zeros(1, *shape, dtype=torch.uint8))
    assert mean.shape == labels.shape
    assert bool(mean.isfinite().all())
