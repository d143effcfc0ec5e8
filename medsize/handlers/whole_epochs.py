"""Detection of epochs that end early."""

from __future__ import annotations

from ignite.engine import Engine, Events

__all__ = ["WholeEpochs"]


class WholeEpochs:
    """
    Handler that stops a training whose loader gave fewer batches than an epoch has.

    When a transform fails in the thread of MONAI's ``ThreadDataLoader``, the trace is printed and the epoch ends.
    Without this handler, the training would go on with the rest of the data. Attach it before that of checkpoints.
    """

    def __init__(self) -> None:
        self._done = 0

    def attach(self, engine: Engine) -> None:
        """
        Attach to an engine.

        Args:
            engine: the trainer.

        Raises:
            RuntimeError: at the end of an epoch that was not whole.
        """
        engine.add_event_handler(Events.EPOCH_STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._count)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._check)

    def _start(self, _: Engine) -> None:
        self._done = 0

    def _count(self, _: Engine) -> None:
        self._done += 1

    def _check(self, engine: Engine) -> None:
        if self._done != engine.state.epoch_length:
            raise RuntimeError(
                f"epoch {engine.state.epoch} had {self._done} batches, expected {engine.state.epoch_length}: the "
                "loader stopped. Read the error that is printed above, or show it by --num_workers 1."
            )
