"""Rounds of the atlas meet every size; clicks count as balls; masks stay."""

from __future__ import annotations

import pytest
import torch

from medsize.first_labels import AtlasScan, atlas_rounds
from medsize.first_labels.atlas import best_offset

WORDS = torch.tensor([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8], [0.3, 0.4, 0.3]])
GRID = (5, 12, 10)


def scan(seed: int, fraction: torch.Tensor, **others: torch.Tensor) -> AtlasScan:
    words = torch.randint(0, 3, GRID, generator=torch.Generator().manual_seed(seed), dtype=torch.int16)
    return AtlasScan([words, words], fraction, **others)


def test_sizes_of_scans_and_of_slices_are_met_and_absent_classes_get_nothing() -> None:
    whole = torch.tensor([0.7, 0.2, 0.1, 0.0]).expand(2, 4)
    slices = torch.tensor(
        [[0.9, 0.1, 0.0, 0.0], [0.6, 0.1, 0.3, 0.0], [1.0, 0.0, 0.0, 0.0]] + [[0.5, 0.3, 0.2, 0.0]] * 2
    )
    box = torch.stack([torch.tensor([0.0, 0.1, 0.0, 0.0]), torch.tensor([1.0, 0.15, 1.0, 0.0])])
    scans = [scan(0, whole), scan(1, slices.T.expand(2, 4, 5)), scan(2, box)]
    first, second, third = (label.float() for label in atlas_rounds(scans, [WORDS, WORDS], rounds=4))
    torch.testing.assert_close(first.mean(dim=(1, 2, 3)), whole[0], atol=5e-3, rtol=0)
    torch.testing.assert_close(second.mean(dim=(2, 3)), slices.T, atol=5e-3, rtol=0)
    assert 0.095 <= float(third[1].mean()) <= 0.155
    for label in (first, second, third):
        assert label.shape == (4, *GRID)
        torch.testing.assert_close(label.sum(dim=0), torch.ones(GRID), atol=5e-3, rtol=0)
        assert float(label[3].max()) == 0


def test_masks_stay_and_teach_the_others_what_equal_sizes_cannot() -> None:
    """Two structures of equal size, of which only the mask knows the words."""
    equal = torch.tensor([0.5, 0.25, 0.25]).expand(2, 3)
    words = torch.zeros(1, 16, 16, dtype=torch.int16)
    words[:, 8:, :8], words[:, 8:, 8:] = 1, 2
    mask = torch.stack([(words == k).float() for k in range(3)])
    alike = torch.full((3, 3), 1 / 3)
    scans = [AtlasScan([words], equal, label=mask), AtlasScan([words.flip(2)], equal)]
    first, second = atlas_rounds(scans, [alike], rounds=6, bands=1, position_blur=8.0)
    torch.testing.assert_close(first.float(), mask)
    assert bool((second.argmax(dim=0) == words.flip(2)).float().mean() > 0.95)


def test_scans_of_other_shapes_share_an_atlas() -> None:
    fraction = torch.tensor([0.8, 0.2]).expand(2, 2)
    shapes = [(1, 12, 10), (9, 11, 8), (3, 14, 10)]
    words = [torch.randint(0, 3, shape, dtype=torch.int16) for shape in shapes]
    labels = atlas_rounds([AtlasScan([w], fraction) for w in words], [WORDS[:2]], rounds=2)
    assert [tuple(label.shape[1:]) for label in labels] == shapes


@pytest.mark.parametrize("move", [(0, 0), (3, -2), (-4, 4)])
def test_an_atlas_is_moved_to_where_its_structure_lies(move: tuple[int, int]) -> None:
    atlas = torch.full((2, 1, 24, 24), 0.05)
    atlas[1, :, 10:15, 9:13] = 0.95
    atlas[0] = 1 - atlas[1]
    labels = atlas.roll(move, dims=(2, 3))
    assert best_offset(labels, atlas.log(), reach=0.25) == move
    assert best_offset(labels, atlas.log(), reach=0.0) == (0, 0)


def test_scans_whose_structure_lies_elsewhere_are_found_by_an_atlas_that_moves() -> None:
    """Most points that look like the structure are background: the place tells them."""
    drawn = torch.Generator().manual_seed(0)
    scans, masks = [], []
    for _ in range(12):
        mask = torch.zeros(1, 30, 30, dtype=torch.bool)
        row, column = torch.randint(7, 17, (2,), generator=drawn).tolist()
        mask[:, row : row + 6, column : column + 6] = True
        seen = torch.rand(mask.shape, generator=drawn) < torch.where(mask, 0.9, 0.15)
        fraction = torch.tensor([1 - float(mask.float().mean()), float(mask.float().mean())])
        scans.append(AtlasScan([seen.to(torch.int16)], fraction.expand(2, 2)))
        masks.append(mask)
    start = [torch.tensor([[0.85, 0.15], [0.1, 0.9]])]

    def found(reach: float) -> float:
        labels = atlas_rounds(scans, start, bands=1, smoothness=2.0, reach=reach)
        return sum(float(q[1][mask].float().mean()) for q, mask in zip(labels, masks, strict=True)) / len(scans)

    assert found(0.3) > found(0.0) + 0.2


def test_a_click_decides_between_structures_that_words_do_not_tell_apart() -> None:
    words = torch.zeros(1, 16, 16, dtype=torch.int16)
    words[:, 2:6, 2:6], words[:, 10:14, 10:14] = 1, 1
    evidence = torch.zeros(3, 1, 16, 16)
    evidence[1, 0, 4, 4] = 50
    size = torch.tensor([1 - 32 / 256, 16 / 256, 16 / 256]).expand(2, 3)
    phi = torch.tensor([[0.99, 0.01], [0.01, 0.99], [0.01, 0.99]])
    (label,) = atlas_rounds([AtlasScan([words], size, evidence)], [phi], bands=1)
    assert int(label[:, 0, 4, 4].argmax()) == 1
    assert float(label[1, 0, 2:6, 2:6].mean()) > float(label[1, 0, 10:14, 10:14].mean())
