"""Rounds of the atlas meet every size; clicks count as balls; masks stay."""

from __future__ import annotations

import math

import pytest
import torch

from medsize.first_labels import AtlasScan, atlas_rounds, ball_radius, click_evidence
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


def test_the_radius_is_that_of_a_ball() -> None:
    assert ball_radius(4 / 3 * math.pi * 7**3) == pytest.approx(7)


UNLABELLED = torch.full((20, 16, 3), 255)
POINT_MM = (8.0, 2.0, 4.0)


def clicked(**classes: tuple[int, int, int]) -> torch.Tensor:
    scribble = UNLABELLED.clone()
    for name, place in classes.items():
        scribble[place] = int(name[1:])
    return scribble


EVEN = torch.zeros(1, 3, 10, 8)


def test_in_a_scan_of_one_intensity_a_click_is_certain_and_a_ball_around_it_likelier() -> None:
    volume = 4 / 3 * math.pi * 10**3
    evidence = click_evidence(EVEN, clicked(k1=(10, 8, 1)), [volume, math.nan], POINT_MM)
    assert evidence.shape == (3, 3, 10, 8)
    assert float(evidence[1, 1, 5, 4]) == 50
    falls = {}
    for step, mm in (((0, 1, 0), 2.0), ((0, 0, 2), 8.0), ((1, 0, 0), 8.0), ((-1, 1, -1), math.sqrt(64 + 4 + 16))):
        at = tuple(a + b for a, b in zip((1, 5, 4), step, strict=True))
        falls[step] = mm / math.sqrt((1 - float(evidence[(1, *at)])) / 1.5)
    assert list(falls.values()) == pytest.approx([falls[0, 1, 0]] * 4, rel=1e-3)
    assert 10 <= falls[0, 1, 0] < 12  # the radius of the ball, on a grid of points up to 8 mm apart
    assert float(evidence[[0, 2]].abs().max()) == 0


def test_a_click_grows_along_its_intensity_to_its_volume() -> None:
    """A bent structure of the click's intensity: a ball would hold what is beside it."""
    structure = torch.zeros(1, 24, 24, dtype=torch.bool)
    structure[0, 4:14, 4:7] = structure[0, 11:14, 4:14] = True
    noise = 0.02 * torch.randn(1, 1, 24, 24, generator=torch.Generator().manual_seed(0))
    scribble = torch.full((24, 24, 1), 255)
    scribble[5, 6, 0] = 1
    count = int(structure.sum())
    evidence = click_evidence(structure.float() + noise, scribble, [count * 4.0], (1.0, 2.0, 2.0))
    grown = torch.zeros(24 * 24, dtype=torch.bool)
    grown[evidence[1].flatten().topk(count).indices] = True
    assert float((grown.view(1, 24, 24) & structure).sum()) / count > 0.95
    # It neither gains nor loses at two thirds of the squared distance that holds its volume.
    assert 0.5 * count < int((evidence[1] > 0).sum()) < count


def test_clicks_on_several_lesions_grow_at_once_to_their_volume() -> None:
    scribble = clicked(k1=(10, 2, 1))
    scribble[10, 12, 1] = 1
    volume = 10 * math.prod(POINT_MM)
    evidence = click_evidence(EVEN, scribble, [volume, math.nan], POINT_MM)
    assert float(evidence[1, 1, 5, 1]) == float(evidence[1, 1, 5, 6]) == 50
    assert float(evidence[1, 1, 6, 1]) == float(evidence[1, 1, 6, 6]) > 0


def test_a_structure_in_an_organ_grows_to_its_volume_there() -> None:
    possible = torch.ones(3, 3, 10, 8, dtype=torch.bool)
    possible[1, :, :, 4:] = False
    volumes = [100 * math.prod(POINT_MM), math.nan]
    free, inside = (click_evidence(EVEN, clicked(k1=(10, 2, 1)), volumes, POINT_MM, p) for p in (None, possible))
    assert (inside >= free).all()
    assert float(inside[1][possible[1]].mean()) > float(free[1][possible[1]].mean()) + 0.1


def test_a_structure_that_is_larger_than_its_organ_fills_it() -> None:
    scan = torch.rand(1, 3, 10, 8, generator=torch.Generator().manual_seed(0))
    possible = torch.zeros(2, 3, 10, 8, dtype=torch.bool)
    possible[0], possible[1, :, 2:8, 1:6] = True, True
    count = int(possible[1].sum())
    scribble = clicked(k1=(10, 6, 1))
    full, more = (
        click_evidence(scan, scribble, [n * math.prod(POINT_MM)], POINT_MM, possible)[1][possible[1]]
        for n in (count, 1.3 * count)
    )
    torch.testing.assert_close(more, full)
    assert float(full.median()) > 0


def test_volumes_below_a_point_keep_the_radius_of_a_ball() -> None:
    one = click_evidence(EVEN, clicked(k1=(10, 8, 1)), [1.2 * math.prod(POINT_MM)], POINT_MM)
    radius = ball_radius(1.2 * math.prod(POINT_MM))
    assert float(one[1, 1, 6, 4]) == pytest.approx(1 - 1.5 * (2 / radius) ** 2, rel=1e-3)


def test_the_background_and_an_unknown_volume_are_certain_at_their_points_only() -> None:
    evidence = click_evidence(EVEN, clicked(k0=(0, 0, 0), k2=(19, 15, 2)), [100.0, math.nan], POINT_MM)
    assert evidence.nonzero().tolist() == [[0, 0, 0, 0], [2, 2, 9, 7]]
    assert float(click_evidence(EVEN, UNLABELLED, [100.0, 1.0], POINT_MM).abs().max()) == 0


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
