"""Starting weights of a network."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from monai.networks import copy_model_state
from torch import nn

from medsize.networks.output_bias import start_at_fractions
from medsize.networks.weights import weights_in

__all__ = ["INITS", "initialise", "without_imagenet_weights"]

INITS = ("random", "imagenet", "teacher", "checkpoint")


def initialise(
    network: nn.Module,
    init: str = "random",
    checkpoint: str | Path | None = None,
    class_fractions: Sequence[float] | None = None,
    strict: bool = False,
) -> nn.Module:
    """
    Give a network its starting weights.

    Args:
        network: changed in place.
        init: one of

            - ``"random"``: leave the weights as they were built;
            - ``"imagenet"``: call the network's method ``load_imagenet_weights``;
            - ``"teacher"``: the same where the network has that method, else ``"random"``, since a teacher teaches by
              its soft labels (see :class:`medsize.transforms.SoftLabeld`);
            - ``"checkpoint"``: take every tensor of a state dict whose name and shape match, and print the count.

        checkpoint: file of the state dict, or of a dictionary that holds it under ``"network"``, ``"model"`` or
            ``"state_dict"``.
        class_fractions: fractions that an untrained output starts from, see :func:`start_at_fractions`. An output that
            the checkpoint holds stays as it was trained.
        strict: refuse a checkpoint that lacks a tensor of the network. Defaults to False.

    Returns:
        the same network.

    Raises:
        FileNotFoundError: when the package that holds the ImageNet weights is not installed.
        ValueError: when ``init`` is not one of these, the network has no ImageNet weights, ``checkpoint`` is missing,
            nothing in it matches, or, with ``strict``, it lacks a part of the network.
    """
    if init not in INITS:
        raise ValueError(f"init is '{init}', expected one of {', '.join(INITS)}.")
    if class_fractions is not None:
        start_at_fractions(network, class_fractions)
    if init == "random":
        return network
    if init in ("imagenet", "teacher"):
        load_weights = getattr(network, "load_imagenet_weights", None)
        if load_weights is None and init == "teacher":
            return network
        if load_weights is None:
            raise ValueError(without_imagenet_weights(network))
        load_weights()
        return network
    if checkpoint is None:
        raise ValueError("init is 'checkpoint': it needs the file of the weights, init_checkpoint.")
    state = weights_in(torch.load(checkpoint, map_location="cpu", weights_only=True))
    _, loaded, kept = copy_model_state(network, state)
    if not loaded:
        raise ValueError(f"{checkpoint}: no tensor matches the network's in name and shape.")
    if strict and kept:
        raise ValueError(f"{checkpoint}: these tensors of the network are not in it, or differ in shape: {kept}.")
    print(f"{checkpoint}: {len(loaded)} tensors loaded, {len(kept)} left as they were:", ", ".join(kept) or "none")
    share = _share_of_parameters(network, loaded)
    if share < 0.5:
        warnings.warn(f"{checkpoint}: it holds only {share:.1%} of the network's parameters.", stacklevel=2)
    keep_statistics = getattr(network, "keep_statistics", None)
    if keep_statistics is not None and not any("running_" in name for name in kept):
        keep_statistics()
    return network


def without_imagenet_weights(network: nn.Module) -> str:
    """Return that a network has no ImageNet weights, and which one has; empty if it has them."""
    if hasattr(network, "load_imagenet_weights"):
        return ""
    return (
        f"init is 'imagenet', but {type(network).__name__} has no ImageNet weights: use a LeanUNet, as the bundle's "
        "overlay imagenet.yaml does."
    )


def _share_of_parameters(network: nn.Module, names: Sequence[str]) -> float:
    sizes = {name: parameter.numel() for name, parameter in network.named_parameters()}
    return sum(sizes.get(name, 0) for name in names) / max(sum(sizes.values()), 1)
