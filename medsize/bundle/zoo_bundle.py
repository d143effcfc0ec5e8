"""Bundles of MONAI's model zoo, read as the start of a training: network, weights, preprocessing and classes."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser

from medsize.bundle.parts import OF_SCRIPTS, read_weights
from medsize.bundle.zoo_config import ZooConfig, first_reason, is_plain, open_zoo_config
from medsize.bundle.zoo_preprocessing import Preprocessing, read_preprocessing
from medsize.networks.weights import misfit, weights_in
from medsize.scans.structure_name import matching_structures

__all__ = ["AdaptedWeights", "ZooBundle", "read_zoo_bundle", "window_divisors"]

IN, OUTS = "in_channels", ("out_channels", "num_classes")
DIVISOR = 32
"""Number that sides of a window are divided by in networks that state neither strides nor blocks."""


@dataclass(frozen=True)
class AdaptedWeights:
    """Weights for other classes and channels."""

    state: Mapping[str, torch.Tensor]
    kept: Mapping[str, str]
    """By structure, the class of the bundle whose channel it has."""
    new: tuple[str, ...]
    """Structures whose channel starts from random weights."""
    dropped: tuple[str, ...]
    """Classes of the bundle that no structure has."""


@dataclass(frozen=True)
class ZooBundle:
    """Bundle of the zoo that segments by a softmax."""

    folder: Path
    network_def: Mapping[str, Any]
    """Definition of the network, with plain values."""
    out_key: str
    """Name of its argument for the classes."""
    classes: tuple[str, ...]
    """All classes, the background first."""
    weights: Mapping[str, torch.Tensor]
    preprocessing: Preprocessing

    @property
    def in_channels(self) -> int:
        """Channels of the images."""
        return int(self.network_def[IN])

    @property
    def spatial_dims(self) -> int:
        """Dimensions of the network."""
        return int(self.network_def["spatial_dims"])

    @property
    def divisors(self) -> list[int]:
        """Numbers that the window's sides must be multiples of."""
        return window_divisors(self.network_def)

    def definition(self) -> dict[str, Any]:
        """Return ``network_def`` for a bundle of medsize: channels and classes follow the cohort."""
        return {**self.network_def, IN: "@in_channels", self.out_key: "@num_classes"}

    def adapt(self, structures: Sequence[str], in_channels: int) -> AdaptedWeights:
        """
        Return the weights for other classes and channels.

        A structure keeps the output channel of the class that has its name. Its output is as it was, but for the part
        of dropped classes in layers behind the one that makes the channels. One channel in place of several is as if
        the image were repeated for each.

        Args:
            structures: structures to segment, without the background.
            in_channels: channels of the images: those of the bundle, or 1.
        """
        kept = {name: found for name in structures if (found := self._same(name)) is not None}
        old = [0, *(self.classes.index(found) for found in kept.values())]
        new = [0, *(1 + structures.index(name) for name in kept)]
        count = 1 + len(structures)
        fresh = self._built(in_channels, count)
        axes_in, axes_out = (
            self._axes(self._built(self.in_channels + more_in, len(self.classes) + more_out))
            for more_in, more_out in ((1, 0), (0, 1))
        )
        state = {}
        for name, tensor in self.weights.items():
            if in_channels != self.in_channels:
                for axis in axes_in.get(name, ()):
                    tensor = tensor.sum(axis, keepdim=True)
            state[name] = _channels(tensor, fresh[name], axes_out.get(name, ()), old, new)
        dropped = tuple(name for name in self.classes[1:] if name not in kept.values())
        return AdaptedWeights(state, kept, tuple(name for name in structures if name not in kept), dropped)

    def _same(self, structure: str) -> str | None:
        """Return the class with a structure's name, in any case and with any signs between its words."""
        alike = [
            name
            for name in self.classes[1:]
            if matching_structures(structure, [name]) and matching_structures(name, [structure])
        ]
        return alike[0] if len(alike) == 1 else None

    def _built(self, in_channels: int, classes: int) -> Mapping[str, torch.Tensor]:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            network = ConfigParser({"of": {**self.network_def, IN: in_channels, self.out_key: classes}})
            state: Mapping[str, torch.Tensor] = network.get_parsed_content("of").state_dict()
            return state

    def _axes(self, other: Mapping[str, torch.Tensor]) -> dict[str, tuple[int, ...]]:
        """Return the axes along which tensors of another network of this kind differ."""
        return {
            name: tuple(i for i, (n, m) in enumerate(zip(tensor.shape, other[name].shape, strict=True)) if n != m)
            for name, tensor in self.weights.items()
        }


def window_divisors(network_def: Mapping[str, Any]) -> list[int]:
    """
    Return the numbers that the sides of a network's window must be multiples of.

    Args:
        network_def: its definition, with plain values.
    """
    axes = int(network_def.get("spatial_dims", 3))
    divisors = [1] * axes
    if "strides" in network_def:
        for stride in network_def["strides"]:
            along = [stride] * axes if isinstance(stride, int) else stride
            divisors = [d * s for d, s in zip(divisors, along, strict=True)]
        return divisors
    blocks = network_def.get("blocks_down")
    return [DIVISOR if blocks is None else 2 ** (len(blocks) - 1)] * axes


def read_zoo_bundle(folder: Path) -> ZooBundle:
    """
    Read a bundle of the zoo to start a training from.

    Args:
        folder: folder of the bundle, with its weights.

    Raises:
        ValueError: when it is no such bundle, its metadata and its network disagree, or it does not segment by a
            softmax.
    """
    config = open_zoo_config(folder)
    _check_segmentation(config)
    _check_softmax(config)
    definition = _network_definition(config)
    out_key = next((key for key in OUTS if key in definition), None)
    if out_key is None or not all(isinstance(definition.get(key), int) for key in (IN, out_key, "spatial_dims")):
        raise ValueError(
            f"{config.file}: network_def is a {definition['_target_']}, whose channels, classes or dimensions it does "
            "not state as numbers. Expected a network with in_channels, out_channels and spatial_dims."
        )
    for key, name, stated in ((IN, "inputs", config.image), (out_key, "outputs", config.pred)):
        if stated.num_channels not in (None, definition[key]):
            raise ValueError(
                f"{config.metadata}: found num_channels {stated.num_channels} in {name}, expected {definition[key]}, "
                f"as network_def has {key} {definition[key]} in {config.file.name}. Correct the one that is wrong."
            )
    if definition[out_key] < 2:
        raise ValueError(
            f"{config.file}: found an output of one channel, expected one for each class, with the background. A size "
            "target is a distribution over them."
        )
    classes = [config.pred.channel_def.get(str(i), f"class {i}") for i in range(definition[out_key])]
    if "background" in (name.strip().lower() for name in classes[1:]):
        raise ValueError(
            f"{config.metadata}: found the channels {', '.join(classes)}, expected the background as the first. Such a "
            "network cannot be adapted."
        )
    weights = _weights(folder / "models" / "model.pt", definition)
    preprocessing = read_preprocessing(config, definition["spatial_dims"], definition[IN])
    return ZooBundle(folder, definition, out_key, tuple(classes), weights, preprocessing)


def _check_segmentation(config: ZooConfig) -> None:
    """Refuse a bundle whose output is no segmentation of several classes."""
    found = config.pred
    if found.format not in ("segmentation", "labels") or found.type not in ("image", "probability"):
        raise ValueError(
            f"{config.metadata}: found the output '{found.type}' in the format '{found.format}', expected an image of "
            "the format 'segmentation'. A detection, regression or classification has no sizes to learn from."
        )


def _check_softmax(config: ZooConfig) -> None:
    """Refuse a bundle whose channels are not classes that exclude each other."""
    found = config.transforms("postprocessing")
    if any(step.get("sigmoid") or step.get("threshold") is not None for step in found):
        raise ValueError(
            f"{config.file}: found a sigmoid or a threshold in its postprocessing, expected softmax or argmax. Its "
            "channels may overlap; a size target is a distribution over classes that do not."
        )
    if not any(step.get("softmax") or step.get("argmax") for step in found):
        raise ValueError(
            f"{config.file}: found neither softmax nor argmax in its postprocessing, expected one of them."
        )


def _network_definition(config: ZooConfig) -> dict[str, Any]:
    """Return ``network_def`` with plain values, those of the network's defaults among them."""
    definition = config.plain("network_def")
    if not isinstance(definition, dict) or "_target_" not in definition:
        raise ValueError(f"{config.file}: found no network_def with a _target_, expected one of MONAI's networks.")
    target = OF_SCRIPTS.get(str(definition["_target_"]), str(definition["_target_"]))
    definition = {**definition, "_target_": target}
    unknown = [key for key, value in definition.items() if not is_plain(value)]
    if target.startswith("scripts.") or unknown:
        why = f"its argument {unknown[0]} is made by code" if unknown else "it is the bundle's own code"
        raise ValueError(
            f"{config.file}: network_def is {target}: {why}. Expected a network of MONAI with plain arguments."
        )
    if definition.get("deep_supervision"):
        raise ValueError(
            f"{config.file}: network_def has deep supervision, so several outputs in training. Expected one."
        )
    try:
        network = ConfigParser({"of": {"_target_": target, "_mode_": "callable"}}).get_parsed_content("of")
    except ModuleNotFoundError as e:
        raise ValueError(f"{config.file}: found network_def {target}, which is not installed or does not exist.") from e
    known = inspect.signature(network).parameters
    if not any(p.kind is p.VAR_KEYWORD for p in known.values()):
        definition = {key: value for key, value in definition.items() if key in known or key == "_target_"}
    defaults = {key: known[key].default for key in (IN, *OUTS, "spatial_dims") if key in known}
    return {**{key: value for key, value in defaults.items() if isinstance(value, int)}, **definition}


def _weights(file: Path, definition: Mapping[str, Any]) -> Mapping[str, torch.Tensor]:
    if not file.is_file():
        raise ValueError(
            f"{file}: found no weights, expected those of the bundle. Download the whole bundle by "
            "python -m monai.bundle download, or the files in its large_files.yml."
        )
    state = weights_in(read_weights(file))
    try:
        network = ConfigParser({"of": definition}).get_parsed_content("of")
    except Exception as e:  # of any network
        raise ValueError(
            f"network_def of configs/inference, a {definition['_target_']}, cannot be made: {first_reason(e)}. Correct "
            "it."
        ) from e
    if why := misfit(network, state):
        raise ValueError(f"{file} does not fit network_def of configs/inference, a {definition['_target_']}: {why}.")
    return dict(state)


def _channels(
    tensor: torch.Tensor, fresh: torch.Tensor, axes: Sequence[int], old: Sequence[int], new: Sequence[int]
) -> torch.Tensor:
    """
    Return a tensor of which some axes are classes: those at ``new`` have what the others had at ``old``.

    What would mix kept classes with new ones is 0.
    """
    if not axes:
        return tensor
    result = fresh.clone().to(tensor.dtype)
    added = [i for i in range(fresh.shape[axes[0]]) if i not in new]
    if len(axes) == 2:
        for kept_axis, added_axis in (axes, (axes[1], axes[0])):
            result[_places(result, {kept_axis: new, added_axis: added})] = 0
    kept = tensor[_places(tensor, dict.fromkeys(axes, old))]
    result[_places(result, dict.fromkeys(axes, new))] = kept
    return result


def _places(tensor: torch.Tensor, chosen: Mapping[int, Sequence[int]]) -> tuple[torch.Tensor, ...]:
    """Return the index of a block of a tensor: some places along some axes, all along the others."""
    along = [torch.tensor(list(chosen.get(i, range(n))), dtype=torch.long) for i, n in enumerate(tensor.shape)]
    return torch.meshgrid(*along, indexing="ij")
