"""A scan's own intensities tell its structures apart, whatever these look like in other scans."""

from __future__ import annotations

import math

import pytest
import torch

from medsize.first_labels import AtlasScan, atlas_rounds, explained_by_levels, intensity_levels, level_likelihood


def test_levels_are_equally_frequent_and_do_not_depend_on_the_scale_of_intensities() -> None:
    image = torch.rand(2, 24, 20, 5, generator=torch.Generator().manual_seed(0))
    levels = intensity_levels(image, (24, 20))
    assert levels.shape == (2, 5, 24, 20)
    counts = torch.bincount(levels[0].flatten().long(), minlength=16)
    assert int(counts.max() - counts.min()) <= 2
    torch.testing.assert_close(intensity_levels(0.2 + image**3, (24, 20)), levels)


def test_levels_of_a_constant_image_say_nothing() -> None:
    levels = intensity_levels(torch.full((1, 8, 8, 2), 0.5), (4, 4))
    labels = torch.rand(3, 2, 4, 4, generator=torch.Generator().manual_seed(1)).softmax(dim=0)
    likelihood = level_likelihood(levels, labels)
    torch.testing.assert_close(likelihood, likelihood[:, :1, :1, :1].expand_as(likelihood))


def test_each_class_expects_the_intensities_of_its_labels() -> None:
    image = torch.linspace(0, 1, 64).view(1, 8, 8, 1)
    levels = intensity_levels(image, (8, 8))
    bright = (image > 0.5).float().movedim(-1, 1)[0]
    likelihood = level_likelihood(levels, torch.stack([1 - bright, bright]))
    clear = (image - 0.5).abs().movedim(-1, 1)[0] > 0.1
    torch.testing.assert_close((likelihood[1] > likelihood[0])[clear].float(), bright[clear])
    both = level_likelihood(torch.cat([levels, torch.zeros_like(levels)]), torch.stack([1 - bright, bright]))
    dark = level_likelihood(torch.zeros_like(levels), torch.stack([1 - bright, bright]))
    torch.testing.assert_close(both, (likelihood + dark) / 2)


def test_intensities_explain_all_nothing_or_a_part_of_the_classes() -> None:
    image = torch.linspace(0, 1, 1024).view(1, 32, 32, 1)
    levels = intensity_levels(image, (32, 32))
    bright = (levels[0] >= 8).float()
    assert explained_by_levels(levels, torch.stack([1 - bright, bright])) == pytest.approx(1)
    columns = torch.arange(32).expand(1, 32, 32) % 2.0
    assert explained_by_levels(levels, torch.stack([1 - columns, columns])) == pytest.approx(0, abs=0.01)
    uneven = 0.2 + 0.6 * bright
    entropy = math.log(2) + 0.8 * math.log(0.8) + 0.2 * math.log(0.2)
    assert explained_by_levels(levels, torch.stack([1 - uneven, uneven])) == pytest.approx(
        entropy / math.log(2), rel=1e-4
    )
    both = torch.cat([levels, torch.zeros_like(levels)])
    assert explained_by_levels(both, torch.stack([1 - bright, bright])) == pytest.approx(0.5)
    assert math.isnan(explained_by_levels(levels, torch.stack([torch.ones_like(bright), torch.zeros_like(bright)])))


@pytest.mark.parametrize(("is_told", "least", "most"), [(True, 0.85, 1.0), (False, 0.0, 0.8)])
def test_a_structure_is_completed_by_what_looks_like_it_in_its_scan(is_told: bool, least: float, most: float) -> None:
    """Words show the middle of a bright rectangle; the size says that it is larger."""
    truth = torch.zeros(2, 24, 24)
    truth[:, 8:12, 2:22] = 1
    words = torch.zeros(2, 24, 24, dtype=torch.int16)
    words[:, 9:11, 9:15] = 1
    noise = 0.05 * torch.randn(1, 24, 24, 2, generator=torch.Generator().manual_seed(2))
    levels = intensity_levels(0.2 + 0.6 * truth.permute(1, 2, 0).unsqueeze(0) + noise, (24, 24))
    part = float(truth.mean())
    size = torch.tensor([1 - part, part]).expand(2, 2)
    phi = torch.tensor([[0.97, 0.03], [0.5, 0.5]])
    scan = AtlasScan([words], size, levels=levels if is_told else None)
    (label,) = atlas_rounds([scan], [phi], learn_positions=False)
    found = (label.argmax(dim=0) == 1).float()
    dice = float(2 * (found * truth).sum() / (found.sum() + truth.sum()))
    assert least <= dice <= most
