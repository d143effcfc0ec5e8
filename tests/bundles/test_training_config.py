"""Expressions of the training configs give what their comments promise."""

from __future__ import annotations

from typing import Any

import pytest
from monai.bundle import ConfigParser

from tests.bundles.conftest import UNET_2D, UNET_3D, Variant


def parsed(variant: Variant, key: str, **options: Any) -> Any:
    parser = ConfigParser()
    parser.read_config(variant.configs("train.yaml"))
    parser.update(options)
    return parser.get_parsed_content(key)


@pytest.mark.parametrize(("epochs", "interval", "once"), [(6, 3, True), (7, 3, False), (2, 3, False)])
@pytest.mark.parametrize("variant", [UNET_2D, UNET_3D], ids=lambda variant: variant.name)
def test_the_last_epoch_is_validated_and_only_once(variant: Variant, epochs: int, interval: int, once: bool) -> None:
    parser = ConfigParser()
    parser.read_config(variant.configs("train.yaml"))
    handlers = [h for h in parser["train#handlers"] if h["_target_"] == "ValidationHandler"]
    last, usual = handlers  # MONAI takes the interval of the last of them for val_interval
    assert (usual["interval"], last["interval"]) == ("@val_interval", "@max_epochs")
    options = {"max_epochs": epochs, "val_interval": interval, "last": last["_disabled_"]}
    assert parsed(variant, "last", **options) == once


@pytest.mark.parametrize(
    ("spacing", "radians"),
    [([2.0, 2.0, 2.0], [0.26, 0.26, 0.26]), ([2.0, 2.0, 8.0], [0.065, 0.065, 0.26])],
    ids=["isotropic", "thick slices"],
)
def test_scans_are_turned_by_the_same_angle_in_mm(spacing: list[float], radians: list[float]) -> None:
    parser = ConfigParser()
    parser.read_config(UNET_3D.configs("train.yaml"))
    angles = parser["random_transforms"][0]["rotate_range"]
    assert parsed(UNET_3D, "angles", spacing=spacing, angles=angles) == pytest.approx(radians)
