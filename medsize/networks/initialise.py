"""Where a network's training starts from."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import torch
from monai.networks import copy_model_state
from torch import nn

from medsize.networks.output_bias import start_at_fractions

__all__ = ["INITS", "initialise"]

INITS = ("random", "imagenet", "checkpoint")


def initialise(
    network: nn.Module,
    init: str = "random",
    checkpoint: str | Path | None = None,
    class_fractions: Sequence[float] | None = None,
) -> nn.Module:
    """
    Give a network its starting weights.

    Args:
        network: changed in place.
        init: ``"random"``, as it was built; ``"imagenet"``, the pretrained weights that the network itself knows, by
            its method ``load_imagenet_weights``; or ``"checkpoint"``, a state dict, from which every tensor is taken
            whose name and shape match. How many were is logged.
        checkpoint: file of the state dict, or of a dictionary that holds it under ``"network"``.
        class_fractions: let an untrained output start from these, see :func:`start_at_fractions`. Not with
            ``"checkpoint"``, whose output is trained.

    Returns:
        the same network.

    Raises:
        ValueError: when ``init`` is none of these, the network knows no ImageNet weights, ``checkpoint`` is missing,
            or nothing in it matches.
    """
    if init not in INITS:
        raise ValueError(f"init is '{init}': it must be one of {', '.join(INITS)}.")
    if class_fractions is not None and init != "checkpoint":
        start_at_fractions(network, class_fractions)
    if init == "random":
        return network
    if init == "imagenet":
        load_weights = getattr(network, "load_imagenet_weights", None)
        if load_weights is None:
            raise ValueError(
                f"init is 'imagenet', but {type(network).__name__} has no ImageNet weights: use a LeanUNet, as the "
                "bundle's overlay imagenet.yaml does."
            )
        load_weights()
        return network
    if checkpoint is None:
        raise ValueError("init is 'checkpoint': it needs the file of the weights, init_checkpoint.")
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    _, loaded, kept = copy_model_state(network, state.get("network", state))
    if not loaded:
        raise ValueError(f"{checkpoint}: no tensor matches the network's in name and shape.")
    message = f"{checkpoint}: {len(loaded)} tensors loaded, {len(kept)} left as they were"
    logging.getLogger(__name__).info(message + (f": {', '.join(kept)}" if kept else ""))
    return network
