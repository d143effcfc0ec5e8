"""An untrained network can start by predicting the cohort's mean fractions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from monai.networks.nets import SegResNet, UNet

from medsize.data import load_cohort
from medsize.losses import log_average_softmax
from medsize.networks import LeanUNet, initialise, start_at_fractions
from medsize.sizes import mean_fractions

FRACTIONS = [0.9, 0.07, 0.03]


# Made within a test, which sets the seed of their weights.
NETWORKS: dict[str, Callable[[], torch.nn.Module]] = {
    "UNet": lambda: UNet(2, 1, 3, channels=(8, 16, 32), strides=(2, 2), num_res_units=2),
    "SegResNet": lambda: SegResNet(spatial_dims=2, in_channels=1, out_channels=3, init_filters=8),
    "LeanUNet": lambda: LeanUNet(in_channels=1, out_channels=3),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_start_near_the_fractions(name: str) -> None:
    network = NETWORKS[name]()
    images = torch.rand(4, 1, 64, 64)
    with torch.no_grad():
        before = log_average_softmax(network(images)).exp()
        initialise(network, class_fractions=FRACTIONS)
        after = log_average_softmax(network(images)).exp()
    expected = torch.tensor(FRACTIONS).expand(4, -1)
    assert (after - expected).abs().max() < 0.06
    assert (after - expected).abs().max() < (before - expected).abs().max()


@pytest.mark.parametrize("name", ["SegResNet", "LeanUNet"])
def test_every_voxel_starts_alike_where_a_convolution_is_all_of_the_output(name: str) -> None:
    network = NETWORKS[name]()
    initialise(network, class_fractions=FRACTIONS)
    with torch.no_grad():
        started = network(torch.rand(4, 1, 64, 64)).softmax(dim=1)
    expected = torch.tensor(FRACTIONS).view(1, 3, 1, 1).expand_as(started)
    torch.testing.assert_close(started, expected, rtol=0.3, atol=0.01)


def test_a_trained_output_is_left_alone(tmp_path: Path) -> None:
    source, target = (UNet(2, 1, 3, channels=(4, 8), strides=(2,)) for _ in range(2))
    torch.save(source.state_dict(), tmp_path / "weights.pt")
    initialise(target, "checkpoint", tmp_path / "weights.pt", FRACTIONS)
    assert all(torch.equal(a, b) for a, b in zip(source.parameters(), target.parameters(), strict=True))


def test_an_output_that_the_checkpoint_does_not_hold_starts_at_the_fractions(tmp_path: Path) -> None:
    source, target = UNet(2, 1, 5, channels=(4, 8), strides=(2,)), UNet(2, 1, 3, channels=(4, 8), strides=(2,))
    torch.save(source.state_dict(), tmp_path / "weights.pt")
    initialise(target, "checkpoint", tmp_path / "weights.pt", FRACTIONS)
    *_, last = [module for module in target.modules() if isinstance(module, torch.nn.ConvTranspose2d)]
    torch.testing.assert_close(last.bias.detach().exp(), torch.tensor(FRACTIONS))


def test_unfit_networks_and_fractions_are_refused() -> None:
    with pytest.raises(ValueError, match="must have a bias and 3 channels"):
        start_at_fractions(torch.nn.Conv2d(1, 2, 1), FRACTIONS)
    with pytest.raises(ValueError, match="must have a bias and 3 channels"):
        start_at_fractions(torch.nn.Linear(1, 3), FRACTIONS)
    with pytest.raises(ValueError, match="fractions must be positive"):
        start_at_fractions(torch.nn.Conv2d(1, 2, 1), [1.0, 0.0])


@pytest.mark.parametrize("size_level", ["slice", "volume"])
def test_mean_fractions_are_those_of_the_masks(phantoms: Path, size_level: str) -> None:
    cohort = load_cohort(phantoms / "datalist.json", phantoms)
    items = cohort.training_items("size", size_level=size_level)
    size_of = {item["image"]: item["volume_mm3"][0] for item in cohort.items}
    volumes = [size_of[item["image"]] for item in items]
    expected = torch.stack(volumes).mean(dim=0) / (192 * 192 * 6 * 16)
    found = mean_fractions(items, [192.0, 192.0, -1])
    assert found is not None
    assert found[1:] == pytest.approx(expected.tolist(), rel=1e-4)
    assert sum(found) == pytest.approx(1)
    assert mean_fractions(items, [-6.0, -6.0, -16.0]) == pytest.approx(found, rel=1e-4)  # all of every axis


def test_a_cohort_without_sizes_has_no_mean_fractions(phantoms: Path) -> None:
    cohort = load_cohort(phantoms / "datalist.json", phantoms)
    assert mean_fractions(cohort.training_items("mask"), [192.0, 192.0, -1]) is None
