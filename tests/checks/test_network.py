"""A network that does not fit the run is refused before the start, in a sentence of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from monai.bundle import ConfigParser
from monai.networks.nets import UNet

from medsize.bundle.run.settings import RunSettings
from medsize.checks import RunRefused, check_bundle
from medsize.checks.network import network_findings
from tests.checks.test_bundle_check import SMALL
from tests.conftest import BUNDLE_2D

UNET = {"_target_": "UNet", "spatial_dims": 2, "in_channels": 1, "out_channels": 3, "channels": [4, 8], "strides": [2]}
SEGRESNET = {"_target_": "SegResNet", "spatial_dims": 3, "init_filters": 8, "in_channels": 1, "out_channels": 3}


def found(network: dict[str, Any], in_channels: int = 1, **settings: Any) -> list[str]:
    parser = ConfigParser({"network_def": network, "in_channels": in_channels})
    findings = network_findings(parser, RunSettings.model_validate({"num_classes": 3, **settings}))
    assert "network_def" not in parser.ref_resolver.resolved_content  # it is built anew, after the seed is set
    return [finding.text for finding in findings]


@pytest.mark.parametrize(("network", "window"), [(UNET, [64, 32]), (SEGRESNET, [512, 512, 512])])
def test_a_network_that_fits_passes_whatever_the_size_of_its_window(network: dict[str, Any], window: list[int]) -> None:
    assert found(network, roi_size=window) == []


def test_a_network_that_cannot_be_built_is_told_by_what_it_says_itself() -> None:
    (told,) = found(UNET | {"strides": []}, roi_size=[64, 64])
    assert told.startswith("the network cannot be built: ")
    assert "\n" not in told
    assert "strides" in told


def test_another_number_of_classes_is_told() -> None:
    (told,) = found(UNET | {"out_channels": 7}, roi_size=[64, 64])
    assert told == (
        "the UNet gives 7 channels, expected 3: one for each structure of the cohort, and one for the background. "
        "Set its out_channels to @num_classes."
    )


@pytest.mark.parametrize(
    ("network", "channels", "window"), [(SEGRESNET, 1, [64, 63, 32]), (UNET, 3, [64, 64]), (UNET, 1, [64, 64, 64])]
)
def test_a_window_that_the_network_cannot_take_is_told(
    network: dict[str, Any], channels: int, window: list[int]
) -> None:
    (told,) = found(network, channels, roi_size=window)
    assert told.startswith(
        f"the {network['_target_']} cannot take a window of {window} voxels (roi_size) with {channels}"
    )
    assert told.endswith("Change roi_size, in_channels, or the network.")


class NeedsValues(UNet):
    """A network that looks at its input, which cannot be done by shapes alone."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        assert float(x.max()) < 100
        output: torch.Tensor = super().forward(x)
        return output


def test_a_network_that_does_not_run_without_values_is_tried_with_them() -> None:
    network = UNET | {"_target_": "tests.checks.test_network.NeedsValues"}
    assert found(network, roi_size=[64, 64]) == []
    (told,) = found(network | {"out_channels": 7}, roi_size=[64, 64])
    assert told.startswith("the NeedsValues gives 7 channels")


def test_imagenet_weights_of_a_network_without_any_are_told() -> None:
    (told,) = found(UNET, init="imagenet", roi_size=[64, 64])
    assert told.startswith("init is 'imagenet', but UNet has no ImageNet weights")


def test_the_check_of_a_bundle_has_it(phantoms: Path, tmp_path: Path) -> None:
    options = {"dataset_dir": str(phantoms), "output_dir": str(tmp_path), **SMALL[BUNDLE_2D]}
    with pytest.raises(RunRefused, match=r"network_def: 1 problem[\s\S]*gives 7 channels"):
        check_bundle(BUNDLE_2D, ["train.yaml"], **options, **{"network_def#out_channels": 7})
