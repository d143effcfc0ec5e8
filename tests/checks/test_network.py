"""A network that does not fit the run is refused before the start, in a sentence of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
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


DYNUNET = {"_target_": "DynUNet", "spatial_dims": 2, "in_channels": 1, "out_channels": 3, "kernel_size": [3, 3, 3]}
DYNUNET |= {"strides": [1, 2, 2], "upsample_kernel_size": [2, 2], "deep_supr_num": 1}
HERE = "tests.checks.test_network"


def found(network: Any, in_channels: int = 1, config: dict[str, Any] | None = None, **settings: Any) -> list[str]:
    parser = ConfigParser({"network_def": network, "in_channels": in_channels, **(config or {})})
    findings = network_findings(
        parser, RunSettings.model_validate({"num_classes": 3, "supervision": "size", **settings})
    )
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
    ("network", "channels", "window", "remedy"),
    [
        (SEGRESNET, 1, [64, 63, 32], "Change roi_size, or the network."),
        (UNET, 3, [64, 64], "Its in_channels is 1, expected 3. Set it to @in_channels."),
        (UNET, 1, [64, 64, 64], "Its spatial_dims is 2, expected 3. Set it to 3."),
    ],
)
def test_a_window_that_the_network_cannot_take_is_told(
    network: dict[str, Any], channels: int, window: list[int], remedy: str
) -> None:
    (told,) = found(network, channels, roi_size=window)
    assert told.startswith(
        f"the {network['_target_']} cannot take a window of {window} voxels (roi_size) with {channels}"
    )
    assert told.endswith(remedy)


class NeedsValues(UNet):
    """A network that looks at its input, which cannot be done by shapes alone."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        assert float(x.max()) < 100
        output: torch.Tensor = super().forward(x)
        return output


def test_a_network_that_does_not_run_without_values_is_tried_with_them() -> None:
    network = UNET | {"_target_": f"{HERE}.NeedsValues"}
    assert found(network, roi_size=[64, 64]) == []
    (told,) = found(network | {"out_channels": 7}, roi_size=[64, 64])
    assert told.startswith("the NeedsValues gives 7 channels")


class NeedsValuesInTraining(NeedsValues):
    """A network that gives what came before, too, in training."""

    def forward(self, x: torch.Tensor) -> Any:
        return (super().forward(x), x) if self.training else super().forward(x)


class Gives(torch.nn.Module):
    """A network that gives what a function of its output makes of it."""

    def __init__(self, made: Callable[[torch.Tensor], Any]) -> None:
        super().__init__()
        self.network = UNet(2, 1, 3, channels=(4, 8), strides=(2,))
        self.made = made

    def forward(self, x: torch.Tensor) -> Any:
        return self.made(self.network(x))


@pytest.mark.parametrize(
    ("network", "told"),
    [
        (DYNUNET | {"deep_supervision": True}, "in training, the DynUNet gives the shape [2, 2, 3, 64, 64], expected"),
        (UNET | {"_target_": f"{HERE}.NeedsValuesInTraining"}, "in training, the NeedsValuesInTraining gives a tuple"),
        ({"_target_": f"{HERE}.Gives", "made": "$lambda x: [x]"}, "the Gives gives a list, expected one tensor"),
        ({"_target_": f"{HERE}.Gives", "made": "$lambda x: {'out': x}"}, "the Gives gives a dict, expected one tensor"),
        (
            {"_target_": f"{HERE}.Gives", "made": "$lambda x: x[..., ::2, ::2]"},
            "the Gives gives the shape [1, 3, 32, 32]",
        ),
        ({"_target_": f"{HERE}.Gives", "made": "$lambda x: x.mean()"}, "the Gives gives the shape [], expected"),
        (
            {"_target_": f"{HERE}.Gives", "made": "$lambda x: x[:, 0]"},
            "the Gives gives the shape [1, 64, 64], expected",
        ),
    ],
    ids=["deep supervision", "tuple in training", "list", "dictionary", "half size", "scalar", "no channels"],
)
def test_an_output_that_is_not_one_tensor_of_the_window_is_told(network: dict[str, Any], told: str) -> None:
    (problem,) = found(network, roi_size=[64, 64])
    assert problem.startswith(told)
    assert "batch, classes, and the window (roi_size)" in problem


def test_a_network_of_batch_norms_keeps_its_statistics_and_the_random_numbers() -> None:
    network = UNET | {"_target_": f"{HERE}.NeedsValues", "norm": "batch", "dropout": 0.5, "channels": [4, 8, 8]}
    parser = ConfigParser({"network_def": network | {"strides": [2, 2]}, "in_channels": 1})
    built = parser.get_parsed_content("network_def")  # the run's own, if something has asked for it before
    before, state = {name: tensor.clone() for name, tensor in built.state_dict().items()}, torch.get_rng_state()
    settings = RunSettings(num_classes=3, supervision="size", roi_size=(4, 4))  # one voxel at the bottom
    assert network_findings(parser, settings) == []
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(tensor, before[name]) for name, tensor in built.state_dict().items())


@pytest.mark.parametrize(
    "network",
    [
        UNET,
        DYNUNET | {"deep_supervision": False},
        {"_target_": "FlexibleUNet", "in_channels": 1, "out_channels": 3, "backbone": "efficientnet-b0"},
        {"_target_": "medsize.networks.LeanUNet", "in_channels": 1, "out_channels": 3},
        {"_target_": f"{HERE}.Gives", "made": "$lambda x: x * torch.rand(1)"},
        {"_target_": f"{HERE}.Gives", "made": "$torch.nn.utils.parametrizations.weight_norm(torch.nn.Conv2d(3, 3, 1))"},
        {"_target_": f"{HERE}.Gives", "made": "$torch.nn.utils.weight_norm(torch.nn.Conv2d(3, 3, 1))"},
        {"_target_": f"{HERE}.Gives", "made": "$torch.autocast('cpu')(torch.nn.Conv2d(3, 3, 1))"},
        {"_target_": f"{HERE}.Gives", "made": "$lambda x: x if float(x.sum()) > 0 else -x"},
    ],
    ids=[
        "UNet",
        "DynUNet",
        "FlexibleUNet",
        "LeanUNet",
        "random",
        "weight norm",
        "old weight norm",
        "autocast",
        "values",
    ],
)
def test_no_sound_network_is_refused(network: dict[str, Any]) -> None:
    assert found(network, roi_size=[32, 32], config={"imports": ["$import torch"]}) == []


def test_a_component_that_chooses_among_several_outputs_may_get_them() -> None:
    deep = DYNUNET | {"deep_supervision": True}
    assert found(deep, roi_size=[64, 64], config={"train": {"loss": {"_target_": "DeepSupervisionLoss"}}}) == []
    assert found(deep, roi_size=[64, 64], supervision=None) == []  # an evaluation
    several = {"_target_": f"{HERE}.Gives", "made": "$lambda x: [x]"}
    own = {"window_inferer": {"_target_": "own.FirstOutput"}, "train": {"inferer": "$own.first_output"}}
    assert found(several, roi_size=[64, 64], config=own) == []


@pytest.mark.parametrize("network", [{"in_channels": 1}, 3, None, "$len", "$lambda x: x"])
def test_what_is_no_network_is_told(network: Any) -> None:
    (told,) = found(network, roi_size=[64, 64])
    assert told.endswith("expected a network. State its class as _target_.")


def missing_package() -> None:
    raise ModuleNotFoundError("No module named 'einops'")


def test_a_package_that_is_missing_is_named() -> None:
    (told,) = found({"_target_": f"{HERE}.missing_package"})
    assert told == "the network cannot be built: No module named 'einops'. Install einops."
    (told,) = found(
        {"_target_": f"{HERE}.Gives", "made": f"$lambda _: __import__('{HERE}', fromlist=['']).missing_package()"},
        roi_size=[8, 8],
    )
    assert told.endswith("Install einops.")


def test_imagenet_weights_of_a_network_without_any_are_told() -> None:
    (told,) = found(UNET, init="imagenet", roi_size=[64, 64])
    assert told.startswith("init is 'imagenet', but UNet has no ImageNet weights")


def test_the_check_of_a_bundle_has_it(phantoms: Path, tmp_path: Path) -> None:
    options = {"dataset_dir": str(phantoms), "output_dir": str(tmp_path), **SMALL[BUNDLE_2D]}
    with pytest.raises(RunRefused, match=r"network_def: 1 problem[\s\S]*gives 7 channels"):
        check_bundle(BUNDLE_2D, ["train.yaml"], **options, **{"network_def#out_channels": 7})


def written(folder: Path, name: str, channels: int) -> dict[str, Any]:
    shape = (8, 8, 1) if channels == 1 else (8, 8, 1, channels)
    nibabel.save(nibabel.Nifti1Image(np.ones(shape, dtype=np.uint8), np.eye(4)), folder / f"{name}.nii.gz")
    return {"image": str(folder / f"{name}.nii.gz"), "subject": name}


LOADED = {"_target_": "LoadImaged", "keys": "image", "ensure_channel_first": True}


def validate(*transforms: dict[str, Any]) -> dict[str, Any]:
    return {"validate": {"preprocessing": {"_target_": "Compose", "transforms": list(transforms)}}}


@pytest.mark.parametrize(
    ("scans", "in_channels", "told"),
    [
        ([1, 1], 1, ""),
        ([3, 3], 3, ""),
        ([1, 1], 3, "found 3, expected 1, the channels of {0}, {1}. Leave in_channels out: it follows"),
        ([3, 1], 3, "found 3, expected 1, the channels of {1}. Prepare all scans with one number of channels"),
    ],
)
def test_channels_that_the_scans_do_not_have_are_told(
    tmp_path: Path, scans: list[int], in_channels: int, told: str
) -> None:
    items = [written(tmp_path, f"scan_{number}", channels) for number, channels in enumerate(scans)]
    config = {"network_def": UNET | {"in_channels": "@in_channels"}, "in_channels": in_channels}
    settings = RunSettings(num_classes=3, supervision="size", roi_size=(8, 8))
    findings = network_findings(ConfigParser(config | validate(LOADED)), settings, items)
    assert [finding.source for finding in findings] == ["in_channels"] * bool(told)
    assert all(finding.text.startswith(told.format(*(item["image"] for item in items))) for finding in findings)


def test_an_evaluation_asks_for_scans_like_those_of_the_training(tmp_path: Path) -> None:
    config = {"network_def": UNET | {"in_channels": 3}, "in_channels": 3, **validate(LOADED)}
    settings = RunSettings(num_classes=3, roi_size=(8, 8))
    (finding,) = network_findings(ConfigParser(config), settings, [written(tmp_path, "scan", 1)])
    assert finding.text.endswith("Name scans of 3, as the network was trained on.")


def test_channels_that_a_transform_makes_are_those_of_the_network(tmp_path: Path) -> None:
    items = [written(tmp_path, "scan", 1)]
    repeated = validate(LOADED, {"_target_": "RepeatChanneld", "keys": "image", "repeats": 3})
    config = {"network_def": UNET | {"in_channels": 3}, "in_channels": 3, **repeated}
    settings = RunSettings(num_classes=3, supervision="size", roi_size=(8, 8))
    assert network_findings(ConfigParser(config), settings, items) == []


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ({"in_channels": 3}, r"in_channels: 1 problem\n  - found 3, expected 1, the channels of"),
        ({"roi_size": [0, 32]}, r"roi_size is \[0, 32\], expected 1 or more"),
        ({"roi_size": [-1, -1]}, r"roi_size is \[-1, -1\], expected 1 or more"),
        ({"roi_size": "$[32, 8 - 8]"}, r"roi_size is \[32, 0\], expected 1 or more"),
        ({"network_def": {"in_channels": 1}}, r"network_def: 1 problem\n  - found a dict, expected a network"),
    ],
)
def test_the_check_of_a_bundle_names_the_key(
    phantoms: Path, tmp_path: Path, override: dict[str, Any], told: str
) -> None:
    options = {"dataset_dir": str(phantoms), "output_dir": str(tmp_path), **SMALL[BUNDLE_2D], **override}
    with pytest.raises(RunRefused, match=told):
        check_bundle(BUNDLE_2D, ["train.yaml"], **options)
