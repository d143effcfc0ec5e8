"""Cores cover a scan without overlap, in windows that give them their context."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from medsize.engines.tiling import tiles_of

AXIS = st.tuples(st.integers(1, 40), st.integers(1, 12), st.integers(0, 5)).filter(lambda axis: 2 * axis[2] < axis[1])


@given(st.lists(AXIS, min_size=2, max_size=2))
def test_every_voxel_is_in_one_core_and_has_its_halo(axes: list[tuple[int, int, int]]) -> None:
    shape, roi_size, halo = (tuple(numbers) for numbers in zip(*axes, strict=True))
    covered = torch.zeros(1, 1, *shape)
    image = torch.arange(1.0, 1 + covered.numel()).view_as(covered)
    for tile in tiles_of(shape, roi_size, halo):
        window = tile.cut_window(image)
        assert window.shape[2:] == roi_size
        assert torch.equal(tile.core_of_window(window), tile.cut_core(image))
        covered[(0, 0, *tile.core)] += 1
        assert tile.voxels == tile.cut_core(image).numel()
        for length, margin, seen, core in zip(shape, halo, tile.window, tile.core, strict=True):
            assert seen.start <= max(core.start - margin, 0)
            assert seen.stop >= min(core.stop + margin, length)
    assert bool((covered == 1).all())


def test_no_more_windows_than_needed() -> None:
    assert len(tiles_of((512,), (128,), (0,))) == 4
    assert len(tiles_of((512,), (128,), (16,))) == 5
    assert len(tiles_of((100,), (128,), (16,))) == 1
