"""A closer look finds windows around small structures, and leaves others as they are."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from monai.data import MetaTensor

from medsize.first_labels import FirstLabels, look_closer
from medsize.first_labels.closer_look import Window

VIEW = Window((0, 0), (96, 96))


def label(*places: tuple[int, int], radius: float = 3.0, points: int = 48) -> torch.Tensor:
    """Two slices with discs around places, on a grid of a point for 2 × 2 voxels."""
    rows, columns = torch.meshgrid(torch.arange(points), torch.arange(points), indexing="ij")
    disc = torch.zeros(points, points)
    for row, column in places:
        disc[((rows - row) ** 2 + (columns - column) ** 2) <= radius**2] = 1
    return torch.stack([1 - disc, disc]).unsqueeze(1).expand(-1, 2, -1, -1).half()


class Looks:
    """Finds discs again, in each window where they are; ``places`` in points of the first grid."""

    def __init__(self, *places: tuple[int, int]) -> None:
        self.places = places
        self.windows: list[Sequence[Window]] = []
        self.strides: list[int] = []

    def __call__(self, windows: Sequence[Window], stride: int) -> list[torch.Tensor]:
        self.windows.append(windows)
        self.strides.append(stride)
        found = []
        for (row, column), window in zip(self.places, windows, strict=True):
            place = ((2 * row - window.start[0]) // stride, (2 * column - window.start[1]) // stride)
            found.append(label(place, radius=6 / stride, points=window.sides[0] // stride))
        return found


def test_windows_shrink_around_small_structures_and_the_last_grid_is_finer() -> None:
    places = [(10, 14), (30, 33), (24, 5)]
    looks = Looks(*places)
    found, side = look_closer([label(place) for place in places], [VIEW] * 3, 2, looks)
    assert looks.strides == [2] * (len(looks.strides) - 1) + [1]
    sizes = [windows[0].sides[0] for windows in looks.windows]
    assert all(after >= 0.7 * before - 2 for before, after in zip([96, *sizes], sizes, strict=False))
    assert side == sizes[-1] < 0.5 * 96
    for (row, column), window in zip(places, looks.windows[-1], strict=True):
        assert window.start[0] < 2 * row < window.start[0] + side
        assert window.start[1] < 2 * column < window.start[1] + side
    for soft, (row, column) in zip(found, places, strict=True):
        torch.testing.assert_close(soft, label((2 * row, 2 * column), radius=6, points=96))


def test_a_scan_without_the_structure_is_looked_at_where_the_others_have_it() -> None:
    looks = Looks(*[(20, 30)] * 3)
    look_closer([label((20, 30)), label((20, 30)), label()], [VIEW] * 3, 2, looks)
    assert all(windows[2] == windows[0] for windows in looks.windows)


@pytest.mark.parametrize("places", [[(24, 24)], [(8, 8), (40, 40)], []])
def test_large_structures_those_that_lie_apart_and_none_at_all_are_left_as_they_are(
    places: list[tuple[int, int]],
) -> None:
    looks = Looks()
    labels = [label(*places, radius=16 if len(places) == 1 else 3)] * 2
    found, side = look_closer(labels, [VIEW] * 2, 2, looks)
    assert side is None
    assert looks.strides == []
    assert all(one is other for one, other in zip(found, labels, strict=True))


def test_a_grid_that_memory_allows_is_the_finest() -> None:
    looks = Looks((20, 30))
    found, _ = look_closer([label((20, 30))], [VIEW], 2, looks, finest=2)
    assert set(looks.strides) == {2}
    assert found[0].shape == (2, 2, 48, 48)


def scans(number: int = 12) -> tuple[list[dict[str, object]], list[torch.Tensor]]:
    """Small bright discs of different sizes in a view that holds stripes nearly as bright."""
    generator = torch.Generator().manual_seed(0)
    rows, columns = torch.meshgrid(torch.arange(80), torch.arange(80), indexing="ij")
    items, masks = [], []
    for _ in range(number):
        row, column = (torch.rand(2, generator=generator) * 16 + 24).tolist()
        radius = 4 + 4 * float(torch.rand(1, generator=generator))
        mask = (rows - row) ** 2 + (columns - column) ** 2 <= radius**2
        image = 0.1 + 0.1 * torch.rand(1, 80, 80, 1, generator=generator)
        image[0, ::16, :, 0] = 0.7
        image[0, mask, 0] = 0.8
        volume = torch.tensor([float(mask.sum())])
        items.append({"image": MetaTensor(image, affine=torch.eye(4)), "volume_mm3": torch.stack([volume, volume])})
        masks.append(mask)
    return items, masks


def test_small_discs_are_found_on_a_finer_grid() -> None:
    items, masks = scans()
    method = FirstLabels(2, "intensity", vocabularies=(30, 50))
    labels = method(lambda number: items[number], len(items))
    assert method.window is not None
    assert all(soft.shape == (2, 1, 80, 80) for soft in labels)
    overlaps = [2 * float((soft[1, 0] > 0.5)[mask].sum()) for soft, mask in zip(labels, masks, strict=True)]
    areas = [float((soft[1, 0] > 0.5).sum() + mask.sum()) for soft, mask in zip(labels, masks, strict=True)]
    assert sum(overlaps) / sum(areas) > 0.85


def test_what_a_mask_shows_needs_no_closer_look() -> None:
    items, masks = scans(6)
    method = FirstLabels(2, "intensity", vocabularies=(30, 50))
    method(lambda number: items[number], len(items))
    assert method.window is not None
    items[0]["label"] = MetaTensor(masks[0][None, ..., None].float(), affine=torch.eye(4))
    assert method(lambda number: items[number], len(items))[0].shape == (2, 1, 40, 40)
    assert method.window is None
