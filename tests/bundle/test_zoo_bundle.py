"""A bundle of the model zoo can be the start of a training, or is refused with the reason."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Spacing

from medsize.bundle.zoo_bundle import read_zoo_bundle
from tests.zoo_bundles import CLASSES, CT, NORMALISED, SEGRESNET, SIGMOID, UNET, built, write_zoo_bundle

SWIN = {"_target_": "SwinUNETR", "img_size": 32, "in_channels": 1, "out_channels": 3, "feature_size": 12}
SWIN |= {"spatial_dims": 3, "depths": [1, 1, 1, 1], "num_heads": [1, 1, 1, 1]}
NETWORKS = pytest.mark.parametrize("network", [UNET, SEGRESNET], ids=["UNet", "SegResNet"])


def outputs(network: dict[str, Any], weights: Any, scan: torch.Tensor, **changed: int) -> torch.Tensor:
    module = built({**network, **changed})
    module.load_state_dict(weights)
    with torch.no_grad():
        return module(scan)[0]


@NETWORKS
def test_structures_keep_the_output_of_the_class_with_their_name(network: dict[str, Any], tmp_path: Path) -> None:
    zoo = read_zoo_bundle(write_zoo_bundle(tmp_path / "zoo", network))
    scan = torch.rand(1, 1, 16, 16, 8)
    before = outputs(network, zoo.weights, scan)

    adapted = zoo.adapt(["liver", "lesion", "kidney"], 1)
    assert (adapted.kept, adapted.new, adapted.dropped) == ({"liver": "liver", "kidney": "Kidney"}, ("lesion",), ())
    after = outputs(network, adapted.state, scan, out_channels=4)
    torch.testing.assert_close(after[[0, 1, 3]], before[[0, 2, 1]])
    assert after[2].std() > 0

    fewer = zoo.adapt(["liver"], 1)
    assert fewer.dropped == ("Kidney",)
    assert outputs(network, fewer.state, scan, out_channels=2).shape[0] == 2


@NETWORKS
def test_one_channel_is_seen_as_if_it_were_repeated(network: dict[str, Any], tmp_path: Path) -> None:
    colour = {**network, "in_channels": 3}
    zoo = read_zoo_bundle(write_zoo_bundle(tmp_path / "zoo", colour))
    scan = torch.rand(1, 1, 16, 16, 8)
    before = outputs(colour, zoo.weights, scan.expand(1, 3, -1, -1, -1))
    grey = zoo.adapt(CLASSES[1:], 1).state
    torch.testing.assert_close(outputs(colour, grey, scan, in_channels=1), before)


def test_orientation_spacing_and_intensities_are_read_as_the_bundle_has_them(tmp_path: Path) -> None:
    of_ct = read_zoo_bundle(write_zoo_bundle(tmp_path / "ct")).preprocessing
    assert (of_ct.orientation, of_ct.spacing, of_ct.window) == ("RAS", (6.0, 6.0, 16.0), (-57.0, 164.0))
    assert of_ct.left_out == ()
    other = read_zoo_bundle(write_zoo_bundle(tmp_path / "other", preprocessing=NORMALISED)).preprocessing
    assert (other.spacing, other.window) == ((6.0, 6.0, 16.0), None)
    assert [step["_target_"] for step in other.intensities] == ["NormalizeIntensityd", "ScaleIntensityd"]
    assert {step["keys"] for step in other.intensities} == {"image"}
    assert [text.split(":")[0] for text in other.left_out] == ["CropForegroundd"]


@pytest.mark.parametrize(
    ("pixdim", "spacing"),
    [
        (1.5, (1.5, 1.5, 1.5)),
        ([2], (2.0, 2.0, 2.0)),
        ([1.5, 2], (1.5, 2.0, 2.0)),
        ([1.5, 2, -1], None),
        ([1, 1, 0], None),
    ],
)
def test_a_spacing_is_understood_as_monai_does(tmp_path: Path, pixdim: Any, spacing: Any) -> None:
    steps = [{**CT[1], "pixdim": pixdim}]
    found = read_zoo_bundle(write_zoo_bundle(tmp_path / "zoo", preprocessing=steps)).preprocessing
    assert found.spacing == spacing
    if spacing is not None:
        scan = MetaTensor(torch.rand(1, 6, 6, 6), affine=torch.diag(torch.tensor([3.0, 3.0, 3.0, 1.0])))
        assert Spacing(pixdim)(scan).pixdim.tolist() == pytest.approx(spacing)
    assert bool(found.left_out) == (spacing is None)


def test_arguments_for_each_channel_and_axes_of_two_dimensions_are_taken(tmp_path: Path) -> None:
    colour = {**UNET, "spatial_dims": 2, "in_channels": 3}
    each = {"_target_": "NormalizeIntensityd", "keys": "image", "subtrahend": [0.4] * 3, "divisor": [0.2] * 3}
    steps = [{**CT[0], "axcodes": "RA"}, {**each, "channel_wise": True}, {**CT[1], "_disabled_": "true"}]
    found = read_zoo_bundle(write_zoo_bundle(tmp_path / "zoo", colour, preprocessing=steps)).preprocessing
    assert (found.orientation, found.spacing, len(found.intensities)) == ("RA", None, 1)


def test_transforms_that_code_makes_are_told(tmp_path: Path) -> None:
    folder = write_zoo_bundle(tmp_path / "zoo")
    config = json.loads((folder / "configs" / "inference.json").read_text())
    config["own"] = config["preprocessing"]["transforms"]
    config["preprocessing"]["transforms"] = "$@own + []"
    (folder / "configs" / "inference.json").write_text(json.dumps(config))
    found = read_zoo_bundle(folder).preprocessing
    assert found.spacing is None
    assert [text.split(":")[0] for text in found.left_out] == ["Orientationd", "Spacingd", "ScaleIntensityRanged"]


def test_metadata_need_not_state_what_the_network_does(tmp_path: Path) -> None:
    folder = write_zoo_bundle(tmp_path / "zoo", output={"num_channels": None})
    assert read_zoo_bundle(folder).classes == CLASSES


def test_a_network_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    folder = write_zoo_bundle(tmp_path / "zoo")
    config = json.loads((folder / "configs" / "inference.json").read_text())
    config["network_def"]["channels"] = [4]
    config["preprocessing"]["transforms"] = None
    (folder / "configs" / "inference.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="a UNet, cannot be made: the length of `channels` should be no less than 2"):
        read_zoo_bundle(folder)
    config["network_def"]["channels"] = UNET["channels"]
    (folder / "configs" / "inference.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"preprocessing is .*, expected a Compose with a list of transforms"):
        read_zoo_bundle(folder)


def test_arguments_that_monai_has_removed_are_left_out(tmp_path: Path) -> None:
    known = {key: value for key, value in SWIN.items() if key != "img_size"}
    folder = write_zoo_bundle(tmp_path / "zoo", SWIN, with_weights=False)
    (folder / "models").mkdir()
    torch.save({"model": built(known).state_dict()}, folder / "models" / "model.pt")
    zoo = read_zoo_bundle(folder)
    assert "img_size" not in zoo.network_def
    assert zoo.divisors == [32, 32, 32]


@pytest.mark.parametrize(
    ("faulty", "message"),
    [
        ({"in_channels": 4}, "found num_channels 4 in inputs, expected 1, as network_def has in_channels 1"),
        ({"output": {"num_channels": 5}}, "found num_channels 5 in outputs, expected 3"),
        ({"postprocessing": SIGMOID}, "found a sigmoid .* Its channels may overlap"),
        ({"postprocessing": []}, "found neither softmax nor argmax"),
        ({"output": {"type": "object", "format": "dict"}}, "found the output 'object' in the format 'dict'"),
        ({"output": {"format": "regression"}}, "A detection, regression or classification has no sizes"),
        ({"output": {"num_channels": None}, "network": {**UNET, "out_channels": 1}}, "found an output of one channel"),
        ({"output": {"num_channels": "3"}}, "outputs.pred.num_channels is '3', expected a whole number"),
        ({"output": {"channel_def": ["a"]}}, r"channel_def is \['a'\], expected keys with values"),
        ({"classes": ["liver", "kidney", "background"]}, "expected the background as the first"),
        (
            {"preprocessing": [{**CT[0], "axcodes": "XYZ"}]},
            "Orientationd has the axcodes 'XYZ', expected three such as",
        ),
        ({"preprocessing": [{**CT[2], "a_min": None}]}, "ScaleIntensityRanged fails with the arguments .'a_min': None"),
        (
            {"preprocessing": [{**CT[2], "a_min": 164, "a_max": -57}]},
            "a_min 164 and a_max -57, expected a_min below a_max",
        ),
        (
            {"preprocessing": [{**CT[2], "a_min": float("nan")}]},
            "ScaleIntensityRanged makes NaN or ∞ with the arguments",
        ),
        (
            {"preprocessing": [{**CT[1], "pixdim": "@preprocessing#transforms"}]},
            "pixdim is '@preprocessing#transforms', which leads back to itself",
        ),
        ({"preprocessing": [{**CT[1], "pixdim": "$1/0"}]}, r"pixdim is '\$1/0', which fails: division by zero"),
        (
            {"network": {**UNET, "in_channels": "@nothing"}, "in_channels": 1},
            "channels, classes or dimensions it does not state as numbers",
        ),
        ({"with_weights": False}, "found no weights.* large_files.yml"),
        ({"network": {**UNET, "_target_": "scripts.net.Net"}}, "it is the bundle's own code"),
        ({"network": {**UNET, "act": "$torch.nn.ReLU"}}, "its argument act is made by code"),
    ],
)
def test_a_bundle_that_cannot_be_the_start_is_refused(tmp_path: Path, faulty: dict[str, Any], message: str) -> None:
    own = faulty.get("network", {}) != {}
    folder = write_zoo_bundle(tmp_path / "zoo", **{"with_weights": not own, "preprocessing": CT, **faulty})
    with pytest.raises(ValueError, match=message):
        read_zoo_bundle(folder)


def test_weights_of_another_network_and_folders_without_a_bundle_are_refused(tmp_path: Path) -> None:
    folder = write_zoo_bundle(tmp_path / "zoo")
    torch.save(built({**UNET, "channels": [8, 8, 8]}).state_dict(), folder / "models" / "model.pt")
    with pytest.raises(ValueError, match=r"model.pt does not fit network_def .* a UNet: '.*' has the shape .*\]\.$"):
        read_zoo_bundle(folder)
    with pytest.raises(ValueError, match="expected a bundle of the zoo"):
        read_zoo_bundle(tmp_path)
