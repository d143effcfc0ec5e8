"""The one progress display of a fit."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from medsize.fit.duration import as_text
from medsize.fit.plan import Stage

__all__ = ["Display"]


class Display:
    """
    Progress bar of a fit on standard error, if that is a terminal: the stage, its epoch, and the time that is left.

    Args:
        stages: stages of the plan.
    """

    def __init__(self, stages: Sequence[Stage]) -> None:
        self.stages = stages
        self.total = sum(max(stage.epochs, 1) for stage in stages)
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:.0f} %{task.fields[left]}"),
            console=Console(file=sys.stderr),
            transient=True,
            redirect_stdout=sys.stdout.isatty(),  # lines for a file go there
            disable=not sys.stderr.isatty(),
        )
        self.task = self.progress.add_task("", total=1.0, left="")

    def __enter__(self) -> Display:
        self.progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.progress.stop()

    def show(self, number: int, epoch: int = 0, epochs: int = 0, seconds_left: float | None = None) -> None:
        """
        Show how far the fit is.

        Args:
            number: number of the stage, from 1.
            epoch: epochs that it has finished.
            epochs: all its epochs; 0 if it has none.
            seconds_left: seconds that the whole fit still takes. Default: not known.
        """
        stage = self.stages[number - 1]
        text = f"{number}/{len(self.stages)} {stage.title}" + (f", epoch {epoch} of {epochs}" if epochs else "")
        before = sum(max(other.epochs, 1) for other in self.stages[: number - 1])
        within = stage.epochs * epoch / epochs if epochs else 0.0
        left = "" if seconds_left is None else f", about {as_text(seconds_left)} left"
        self.progress.update(self.task, description=text, completed=(before + within) / self.total, left=left)
