"""Check that the network of a run can be built, takes the run's scans and window, and gives its classes."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import torch
from monai.bundle import ConfigParser
from monai.networks import eval_mode
from torch import nn

from medsize.bundle.run.settings import RunSettings
from medsize.checks.findings import Finding
from medsize.networks.initialise import without_imagenet_weights
from medsize.scans.scan_facts import UNREADABLE, image_place
from medsize.suggest import first_few

__all__ = ["NETWORK", "built_network", "network_findings"]

NETWORK = "network_def"
"""Key of a config that defines the network."""
IN_CHANNELS = "in_channels"
"""Key of a config that holds the channels of the scans."""
EVALUATION = {"window_inferer": ("SliceInferer", "SlidingWindowInferer")}
TRAINING = {
    "train#trainer": ("SupervisedTrainer", "TwoPassTrainer"),
    "train#inferer": ("SimpleInferer",),
    "train#loss": ("CompositeLoss",),
}
"""Parts of a config by whose components a network must give one tensor; others may choose among several."""


def network_findings(
    parser: ConfigParser, settings: RunSettings, items: Sequence[Mapping[str, Any]] = ()
) -> list[Finding]:
    """
    Find why a run's network cannot be built, or is not one for its scans, window and classes.

    Only the shapes of the network's layers are worked out, which costs neither memory nor time. A network that does not
    run without values is tried on a window of zeros.

    Args:
        parser: config of the run.
        settings: its settings.
        items: scans of the run.
    """
    try:
        network = built_network(parser)
    except Exception as e:  # noqa: BLE001 - whatever a network says about its arguments
        advice = _missing_package(e) or "Correct its arguments."
        return [Finding(NETWORK, f"the network cannot be built: {_first_line(e)}. {advice}")]
    if not isinstance(network, nn.Module):
        return [Finding(NETWORK, f"found a {type(network).__name__}, expected a network. State its class as _target_.")]
    problems = []
    if settings.init == "imagenet" and (problem := without_imagenet_weights(network)):
        problems.append(problem)
    of_scans = []
    if IN_CHANNELS in parser:
        of_scans = _channel_problems(parser, items, settings.supervision is None)
        if settings.roi_size and settings.num_classes is not None:
            problems += _shape_problems(network, parser, settings, settings.num_classes)
    return [*(Finding(IN_CHANNELS, problem) for problem in of_scans), *(Finding(NETWORK, p) for p in problems)]


def built_network(parser: ConfigParser, key: str = NETWORK) -> nn.Module:
    """Return the network that a config defines, and let the config build it anew later, after the seed is set."""
    resolved = parser.ref_resolver.resolved_content
    is_built = key in resolved
    network: nn.Module = parser.get_parsed_content(key)
    if not is_built:
        parser.ref_resolver.remove_resolved_content(key)
    return network


def _channel_problems(parser: ConfigParser, items: Sequence[Mapping[str, Any]], is_evaluation: bool) -> list[str]:
    """Return that scans have other channels than the network is given by ``in_channels``."""
    stated = parser.get_parsed_content(IN_CHANNELS)
    others = {}
    for item in items:
        with suppress(*UNREADABLE):  # the check of the scans tells of these
            if (channels := image_place(item["image"]).channels) != stated:
                others[item["image"]] = channels
    first = next((item for item in items if item["image"] in others), None)
    if first is None or not _reaches_network(parser, first, others[first["image"]]):
        return []
    if len(others) < len(items):
        remedy = "Prepare all scans with one number of channels, as medsize init does."
    elif is_evaluation:
        remedy = f"Name scans of {stated}, as the network was trained on."
    else:
        remedy = "Leave in_channels out: it follows from the scans."
    return [f"found {stated}, expected {others[first['image']]}, the channels of {first_few(list(others))}. {remedy}"]


def _reaches_network(parser: ConfigParser, item: Mapping[str, Any], channels: int) -> bool:
    """Return whether a scan keeps its channels when it is prepared: a transform of an overlay may repeat them."""
    try:
        return len(parser.get_parsed_content("validate#preprocessing")(dict(item))["image"]) == channels
    except Exception:  # noqa: BLE001 - then it is not known, and other checks have the word
        return False


def _shape_problems(network: nn.Module, parser: ConfigParser, settings: RunSettings, num_classes: int) -> list[str]:
    """Return why a network does not fit a run's window ``(in_channels, *roi_size)``, or the number of classes."""
    name, channels, window = type(network).__name__, parser.get_parsed_content(IN_CHANNELS), settings.roi_size
    try:
        tried, given = copy.deepcopy(network).to("meta"), torch.empty((1, channels, *window), device="meta")
        output = _output(tried, given)
    except Exception:  # noqa: BLE001 - not every network runs without values; what counts is whether it runs with them
        try:
            tried, given = network, torch.zeros((1, channels, *window))
            output = _output(tried, given)
        except Exception as e:  # noqa: BLE001 - whatever a layer says about a shape
            return [
                f"the {name} cannot take a window of {list(window)} voxels (roi_size) with {channels} channels: "
                f"{_first_line(e)}. {_missing_package(e) or _remedy(parser, channels, len(window))}"
            ]
    if _is_plain(parser, EVALUATION) and (problem := _output_problem(output, (1, num_classes, *window))):
        return [f"the {name} gives {problem}"]
    if settings.supervision is not None and _is_plain(parser, TRAINING):
        output = _output_in_training(tried, given)
        if output is not None and (problem := _output_problem(output, (2, num_classes, *window))):
            return [f"in training, the {name} gives {problem}"]
    return []


def _output(network: nn.Module, window: torch.Tensor) -> object:
    """Return what a network gives for a window in an evaluation; its mode stays as it was."""
    with eval_mode(network):
        return network(window)


def _output_in_training(network: nn.Module, window: torch.Tensor) -> object:
    """
    Return what a network gives for two windows in training; ``None`` if that cannot be told.

    A copy is tried, since batch norms take statistics in training. They refuse one value for each channel, hence two
    windows.
    """
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            return copy.deepcopy(network).train()(torch.cat([window, window]))
    except Exception:  # noqa: BLE001 - it runs in an evaluation; larger batches may well run in training
        return None


def _output_problem(output: object, expected: tuple[int, ...]) -> str:
    """Return why an output is not one tensor of the shape ``(B, K, *spatial)`` that is expected; empty if it is."""
    if not isinstance(output, torch.Tensor):
        found = f"a {type(output).__name__}"
    elif output.shape == expected:
        return ""
    elif output.ndim == len(expected) and (output.shape[0], *output.shape[2:]) == (expected[0], *expected[2:]):
        return (
            f"{output.shape[1]} channels, expected {expected[1]}: one for each structure of the cohort, and one for "
            "the background. Set its out_channels to @num_classes."
        )
    else:
        found = f"the shape {list(output.shape)}"
    remedy = "Let it give that alone, without deep supervision or the like."
    if isinstance(output, torch.Tensor) and output.ndim <= len(expected):
        remedy = "Change roi_size, or let it give a value for each class and voxel."
    return f"{found}, expected one tensor {list(expected)}: batch, classes, and the window (roi_size). {remedy}"


def _is_plain(parser: ConfigParser, components: Mapping[str, Sequence[str]]) -> bool:
    """Return whether parts of a config are among the named components, as far as it has these parts."""
    parts = {key: parser.get(key, {"_target_": names[0]}) for key, names in components.items()}
    return all(
        isinstance(part, Mapping) and str(part.get("_target_")).rpartition(".")[2] in components[key]
        for key, part in parts.items()
    )


def _remedy(parser: ConfigParser, channels: int, axes: int) -> str:
    """Return what to change so that a network takes a window: an argument that contradicts it, or else the window."""
    for argument, expected, reference in (("spatial_dims", axes, axes), (IN_CHANNELS, channels, f"@{IN_CHANNELS}")):
        key = f"{NETWORK}#{argument}"
        if key in parser and (stated := parser.get_parsed_content(key)) != expected:
            return f"Its {argument} is {stated}, expected {expected}. Set it to {reference}."
    return "Change roi_size, or the network."


def _missing_package(error: Exception) -> str:
    """Return which package to install, if an error is for want of one."""
    missing = re.search(r"No module named '(\w+)", str(_cause(error)))
    return f"Install {missing[1]}." if missing else ""


def _cause(error: BaseException) -> BaseException:
    """Return the error that others were raised from."""
    while isinstance(error.__cause__, Exception):
        error = error.__cause__
    return error


def _first_line(error: Exception) -> str:
    """Return what was said first, without what MONAI adds to it."""
    cause = _cause(error)
    return next(iter(str(cause).strip().splitlines()), type(cause).__name__).rstrip(".")
