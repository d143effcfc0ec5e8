"""Run of a fit's stages: each is a process of its own, and goes on where it was stopped."""

from __future__ import annotations

import csv
import json
import re
import signal
import subprocess
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path

from medsize.bundle.run.folder import CHECKPOINT, EPOCHS, LOG, METRICS, is_finished
from medsize.bundle.supervise import Outcome, outcome_of, start_supervised
from medsize.files import atomic_write
from medsize.fit.display import Display
from medsize.fit.duration import LEAST_EPOCHS, Pace, as_text
from medsize.fit.plan import Plan, Stage
from medsize.suggest import first_few

__all__ = [
    "CLOCK",
    "StageFailed",
    "last_error",
    "missed_in",
    "run_stages",
    "shortened_to",
    "stage_seconds",
    "unfound_in",
    "warnings_in",
]

POLL = 0.25
"""Seconds between two looks at a running stage."""
CLOCK = "clock.json"
"""File with the seconds that the fit has run, over all its starts."""
LENGTH = "length.json"
"""File in the folder of a training whose number of epochs a time limit has changed."""
REFUSED, WARNED = "medsize found what would spoil this run", "medsize found what does not stop a run"
METADATA = "metadata.json"
NOT_LOCATED = ": found no structure in it"
"""Part of the line of medsize locate about a scan."""
WARNING = "  - warning: "
WARNINGS = re.compile(r": .*\d+ warnings?$")
"""End of the line above warnings about one part."""
EXCEPTION = re.compile(r"(?:[A-Za-z_][\w.]*\.)?[A-Z]\w*(?:Error|Exception|Exit|Interrupt|Refused|Warning)(?:: .*)?")
CHAINED = ("The above exception was the direct cause", "During handling of the above exception")


class StageFailed(Exception):
    """Failure of a stage; the last line of its message names the log."""


class Clock:
    """Seconds that a fit has run, over all its starts."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.before = float(json.loads(file.read_text())) if file.is_file() else 0.0
        self.started = self.saved = time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds up to now."""
        return self.before + time.monotonic() - self.started

    def save(self, every: float = 0.0) -> None:
        """Save the seconds, if that was not done in the last ``every`` seconds."""
        if time.monotonic() - self.saved >= every:
            self.saved = time.monotonic()
            with suppress(OSError), atomic_write(self.file) as partial:  # a full disk stops what matters more
                partial.write_text(f"{self.seconds:.1f}\n")


def run_stages(
    plan: Plan,
    output_dir: Path,
    own: Mapping[str, Callable[[], None]],
    time_limit: float | None = None,
    report: Callable[[str], None] = print,
    trained: Callable[[], None] = lambda: None,
) -> None:
    """
    Run all stages that are not finished.

    The folder of a stage tells how far it is: a training goes on from its last checkpoint, and loses one epoch at most.

    Args:
        plan: the plan.
        output_dir: folder of the fit.
        own: functions for the stages that have no command, by their kind.
        time_limit: seconds for all trainings, over all starts. The first epochs of each training are measured, and
            their number is changed to fit.
        report: function that gets a line for each stage that ends.
        trained: function to call when the networks to share are trained, before anything is made of them.

    Raises:
        StageFailed: with the reason, and the log's path in the last line.
    """
    with Display(plan.stages) as display:
        pace, clock = Pace(plan.trainings, time_limit), Clock(output_dir / CLOCK)
        running = _Stages(plan, output_dir, own, pace, clock, display, report)
        for number, stage in enumerate(plan.stages, start=1):
            started, log = time.monotonic(), output_dir / stage.folder / LOG
            before = log.stat().st_size if log.is_file() else 0
            outcome = running.run(number, stage)
            if outcome.kind in ("failed", "busy"):
                raise StageFailed(_failure(stage, log, before, outcome))
            if [stage] == plan.results[-1:]:
                trained()
            took = f" in {as_text(time.monotonic() - started)}" if outcome.kind == "done" else ""
            report(f"{number}/{len(plan.stages)} {stage.title}: {outcome}{took}")
            for line in _doubts(stage, log):
                report(f"  {line}")
            if shortened := shortened_to(stage, output_dir / stage.folder):
                limit = "its time limit asked" if outcome.kind == "kept" else f"{_limit(time_limit)} asks"
                report(f"  {shortened}, as {limit}")


@dataclass(frozen=True)
class _Stages:
    """Stages of a fit that runs."""

    plan: Plan
    output_dir: Path
    own: Mapping[str, Callable[[], None]]
    pace: Pace
    clock: Clock
    display: Display
    report: Callable[[str], None]

    def run(self, number: int, stage: Stage) -> Outcome:
        """Run a stage, unless it is finished or superfluous."""
        self.display.show(number)
        if self._is_finished(stage):
            outcome = Outcome("kept")
        elif stage.command:
            outcome = self._run_command(number, stage)
        else:
            outcome = _run_here(self.own[stage.kind], self.output_dir / stage.folder / LOG)
        self.clock.save()
        self.pace.finish(stage)
        return outcome

    def _is_finished(self, stage: Stage) -> bool:
        """Return whether a stage has its result, or a training that has begun shows that it is not needed again."""
        if stage.kind in ("check", "first labels"):
            ahead = self.plan.stages[self.plan.stages.index(stage) + 1 :]
            training = self.output_dir / next(other.folder for other in ahead if other.kind == "training")
            return (training / CHECKPOINT).is_file() or is_finished(training)
        return bool(stage.result) and (self.output_dir / stage.folder / stage.result).is_file()

    def _run_command(self, number: int, stage: Stage) -> Outcome:
        """Run the command of a stage to its end, anew with another number of epochs if the time limit asks for it."""
        folder = self.output_dir / stage.folder
        epochs = _length(stage, folder)
        while True:
            command = with_epochs(stage.command, epochs) if stage.epochs else list(stage.command)
            with start_supervised(str(folder), command, result=stage.result) as process:
                wanted = self._watch(process, number, stage, epochs)
                if wanted == epochs:
                    return outcome_of(process)
            epochs = wanted  # the process was stopped
            with atomic_write(folder / LENGTH) as partial:
                partial.write_text(f"{epochs}\n")

    def _watch(self, process: subprocess.Popen[str], number: int, stage: Stage, epochs: int) -> int:
        """Wait for the end of a process, or for the first epochs to show that it should have another number of them."""
        folder = self.output_dir / stage.folder
        before = seen = len(_seconds_of(stage, folder))
        while process.poll() is None:
            seconds = _seconds_of(stage, folder)
            if len(seconds) > seen:
                seen = len(seconds)
                self.pace.measure(stage, seconds[before:])
                if longer := self.pace.too_long(stage, seen, self.clock.seconds):
                    limit, needed = _limit(self.pace.limit), as_text(longer)
                    self.report(f"  {limit} cannot hold: with {LEAST_EPOCHS} epochs each it takes about {needed}")
                wanted = self.pace.epochs(stage, epochs, seen, self.clock.seconds)
                if wanted != epochs:
                    return wanted
            self.display.show(number, seen, epochs, self.pace.seconds_left(stage, epochs - seen))
            self.clock.save(every=5.0)
            time.sleep(POLL)
        return epochs


def _run_here(function: Callable[[], None], log: Path) -> Outcome:
    """Run a stage in this process; what it prints goes to the log."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a", encoding="utf-8") as file, redirect_stdout(file), redirect_stderr(file):
        try:
            function()
        except (OSError, ValueError, RuntimeError) as e:
            traceback.print_exc()
            return Outcome("failed", reason=" ".join(str(e).split()))
    return Outcome("done")


def _doubts(stage: Stage, log: Path) -> list[str]:
    """Return the lines that the screen shows of a stage's warnings."""
    if stage.kind == "first labels":
        return warnings_in(log, "first labels")
    if stage.kind == "locate":
        return missed_in(log)
    if stage.kind == "training" and (names := unfound_in(log.parent)):
        tail = "" if stage.is_result else ": what it teaches is of little use"
        return [f"it finds no {' and no '.join(names)} in any scan never trained on{tail}"]
    number = len(warnings_in(log)) if stage.kind == "check" else 0
    return [f"{number} warning{'s' if number > 1 else ''}, see {log}"] if number else []


def unfound_in(run: Path) -> list[str]:
    """Return the structures of which a run's last evaluation found nothing, though scans have them."""
    file = run / METRICS
    if not file.is_file():
        return []
    with file.open(encoding="utf-8") as table:
        rows = [row for row in csv.DictReader(table) if float(row["true_high_ml"] or 0) > 0]
    found = {row["structure"] for row in rows if float(row["volume_ml"]) > 0}
    return list(dict.fromkeys(row["structure"] for row in rows if row["structure"] not in found))


def _seconds_of(stage: Stage, folder: Path) -> list[float]:
    return stage_seconds(folder) if stage.epochs else []


def _length(stage: Stage, folder: Path) -> int:
    """Return the number of epochs of a training: that of the plan, or the one that a time limit has set."""
    file = folder / LENGTH
    return int(json.loads(file.read_text())) if stage.epochs and file.is_file() else stage.epochs


def shortened_to(stage: Stage, folder: Path) -> str:
    """Return to how many of its epochs a time limit has shortened a training; empty if it has not."""
    epochs = _length(stage, folder)
    return f"{epochs} of {stage.all_epochs} epochs" if epochs < stage.all_epochs else ""


def _limit(seconds: float | None) -> str:
    return "its time limit" if seconds is None else f"the time limit of {as_text(seconds)}"


def with_epochs(command: Sequence[str], epochs: int) -> list[str]:
    """Return the command of a training with another number of epochs."""
    changed = list(command)
    if "--max_epochs" in changed:
        changed[changed.index("--max_epochs") + 1] = str(epochs)
        return changed
    return [*changed, "--max_epochs", str(epochs)]


def missed_in(log: Path) -> list[str]:
    """Return a line about the scans in which nothing was located; none if there are no such scans."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.is_file() else []
    missed = list(dict.fromkeys(line.partition(NOT_LOCATED)[0] for line in lines if NOT_LOCATED in line))
    return [f"nothing was located in {first_few(missed)}: the middle was taken"] if missed else []


def stage_seconds(folder: Path) -> list[float]:
    """Return the seconds of each finished epoch of a run."""
    try:
        with (folder / EPOCHS).open() as lines:
            return [float(row["seconds"]) for row in csv.DictReader(lines)]
    except FileNotFoundError:
        return []


def _failure(stage: Stage, log: Path, before: int, outcome: Outcome) -> str:
    """
    Return the message about a failed stage: the findings of a check, then one line with the error and the log.

    Args:
        stage: the stage.
        log: its log.
        before: bytes that earlier attempts have written to it.
        outcome: what came of it.
    """
    if outcome.kind == "busy":
        return f"{stage.title}: another process works in {log.parent}. Wait for it, or stop it."
    findings, error = last_error(log, before)
    if outcome.exit_code and outcome.exit_code < 0 and not outcome.reason:
        cause = ", as happens where memory is short" if -outcome.exit_code == signal.SIGKILL else ""
        error = f"it was killed by signal {-outcome.exit_code}{cause}"
    error = outcome.reason or error or str(outcome)
    go_on = "Mend it, and run the command again." if findings else "The same command goes on from here."
    return "\n".join([*findings, f"{stage.title} failed: {error}. Log: {log}. {go_on}"])


def last_error(log: Path, before: int = 0) -> tuple[list[str], str]:
    """
    Find the error in the log of a stage that has failed.

    Args:
        log: the log; of several errors, the last one counts.
        before: bytes that earlier attempts have written to it, whose errors do not count. Defaults to 0.

    Returns:
        the findings of a check, one a line, if it was refused; and the error in one line. Of a chain of exceptions,
        this is the first one, which is the cause.
    """
    try:
        lines = log.read_bytes()[before:].decode(errors="replace").splitlines()
    except FileNotFoundError:
        return [], ""
    refused = [number for number, line in enumerate(lines) if line.startswith(REFUSED)]
    if refused:
        findings = [line for line in lines[refused[-1] + 1 :] if line.strip()]
        return findings, "what is listed above would spoil it"
    if told := _told_in_box(lines):
        return [], told
    raised = [
        number for number, line in enumerate(lines) if EXCEPTION.fullmatch(line.strip()) and line == line.lstrip()
    ]
    if not raised:
        return [], next((line.strip() for line in reversed(lines) if line.strip()), "")
    at = len(raised) - 1
    while at and any(line.startswith(CHAINED) for line in lines[raised[at - 1] : raised[at]]):
        at -= 1
    return [], lines[raised[at]].rstrip(".")


def _told_in_box(lines: Sequence[str]) -> str:
    """Return the text of the frame that a command of medsize has put around its error, if the log ends with one."""
    text = [line for line in lines if line.strip()]
    if not text or not text[-1].startswith("╰─"):
        return ""
    start = max((number for number, line in enumerate(text) if line.startswith("╭─")), default=len(text))
    told = before = ""
    for line in text[start + 1 : -1]:
        part = line.removeprefix("│ ").removesuffix(" │")
        word = before.rpartition(" ")[2] + part.partition(" ")[0]
        is_cut = not before.endswith(" ") and len(word) > len(part)  # a word longer than a line
        told += f"{'' if is_cut else ' '}{part.rstrip()}"
        before = part
    return told.strip().removeprefix("Invalid value: ").rstrip(".")


def warnings_in(log: Path, source: str | None = None) -> list[str]:
    """
    Return the warnings that a check has written to a log.

    Args:
        log: the log.
        source: beginning of the part that they are about. Default: all but the bundle's metadata, which export writes
            anew.
    """
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.is_file() else []
    found: dict[str, None] = {}  # each once: of several attempts, all are there
    about = None
    for line in lines:
        if line.startswith(WARNED):
            about = ""
        elif about is not None and line.startswith(WARNING):
            if METADATA not in about if source is None else about.startswith(source):
                found[line.removeprefix(WARNING)] = None
        else:
            about = line if about is not None and WARNINGS.search(line) else None
    return list(found)
