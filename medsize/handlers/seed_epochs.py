"""Randomness of every epoch as a function of the seed and the epoch alone."""

from __future__ import annotations

from typing import Any

import ignite.distributed as idist
import torch
from ignite.engine import Engine, Events
from monai.data.utils import set_rnd

__all__ = ["SeedEpochs"]


class SeedEpochs:
    """
    Handler that seeds shuffling, random transforms and dropout anew at the start of every epoch.

    A run that goes on from a checkpoint then sees the same data as an uninterrupted run. Several processes draw the
    same scans, but each transforms its own in its own way.

    Args:
        seed: seed of the run.
        dataset: the training data set, whose random transforms are seeded in the main process. Workers of a
            ``DataLoader`` draw their seeds from its generator when they start.
        generator: the ``DataLoader``'s own generator, if it has one. A loader that runs in a thread needs one, or it
            would share torch's generator with the network.
        sampler_generator: generator of the sampler, which must draw alike in all processes. Default: none.
    """

    def __init__(
        self,
        seed: int,
        dataset: Any,
        generator: torch.Generator | None = None,
        sampler_generator: torch.Generator | None = None,
    ) -> None:
        self.seed = seed
        self.dataset = dataset
        self.generator = generator
        self.sampler_generator = sampler_generator

    def attach(self, engine: Engine) -> None:
        """
        Attach to an engine.

        Args:
            engine: the trainer.
        """
        engine.add_event_handler(Events.EPOCH_STARTED, self)

    def __call__(self, engine: Engine) -> None:
        seed = (self.seed * 1_000_003 + engine.state.epoch) % 2**31
        if self.sampler_generator is not None:
            self.sampler_generator.manual_seed(seed)
        seed = (seed + idist.get_rank() * 10_007) % 2**31
        torch.manual_seed(seed)
        if self.generator is not None:
            self.generator.manual_seed(seed)
        set_rnd(self.dataset, seed=seed)
