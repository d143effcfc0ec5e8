"""An ellipsoid's volume from what a reader measures."""

from __future__ import annotations

import math

import pytest

from medsize.sizes.ellipsoid import ellipsoid_volume


@pytest.mark.parametrize(
    ("diameters", "volume"),
    [
        ([20.0], 4 / 3 * math.pi * 10**3),
        ([40.0, 20.0], 4 / 3 * math.pi * 20 * 10 * 10),
        ([20.0, 40.0], 4 / 3 * math.pi * 20 * 10 * 10),
        ([40.0, 20.0, 30.0], 4 / 3 * math.pi * 20 * 10 * 15),
    ],
)
def test_it_is_that_of_the_semi_axes(diameters: list[float], volume: float) -> None:
    assert ellipsoid_volume(diameters) == pytest.approx(volume, rel=1e-12)


@pytest.mark.parametrize("count", [0, 4])
def test_no_and_too_many_diameters_are_refused(count: int) -> None:
    with pytest.raises(ValueError, match=f"found {count} diameters, expected 1 to 3"):
        ellipsoid_volume([10.0] * count)
