"""Compilation of a network."""

from __future__ import annotations

from typing import Any

import torch
from monai.data import MetaTensor
from torch import nn

__all__ = ["compile_network"]


def compile_network(network: nn.Module) -> nn.Module:
    """
    Compile the training steps of a network in place, so that its state dict keeps its names.

    The first step of each shape takes a minute or more. Passes without gradients are not compiled, since validation
    sees scans of many shapes. Compilation needs a C++ compiler, and on GPUs Triton: both are tried on one addition
    before anything else runs.

    Args:
        network: on the device that it will run on.

    Returns:
        the network.

    Raises:
        ValueError: when nothing can be compiled here, or the network pads by replication, as
            :class:`medsize.networks.LeanUNet` does: its backward pass fails on CPUs when torch 2.13 compiled it.

    Source: ``torch.compile``.
    """
    if any(getattr(module, "padding_mode", None) == "replicate" for module in network.modules()):
        raise ValueError(
            f"compile is true, but torch cannot compile {type(network).__name__}, which pads by replication. Set "
            "compile to false."
        )
    parameter = next(network.parameters())
    try:
        torch.compile(torch.add)(parameter.detach(), 1)
    except Exception as e:  # any compiler, or none, may raise anything
        raise ValueError(
            f"compile is true, but nothing can be compiled for {parameter.device}: {str(e).splitlines()[0]}. Install a "
            "C++ compiler (g++ or clang), and on GPUs Triton, or set compile to false."
        ) from e
    as_written = network.forward
    compiled = torch.compile(as_written)

    def forward(*inputs: torch.Tensor) -> Any:
        if not torch.is_grad_enabled():
            return as_written(*inputs)
        return compiled(*(x.as_tensor() if isinstance(x, MetaTensor) else x for x in inputs))

    network.forward = forward
    return network
