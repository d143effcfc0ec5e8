"""Simulated readers read what is there, as well as their methods can."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.readers import percentages, read_area, read_volume, summary


def ellipsoid(*radii: float) -> np.ndarray:
    """Voxels inside, in an array of 40 along each axis."""
    grid = np.stack(np.meshgrid(*[np.arange(40) - 19.5] * len(radii), indexing="ij"), axis=-1)
    return ((grid / radii) ** 2).sum(axis=-1) < 1


def test_of_an_ellipsoid_three_diameters_tell_the_volume_and_points_are_without_bias() -> None:
    rng = np.random.default_rng(0)
    mask, spacing = ellipsoid(17, 12, 10), np.array([2.0, 2.0, 3.0])
    reads = [read for _ in range(20) for read in read_volume(mask, spacing, rng)]
    table = summary({("phantom", "ball"): reads}).set_index("method")
    assert table.loc["3 diameters", "bias"] == pytest.approx(1, abs=0.1)
    assert table.loc["1 diameter", "bias"] > 1.3
    counted = table[table.index.str.startswith("points")]
    assert (counted["mre"] < 0.2).all()
    assert (abs(counted["bias"] - 1) < 0.08).all()
    assert (counted["in_interval"] >= 0.8).all()
    for read in table.loc[table.index.str.startswith("percent")].itertuples():
        assert read.mre < 0.2
        assert read.in_interval == 1
    assert table.loc["points, 5 mm, each slice", "points"] > table.loc["points, 20 mm, each 3rd slice", "points"]


def test_of_an_ellipse_two_diameters_tell_the_area() -> None:
    rng = np.random.default_rng(0)
    reads = {read.method: read for read in read_area(ellipsoid(15, 10), rng)}
    assert reads["2 diameters"].ratio == pytest.approx(1, abs=0.1)
    assert reads["points, 40 along the width"].ratio == pytest.approx(1, abs=0.05)


def test_percentages_are_whole_steps_and_never_nothing() -> None:
    assert [read.ratio for read in percentages(0.12)] == pytest.approx([1, 10 / 12])
    assert [read.ratio for read in percentages(0.004)] == pytest.approx([2.5, 12.5])
