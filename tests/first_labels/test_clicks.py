"""Evidence of clicks: what grows from them, or from what was found before, to the structure's own volume."""

from __future__ import annotations

import math

import pytest
import torch

from medsize.first_labels import GrowingScan, ball_radius, labelled_points


def click_evidence(
    image: torch.Tensor,
    scribble: torch.Tensor,
    volumes: list[float],
    point_mm: tuple[float, float, float],
    possible: torch.Tensor | None = None,
) -> torch.Tensor:
    points = labelled_points(scribble, len(volumes) + 1, image.shape[2:])
    return GrowingScan(image, points, volumes, point_mm, possible).evidence()


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


def test_what_was_found_says_how_bright_a_structure_is() -> None:
    """A click into a dark cyst of a bright organ: alone, it grows into what is dark around the organ."""
    organ = torch.zeros(1, 24, 24, dtype=torch.bool)
    organ[0, 6:18, 6:18] = True
    image = organ.float().unsqueeze(0)
    image[..., 10:14, 10:14] = 0
    scan = GrowingScan(image, {1: torch.tensor([[0, 11, 11]])}, [144 * 4.0], (1.0, 2.0, 2.0))
    roughly = torch.stack([~organ, organ]).float() * 0.8 + 0.1
    alone, told = (scan.evidence(labels)[1] for labels in (None, roughly))
    assert float(told[organ].mean() - told[~organ].mean()) > 3 + float(alone[organ].mean() - alone[~organ].mean())
    grown = scan.evidence(roughly)[1].flatten().topk(144).indices
    assert float(organ.flatten()[grown].float().mean()) > 0.95


def test_a_structure_without_a_click_grows_from_its_likeliest_points() -> None:
    structure = torch.zeros(1, 24, 24, dtype=torch.bool)
    structure[0, 4:14, 4:7] = structure[0, 11:14, 4:14] = True
    count = int(structure.sum())
    scan = GrowingScan(structure.float().unsqueeze(0), {}, [count * 4.0, math.nan, 0.0], (1.0, 2.0, 2.0))
    found = torch.full((4, 1, 24, 24), 0.05)
    found[1, 0, 4:9, 4:7] = 0.8  # a part of it
    evidence = scan.evidence(found)
    assert float(structure.flatten()[evidence[1].flatten().topk(count).indices].float().mean()) > 0.95
    assert float(evidence[[0, 2, 3]].abs().max()) == 0  # unknown and absent ones gain nothing
    assert float(evidence.max()) <= 1  # nor is any point certain


def test_a_structure_of_less_than_a_point_grows_from_its_likeliest_point() -> None:
    found = torch.zeros(2, 3, 10, 8)
    found[1, 1, 5, 4] = 1
    evidence = GrowingScan(EVEN, {}, [0.1 * math.prod(POINT_MM)], POINT_MM).evidence(found)
    assert evidence.isfinite().all()
    assert int(evidence[1].argmax()) == int(found[1].argmax())
