"""Progress bar with the terms of the loss."""

from __future__ import annotations

import sys
from typing import Any

from ignite.engine import Engine, Events
from ignite.handlers import ProgressBar

__all__ = ["LossProgress"]


class LossProgress(ProgressBar):
    """
    Ignite's progress bar over the epochs of a training, with the remaining time and the terms of the last loss.

    It is shown on terminals only.

    Args:
        loss_function: a loss that keeps its last terms in ``terms``, such as :class:`medsize.losses.CompositeLoss`.
        kwargs: further arguments of Ignite's ``ProgressBar``.
    """

    def __init__(self, loss_function: Any, **kwargs: Any) -> None:
        super().__init__(desc="training", disable=not sys.stderr.isatty(), **kwargs)
        self.loss_function = loss_function

    def attach(self, engine: Engine) -> None:
        """
        Attach to an engine.

        Args:
            engine: the trainer.
        """
        super().attach(
            engine,
            output_transform=lambda _: {name: float(term) for name, term in self.loss_function.terms.items()},
            event_name=Events.EPOCH_COMPLETED,
            closing_event_name=Events.COMPLETED,
        )
