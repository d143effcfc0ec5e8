"""Plan of a fit: its decisions with their reasons, and its stages with their commands."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from medsize.bundle.run.command import as_typed

__all__ = ["Decision", "Plan", "Stage", "Wishes", "override_option"]


class Wishes(BaseModel):
    """Settings that the user asks for; ``None``: the plan decides."""

    model_config = ConfigDict(frozen=True)

    bundle: Path | None = None
    network: str | None = None
    supervision: str | None = None
    fold: str = "0"
    """Fold to validate on, or ``"all"`` for cross-validation."""
    ensemble: bool = False
    """Export the networks of all folds as one, which averages their softmax."""
    time_limit: float | None = None
    """Seconds."""
    look_closer: bool | None = None
    """First locate the structures in whole scans, then train around them."""
    overrides: dict[str, str] = {}
    """Values of keys of the config, in all trainings."""


def override_option(texts: Sequence[str]) -> dict[str, str]:
    """
    Return values by keys, from texts such as ``max_epochs=50``.

    Raises:
        ValueError: when a text has no value.
    """
    pairs = [text.partition("=") for text in texts]
    for key, equals, _ in pairs:
        if not equals:
            raise ValueError(f"--override {key}: found no value, expected KEY=VALUE. Add it.")
    return {key: value for key, _, value in pairs}


class Decision(BaseModel):
    """A decision, and its reason."""

    model_config = ConfigDict(frozen=True)

    text: str
    reason: str

    def __str__(self) -> str:
        return f"{self.text}: {self.reason}"


class Stage(BaseModel):
    """One step of a fit, in a folder of its own."""

    model_config = ConfigDict(frozen=True)

    kind: Literal["check", "first labels", "training", "locate", "ensemble", "export", "report"]
    title: str
    reason: str
    folder: str
    """Its folder below that of the fit; it holds the log."""
    result: str = ""
    """File of a finished stage, from its folder."""
    command: tuple[str, ...] = ()
    """Command to run; none for what fit does itself."""
    fold: int | None = None
    epochs: int = 0
    all_epochs: int = 0
    """Its epochs without a time limit."""
    seconds: float = 0.0
    """Rough guess of its duration."""
    is_result: bool = False
    """True for the training of the network that is shared."""

    @property
    def shown(self) -> str:
        """The command as a user would type it."""
        return as_typed(self.command) if self.command else ""


class Plan(BaseModel):
    """Decisions and stages of a fit."""

    model_config = ConfigDict(frozen=True)

    bundle: Path
    network: str
    decisions: tuple[Decision, ...]
    stages: tuple[Stage, ...]

    @property
    def trainings(self) -> list[Stage]:
        """The stages that train."""
        return [stage for stage in self.stages if stage.kind == "training"]

    @property
    def locates(self) -> bool:
        """True if a first network locates the structures in whole scans, and the others look closer."""
        return any(stage.kind == "locate" for stage in self.stages)

    @property
    def results(self) -> list[Stage]:
        """The trainings of the networks that are shared: one for each fold."""
        return [stage for stage in self.stages if stage.is_result]

    @property
    def shared_folder(self) -> str:
        """Folder of the run whose network is shared: the ensemble, or the result of the first fold."""
        ensemble = next((stage.folder for stage in self.stages if stage.kind == "ensemble"), None)
        return ensemble or self.results[0].folder

    def lines(self) -> Iterator[str]:
        """Yield the plan for the screen: a decision a line, then the stages and their commands."""
        yield "Plan:"
        yield from (f"  {decision}" for decision in self.decisions)
        yield "Stages:"
        for number, stage in enumerate(self.stages, start=1):
            yield f"  {number}. {stage.title}: {stage.reason}"
            if stage.command:
                yield f"     {stage.shown}"
