"""A view is undone exactly, and sizes do not change under it."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from medsize.engines import PrepareSizeBatch, View

SHAPES = st.sampled_from([(8, 8), (6, 8), (4, 4, 4), (4, 6, 4), (3, 4, 5)])


@given(SHAPES, st.integers(0, 2**16))
def test_undo_restores_and_shape_and_sizes_are_kept(shape: tuple[int, ...], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    view = View.random(shape, generator=generator)
    x = torch.rand(2, 3, *shape, generator=generator)
    seen = view.apply(x)
    assert seen.shape == x.shape
    assert not torch.equal(seen, x)
    torch.testing.assert_close(view.undo(seen), x, atol=0, rtol=0)
    torch.testing.assert_close(seen.flatten(2).mean(-1), x.flatten(2).mean(-1))


def test_every_symmetry_but_the_identity_is_drawn() -> None:
    square = {View.random((4, 4)) for _ in range(300)}
    oblong = {View.random((4, 6)) for _ in range(100)}
    anisotropic = {View.random((4, 4), spacing=(1.0, 2.0)) for _ in range(100)}
    assert (len(square), len(oblong), len(anisotropic)) == (7, 3, 3)


def test_a_fixed_axis_is_neither_flipped_nor_exchanged() -> None:
    views = {View.random((4, 4, 4), fixed_axis=0) for _ in range(300)}
    assert len(views) == 7
    assert all(view.order[0] == 0 and 0 not in view.flips for view in views)
    assert {View.random((4, 4), fixed_axis=1) for _ in range(20)} == {View((0, 1), (0,))}
    image = torch.rand(1, 1, 4, 4)
    seen, targets = PrepareSizeBatch(two_views=True, fixed_axis=0)({"image": image})
    torch.testing.assert_close(seen[1:], image.flip(3))
    assert targets["view"] == View((0, 1), (1,))


def test_two_views_carry_the_same_targets() -> None:
    batch = {
        "image": torch.rand(2, 1, 4, 4),
        "label": torch.randint(0, 2, (2, 1, 4, 4)),
        "fraction": torch.tensor([[0.7, 0.3], [0.9, 0.1]]),
        "group": torch.tensor([0, 3]),
    }
    image, targets = PrepareSizeBatch(two_views=True)(batch)
    view = targets["view"]
    assert image.shape == (4, 1, 4, 4)
    for key in ("image", "label"):
        torch.testing.assert_close(targets[key][:2], batch[key])
        torch.testing.assert_close(view.undo(targets[key][2:]), batch[key])
    torch.testing.assert_close(targets["fraction"], batch["fraction"].repeat(2, 1))
    assert len(set(targets["group"].tolist())) == 4
