"""Lines and a bar that a study shows while it runs."""

from __future__ import annotations

import math
import time
from pathlib import Path
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from medsize.bundle.run.folder import LOG
from medsize.bundle.run.summary import RunSummary
from medsize.bundle.supervise import Outcome
from medsize.studies.robustness.study import RobustnessCell

__all__ = ["StudyProgress"]


class StudyProgress:
    """
    A line for each cell that ends, and in a terminal a bar: cells done, time left, the best and the worst so far.

    Args:
        work_dir: folder of the runs.
        total: number of cells.
        finished: cells that need not run; they count among the best and the worst.
        at_a_time: number of cells that run at a time.
        console: where to print.
    """

    def __init__(
        self, work_dir: Path, total: int, finished: list[RobustnessCell], at_a_time: int, console: Console | None = None
    ) -> None:
        self.work_dir = work_dir
        self.total = total
        self.kept = len(finished)
        self.ended = 0
        self.at_a_time = at_a_time
        self.console = console or Console(highlight=False, soft_wrap=True)
        self._seconds: list[float] = []
        self._dice = {cell: dice for cell in finished if not math.isnan(dice := self._dice_of(cell))}
        self._started = time.monotonic()
        columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
        self._bar = Progress(*columns, console=self.console, disable=not self.console.is_terminal)
        self._task = self._bar.add_task("", total=total, completed=self.kept)

    def __enter__(self) -> StudyProgress:
        self._bar.start()
        if self.kept:
            self.console.print(f"{self.kept} of {self.total} cells are finished already.")
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, trace: TracebackType | None) -> None:
        self._bar.stop()

    def tell(self, cell: RobustnessCell, outcome: Outcome) -> None:
        """Print a line for a cell that ended."""
        self.ended += 1
        if outcome.kind == "done":
            self._seconds.append(outcome.seconds)
        text = f"[{self.kept + self.ended}/{self.total}] {cell}: {outcome}"
        if outcome.kind == "failed":
            text += f", twice. Its log: {cell.folder(self.work_dir) / LOG}"
            self.console.print(text, style="red", markup=False)
        else:
            dice = self._dice_of(cell)
            if not math.isnan(dice):
                self._dice[cell] = dice
                text += f", Dice {dice:.3f}"
            self.console.print(text + (f", {outcome.seconds:.0f} s" if outcome.seconds else ""), markup=False)
        self._bar.update(self._task, completed=self.kept + self.ended, description=self.state())
        if not self.console.is_terminal:
            self.console.print(f"  {self.state()}", markup=False)

    def state(self) -> str:
        """Return the time left, the best and the worst cell so far."""
        left = self.total - self.kept - self.ended
        parts = []
        if left and self._seconds:
            # A cell's own time, not the time since the start: the first cells may all end at once.
            seconds = sum(self._seconds) / len(self._seconds) * math.ceil(left / self.at_a_time)
            parts.append(f"about {_duration(seconds)} left")
        if self._dice:
            for name, pick in (("best", max), ("worst", min)):
                cell = pick(self._dice, key=self._dice.__getitem__)
                parts.append(f"{name} {self._dice[cell]:.3f} ({cell.labels}, seed {cell.seed})")
        return "; ".join(parts)

    def _dice_of(self, cell: RobustnessCell) -> float:
        is_finished = cell.is_finished(self.work_dir)
        dice = RunSummary.read(cell.folder(self.work_dir)).results.dice.mean if is_finished else None
        return math.nan if dice is None else float(dice)


def _duration(seconds: float) -> str:
    minutes = math.ceil(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"
