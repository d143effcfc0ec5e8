"""Weights of a loss that change during a training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ignite.engine import Engine, Events
from monai.handlers import ParamSchedulerHandler
from torch import nn

__all__ = ["WeightSchedule"]


class WeightSchedule:
    """
    Let weights of a loss change linearly between two points of the training, by MONAI's ``ParamSchedulerHandler``.

    Args:
        loss: the loss, such as :class:`medsize.losses.CompositeLoss`.
        iterations: length of the training.
        weights: for each attribute of ``loss``: its first value, its last value, and the fractions of the training
            between which it changes.

    Raises:
        ValueError: when the loss has no such attribute, or the fractions are not two ascending numbers in [0, 1].

    Examples:
        >>> schedule = WeightSchedule(loss, 1000, {"potts_weight": (0.0, 0.1, (0.0, 0.2))})  # doctest: +SKIP
    """

    def __init__(
        self, loss: nn.Module, iterations: int, weights: Mapping[str, tuple[float, float, Sequence[float]]]
    ) -> None:
        self.schedulers = []
        for name, (first, last, between) in weights.items():
            if not hasattr(loss, name):
                raise ValueError(f"the loss {type(loss).__name__} has no weight '{name}'. Correct the name.")
            if len(between) != 2 or not 0 <= between[0] <= between[1] <= 1:
                raise ValueError(f"{name} changes between {list(between)}, expected two ascending numbers in [0, 1].")
            setattr(loss, name, first)
            start, end = (round(fraction * iterations) for fraction in between)
            self.schedulers.append(
                ParamSchedulerHandler(
                    parameter_setter=lambda value, name=name: setattr(loss, name, value),
                    value_calculator="linear",
                    vc_kwargs={
                        "initial_value": first,
                        "step_constant": start,
                        "step_max_value": end,
                        "max_value": last,
                    },
                    event=Events.ITERATION_STARTED,
                )
            )

    def attach(self, engine: Engine) -> None:
        """Attach it to a trainer."""
        for scheduler in self.schedulers:
            scheduler.attach(engine)
