"""Check that the network of a run can be built, takes the run's window and gives its classes."""

from __future__ import annotations

import copy

import torch
from monai.bundle import ConfigParser
from monai.networks import eval_mode
from torch import nn

from medsize.bundle.run.settings import RunSettings
from medsize.checks.findings import Finding
from medsize.networks.initialise import without_imagenet_weights

__all__ = ["NETWORK", "built_network", "network_findings"]

NETWORK = "network_def"
"""Key of a config that defines the network."""


def network_findings(parser: ConfigParser, settings: RunSettings) -> list[Finding]:
    """
    Find why a run's network cannot be built, or is not one for its window and classes.

    Only the shapes of the network's layers are worked out, which costs neither memory nor time. A network that does not
    run without values is tried on a window of zeros.

    Args:
        parser: config of the run.
        settings: its settings.
    """
    try:
        network = built_network(parser)
    except RuntimeError as e:  # what MONAI makes of everything that a network says about its arguments
        return [Finding(NETWORK, f"the network cannot be built: {_first_line(e)}. Correct its arguments.")]
    problems = []
    if settings.init == "imagenet" and (problem := without_imagenet_weights(network)):
        problems.append(problem)
    if settings.roi_size and settings.num_classes is not None and "in_channels" in parser:
        channels = parser.get_parsed_content("in_channels")
        problems += _shape_problems(network, channels, settings.roi_size, settings.num_classes)
    return [Finding(NETWORK, problem) for problem in problems]


def built_network(parser: ConfigParser, key: str = NETWORK) -> nn.Module:
    """Return the network that a config defines, and let the config build it anew later, after the seed is set."""
    resolved = parser.ref_resolver.resolved_content
    is_built = key in resolved
    network: nn.Module = parser.get_parsed_content(key)
    if not is_built:
        parser.ref_resolver.remove_resolved_content(key)
    return network


def _shape_problems(network: nn.Module, channels: int, window: tuple[int, ...], num_classes: int) -> list[str]:
    """Return why a network does not fit a window ``(channels, *window)``, or the number of classes."""
    name = type(network).__name__
    try:
        output = _output(copy.deepcopy(network).to("meta"), torch.empty((1, channels, *window), device="meta"))
    except Exception:  # noqa: BLE001 - not every network runs without values; what counts is whether it runs with them
        try:
            output = _output(network, torch.zeros((1, channels, *window)))
        except Exception as e:  # noqa: BLE001 - whatever a layer says about a shape
            return [
                f"the {name} cannot take a window of {list(window)} voxels (roi_size) with {channels} channels: "
                f"{_first_line(e)}. Change roi_size, in_channels, or the network."
            ]
    if not isinstance(output, torch.Tensor) or output.shape[1] == num_classes:
        return []
    return [
        f"the {name} gives {output.shape[1]} channels, expected {num_classes}: one for each structure of the cohort, "
        "and one for the background. Set its out_channels to @num_classes."
    ]


def _output(network: nn.Module, window: torch.Tensor) -> object:
    """Return what a network gives for a window in an evaluation; its mode stays as it was."""
    with eval_mode(network):
        return network(window)


def _first_line(error: Exception) -> str:
    """Return what was said first, without what MONAI adds to it."""
    while error.__cause__ is not None and isinstance(error.__cause__, Exception):
        error = error.__cause__
    return next(iter(str(error).strip().splitlines()), type(error).__name__).rstrip(".")
