"""Several networks as one."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn


class MeanOfNetworks(nn.Module):
    """
    Average the softmax of several networks.

    The logarithm of the sum takes the place of logits: its softmax is the average.

    Args:
        networks: networks with the same classes.
    """

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """
        Predict.

        Args:
            x: images, ``(B, C, *spatial)``.
        """
        log_softmax = torch.stack([network(x).float().log_softmax(dim=1) for network in self.networks])
        return log_softmax.logsumexp(dim=0)
