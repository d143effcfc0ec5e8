"""Weights of a network in a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.modules.utils import consume_prefix_in_state_dict_if_present

__all__ = ["misfit", "weights_in"]

CONTAINERS = ("network", "model", "state_dict")


def weights_in(checkpoint: dict[str, Any]) -> dict[str, torch.Tensor]:
    """
    Return the state dict of a network, without the prefix ``module.`` of parallel trainings.

    Args:
        checkpoint: the state dict, or a dictionary that holds it under ``"network"``, ``"model"`` or ``"state_dict"``.
    """
    for key in CONTAINERS:
        checkpoint = checkpoint.get(key, checkpoint)
    consume_prefix_in_state_dict_if_present(checkpoint, "module.")
    return checkpoint


def misfit(network: nn.Module, weights: Mapping[str, Any], partly: bool = False) -> str:
    """
    Return why weights do not fit a network; empty if they do.

    Args:
        network: the network.
        weights: its state dict, or that of another one.
        partly: one tensor of the same name and shape is enough. Defaults to False.
    """
    own = {name: list(tensor.shape) for name, tensor in network.state_dict().items()}
    found = {name: list(getattr(tensor, "shape", ())) for name, tensor in weights.items()}
    if partly and any(found.get(name) == shape for name, shape in own.items()):
        return ""
    if missing := [name for name in own if name not in found]:
        return f"{len(missing)} of its {len(own)} tensors are missing, such as '{missing[0]}'"
    if more := [name for name in found if name not in own]:
        return f"it has no tensor '{more[0]}'"
    others = [
        f"'{name}' has the shape {found[name]}, expected {shape}" for name, shape in own.items() if found[name] != shape
    ]
    return others[-1] if others else ""
