"""Features lie on the grid of their slice, for every stride and size."""

from __future__ import annotations

import pytest
import torch

from medsize.first_labels import SliceFeatures, Words


@pytest.mark.parametrize("stride", [2, 3, 4])
@pytest.mark.parametrize(("height", "width"), [(32, 32), (33, 47), (20, 70), (3, 5)])
@pytest.mark.parametrize("kind", ["imagenet", "intensity"])
def test_every_group_has_a_point_for_a_stride_of_voxels(kind: str, height: int, width: int, stride: int) -> None:
    features = SliceFeatures(kind=kind, stride=stride)
    grid = features.grid_size(height, width)
    assert grid == (max(height // stride, 1), max(width // stride, 1))
    groups = features(torch.rand(2, 1, height, width))
    assert [group.shape[2:] for group in groups] == [grid] * len(groups)
    assert all(bool(group.isfinite().all()) for group in groups)


def test_three_channels_are_taken_and_a_kind_that_is_unknown_is_not() -> None:
    for kind in ("imagenet", "intensity"):
        groups = SliceFeatures(3, kind)(torch.rand(1, 3, 32, 32))
        assert all(group.shape[2:] == (16, 16) for group in groups)
    with pytest.raises(ValueError, match="'edges', expected one of imagenet, intensity"):
        SliceFeatures(kind="edges")


def test_a_stride_of_nothing_and_a_slice_without_its_batch_are_refused() -> None:
    with pytest.raises(ValueError, match="stride must be at least 1, got 0"):
        SliceFeatures(kind="intensity", stride=0)
    with pytest.raises(ValueError, match=r"slices must have the shape \(B, C, H, W\), got \(1, 32, 32\)"):
        SliceFeatures(kind="intensity")(torch.rand(1, 32, 32))


@pytest.mark.parametrize("stride", [2, 3, 4])
@pytest.mark.parametrize("kind", ["imagenet", "intensity"])
def test_features_answer_where_the_slice_changes(kind: str, stride: int) -> None:
    """The size is no multiple of 32, and the spot lies where a grid that is stretched would miss it."""
    height, width = 25 * stride, 37 * stride
    slices = torch.full((2, 1, height, width), 0.5)
    row, column = 20, 33  # points of the grid
    slices[1, 0, row * stride : (row + 1) * stride, column * stride : (column + 1) * stride] = 1.0
    groups = SliceFeatures(kind=kind, stride=stride)(slices)
    finest = (groups[0][1] - groups[0][0]).abs().sum(dim=0)
    assert abs(int(finest.argmax()) // 37 - row) <= 1
    assert abs(int(finest.argmax()) % 37 - column) <= 1
    total = sum((group[1] - group[0]).abs().sum(dim=0) / (group[1] - group[0]).abs().sum() for group in groups)
    rows, columns = torch.arange(25.0), torch.arange(37.0)
    assert abs(float((total.sum(dim=1) * rows).sum() / total.sum()) - row) <= 2.5
    assert abs(float((total.sum(dim=0) * columns).sum() / total.sum()) - column) <= 2.5


def images(number: int = 4) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    noise = torch.rand(number, 1, 24, 24, 3, generator=generator) * 0.1
    noise[:, :, 6:14, 8:16] += 0.7
    return list(noise)


def test_words_are_the_same_for_the_same_seed() -> None:
    features = SliceFeatures(kind="intensity")
    first, again = (Words(features, (4, 8)).fit(images(), 100).transform(images()[0]) for _ in range(2))
    for a, b in zip(first, again, strict=True):
        torch.testing.assert_close(a, b)
    assert [maps.shape for maps in first] == [(3, 12, 12)] * 2
    assert [int(maps.max()) < size for maps, size in zip(first, (4, 8), strict=True)] == [True, True]
    other = Words(features, (4, 8), seed=1).fit(images(), 100).transform(images()[0])
    assert any(bool((a != b).any()) for a, b in zip(first, other, strict=True))


def test_the_same_appearance_has_the_same_word_and_a_2d_image_one_slice() -> None:
    words = Words(SliceFeatures(kind="intensity"), (8,)).fit(images(), 144)
    (maps,) = words.transform(images()[1][..., 0])
    assert maps.shape == (1, 12, 12)
    assert maps[0, 5, 6] != maps[0, 0, 0]
    assert len(maps[0, 4:6, 5:7].unique()) == 1


@pytest.mark.parametrize("kind", ["imagenet", "intensity"])
def test_constant_images_are_refused_only_if_all_are(kind: str) -> None:
    features = SliceFeatures(kind=kind)
    constant = [torch.zeros(1, 24, 24, 3)] * 3
    with pytest.raises(ValueError, match="all training scans are constant images"):
        Words(features, (4,)).fit(constant, 50)
    words = Words(features, (4,)).fit([*constant, *images()], 50)
    assert len(words.transform(constant[0])[0].unique()) <= 4


def test_words_are_asked_for_after_they_were_found() -> None:
    with pytest.raises(ValueError, match="found no words yet"):
        Words(SliceFeatures(kind="intensity"), sizes=(4,)).transform(torch.rand(1, 16, 16))
