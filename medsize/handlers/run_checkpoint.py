"""Checkpoints that survive an interruption at any moment."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import torch
from ignite.engine import Engine, Events
from ignite.handlers import DiskSaver

from medsize.bundle.run.folder import CHECKPOINT, WEIGHTS

__all__ = ["RunCheckpoint"]

SCALER = "scaler"


class RunCheckpoint:
    """
    Handler that saves a run's state after every epoch, to be resumed, and the best weights after every validation.

    ``checkpoint.pt`` holds the state of every object, the epoch and the best score so far. ``model.pt`` holds the
    network's weights alone: the best ones or, with a warning, the last ones if no validation gave a score. Each file is
    replaced in one step, so that a kill leaves the earlier one. Both load with ``weights_only=True``. The first of
    several processes saves, and all load: to the CPU, from where each object moves its state to its own device.

    Args:
        save_dir: folder to save to.
        objects: objects with ``state_dict`` and ``load_state_dict``, by name; ``"network"`` is the one whose best
            weights are kept. The trainer need not be among them. Its scaler of gradients, if it has one, is saved, too.
        evaluator: engine whose key metric decides which weights are best.
        lower_is_better: take the smallest key metric as the best. Defaults to True, for errors.
        resume: go on from ``checkpoint.pt`` when the trainer starts. Defaults to False.

    Raises:
        ValueError: when ``objects`` has no ``"network"``.
    """

    def __init__(
        self,
        save_dir: str,
        objects: Mapping[str, Any],
        evaluator: Engine,
        lower_is_better: bool = True,
        resume: bool = False,
    ) -> None:
        if "network" not in objects:
            raise ValueError(f"objects must hold the 'network', got {', '.join(objects)}.")
        self.save_dir = Path(save_dir)
        self.objects = dict(objects)
        self.evaluator = evaluator
        self.lower_is_better = lower_is_better
        self.resume = resume
        self.best_score: float | None = None
        self.logger = logging.getLogger(__name__)

    def attach(self, engine: Engine) -> None:
        """
        Attach to an engine, behind the handler that validates, which attaches to the same events.

        Args:
            engine: the trainer.
        """
        if idist.get_rank() == 0:
            self.save_dir.mkdir(parents=True, exist_ok=True)
        self._saver = DiskSaver(str(self.save_dir), atomic=True, create_dir=False, require_empty=False)
        engine.add_event_handler(Events.STARTED, self._take_scaler)
        if self.resume:
            engine.add_event_handler(Events.STARTED, self._load)
        self.evaluator.add_event_handler(Events.COMPLETED, self._save_if_best)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._save)
        engine.add_event_handler(Events.COMPLETED, self._save_if_never_scored)

    def _take_scaler(self, engine: Engine) -> None:
        """Take the scaler from MONAI's trainer, which makes it as it starts."""
        scaler = getattr(engine, "scaler", None)
        if scaler is not None and scaler.is_enabled():
            self.objects[SCALER] = scaler

    def _save(self, engine: Engine) -> None:
        state = {name: thing.state_dict() for name, thing in self.objects.items()}
        state["progress"] = {
            "epoch": engine.state.epoch,
            "iteration": engine.state.iteration,
            "epoch_length": engine.state.epoch_length,
            "best_score": self.best_score,
        }
        self._saver(state, CHECKPOINT)

    def _save_if_best(self, evaluator: Engine) -> None:
        score = float(evaluator.state.metrics[evaluator.state.key_metric_name])
        if score != score:
            self.logger.warning("the key metric is NaN: this validation cannot say whether the weights are the best.")
            return
        best = self.best_score
        if best is None or (score < best if self.lower_is_better else score > best):
            self.best_score = score
            self._saver(self.objects["network"].state_dict(), WEIGHTS)

    def _save_if_never_scored(self, _: Engine) -> None:
        if self.best_score is None:
            self.logger.warning(f"no validation told which weights are best: {WEIGHTS} holds the last ones.")
            self._saver(self.objects["network"].state_dict(), WEIGHTS)

    def _load(self, engine: Engine) -> None:
        file = self.save_dir / CHECKPOINT
        # AdamW counts its steps on the CPU. On a GPU, each count would be waited for in every step.
        state = torch.load(file, map_location="cpu", weights_only=True)
        progress = state["progress"]
        if progress["epoch_length"] != engine.state.epoch_length:
            raise ValueError(
                f"{file} was saved by a run of {progress['epoch_length']} iterations an epoch, this one has "
                f"{engine.state.epoch_length}: go on with the data list and batch size that it was started with."
            )
        for name, thing in self.objects.items():
            if name in state or name != SCALER:  # a run without AMP may go on with it
                thing.load_state_dict(state[name])
        engine.state.epoch = progress["epoch"]
        engine.state.iteration = progress["iteration"]
        self.best_score = progress["best_score"]
        self.logger.info(f"went on from {file} after epoch {progress['epoch']}")
