"""Small bundles in the layout of MONAI's model zoo, with random weights."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser

UNET = {
    "_target_": "UNet",
    "spatial_dims": 3,
    "in_channels": 1,
    "out_channels": 3,
    "channels": [4, 8, 8],
    "strides": [2, 2],
    "num_res_units": 2,
    "norm": "batch",
}
"""Like the network of spleen_ct_segmentation."""
SEGRESNET = {
    "_target_": "SegResNet",
    "spatial_dims": 3,
    "in_channels": 1,
    "out_channels": 3,
    "init_filters": 8,
    "blocks_down": [1, 1],
    "blocks_up": [1],
    "dropout_prob": 0.2,
}
"""Like that of wholeBody_ct_segmentation."""
CT = [
    {"_target_": "Orientationd", "keys": "@image_key", "axcodes": "RAS"},
    {"_target_": "Spacingd", "keys": "@image_key", "pixdim": [6.0, 6.0, 16.0], "mode": "bilinear"},
    {
        **{"_target_": "ScaleIntensityRanged", "keys": "@image_key"},
        **{"a_min": -57, "a_max": 164, "b_min": 0, "b_max": 1, "clip": True},
    },
]
NORMALISED = [
    {"_target_": "Orientationd", "keys": "@image_key", "axcodes": "RAS"},
    {"_target_": "Spacingd", "keys": "@image_key", "pixdim": "@pixdim", "mode": "bilinear"},
    {"_target_": "CropForegroundd", "keys": "@image_key", "source_key": "@image_key"},
    {"_target_": "NormalizeIntensityd", "keys": "@image_key", "nonzero": True},
    {"_target_": "monai.transforms.ScaleIntensityD", "keys": "@image_key", "minv": -1.0, "maxv": 1.0},
]
SOFTMAX = [{"_target_": "Activationsd", "keys": "pred", "softmax": True}]
SIGMOID = [{"_target_": "Activationsd", "keys": "pred", "sigmoid": True}]
CLASSES = ("background", "Kidney", "liver")


def write_zoo_bundle(
    folder: Path,
    network: Mapping[str, Any] = UNET,
    classes: Sequence[str] = CLASSES,
    preprocessing: Sequence[Mapping[str, Any]] = CT,
    postprocessing: Sequence[Mapping[str, Any]] = SOFTMAX,
    in_channels: int | None = None,
    output: Mapping[str, Any] | None = None,
    with_weights: bool = True,
) -> Path:
    """
    Write a bundle.

    Args:
        folder: folder to write to.
        network: its definition.
        classes: all classes, the background first.
        preprocessing: transforms after the image is loaded.
        postprocessing: transforms of the prediction.
        in_channels: channels that the metadata states. Default: those of the network.
        output: keys of the metadata's output to replace.
        with_weights: write the weights.
    """
    load = [{"_target_": name, "keys": "@image_key"} for name in ("LoadImaged", "EnsureChannelFirstd")]
    config = {
        "imports": ["$import os"],
        "bundle_root": ".",
        "image_key": "image",
        "highres": False,
        "pixdim": "$[1.5, 1.5, 1.5] if @highres else [6.0, 6.0, 16.0]",
        "device": "cpu",
        "network_def": dict(network),
        "preprocessing": {"_target_": "Compose", "transforms": [*load, *preprocessing]},
        "postprocessing": {"_target_": "Compose", "transforms": list(postprocessing)},
    }
    image = {"type": "image", "format": "hounsfield", "num_channels": in_channels or network.get("in_channels", 1)}
    pred = {"type": "image", "format": "segmentation", "num_channels": len(classes)}
    pred |= {"channel_def": {str(i): name for i, name in enumerate(classes)}} | dict(output or {})
    data = {"inputs": {"image": image}, "outputs": {"pred": pred}}
    (folder / "configs").mkdir(parents=True)
    (folder / "configs" / "inference.json").write_text(json.dumps(config))
    (folder / "configs" / "metadata.json").write_text(json.dumps({"network_data_format": data}))
    if with_weights:
        (folder / "models").mkdir()
        torch.manual_seed(1)
        torch.save(built(network).state_dict(), folder / "models" / "model.pt")
    return folder


def built(network: Mapping[str, Any]) -> torch.nn.Module:
    """Return the network of a definition, in inference mode."""
    module: torch.nn.Module = ConfigParser({"of": dict(network)}).get_parsed_content("of")
    return module.eval()
