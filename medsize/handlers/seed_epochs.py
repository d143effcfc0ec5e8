"""Make every epoch's randomness a function of the seed and the epoch alone."""

from __future__ import annotations

from typing import Any

import ignite.distributed as idist
import torch
from ignite.engine import Engine, Events
from monai.data.utils import set_rnd

__all__ = ["SeedEpochs"]


class SeedEpochs:
    """
    Seed shuffling, random transforms and dropout anew at the start of every epoch.

    A run that goes on from a checkpoint then sees what an undisturbed run would have seen. Of several processes, each
    transforms its scans in its own way, but all draw the same ones.

    Args:
        seed: seed of the run.
        dataset: the training data set, whose random transforms are seeded, too (in the main process; workers of a
            ``DataLoader`` draw their seeds from its generator when they start).
        generator: the ``DataLoader``'s generator, if it has one of its own. A loader that runs in a thread needs one:
            it would share torch's with the network.
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
