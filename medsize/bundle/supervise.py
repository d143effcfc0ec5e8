"""
Supervision of one run of a study or fit: it resumes after a kill, never runs twice, and ends with its caller.

This is a program of its own, ``python -m medsize.bundle.supervise RESULT RUN COMMAND…``. It imports only the standard
library and names of files, so that workers start at once. It holds a lock on the run's folder, which the run inherits:
even a run that outlives all others keeps a second one out. When the caller dies, the standard input closes, and the
supervisor kills the run. When the supervisor itself is killed, the kernel kills the run (on Linux). The outcome of the
run is one line of JSON, an :class:`Outcome`.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from medsize.bundle.run.folder import CHECKPOINT, LOCK, LOG, SUMMARY

__all__ = ["Outcome", "outcome_of", "run_supervised", "start_supervised", "supervise"]

MODULE = "medsize.bundle.supervise"
PATIENCE = 10.0
"""Seconds to wait for a run in the same folder: long enough for one that is being killed."""
PR_SET_PDEATHSIG = 1
HANDS_MEMORY_BACK = "MALLOC_TRIM_THRESHOLD_"
"""Variable that Dask sets for its workers. With it, training returns freed memory at once, and takes twice the time."""


class Outcome(NamedTuple):
    """Outcome of a run. It stays light, like all of this module, so that supervisors and workers start at once."""

    kind: str
    """done; kept: it was finished before; busy: it is running elsewhere; or failed."""
    exit_code: int | None = None
    seconds: float = 0.0
    """Seconds that its process ran; 0 if it did not."""
    reason: str = ""
    """Reason why it could not start."""

    def __str__(self) -> str:
        if self.kind != "failed":
            return self.kind
        if self.reason:
            return f"failed: {self.reason}"
        return f"failed with exit code {self.exit_code}" if self.exit_code else "failed: it ended without results"


def run_supervised(run: str, command: list[str], variables: Mapping[str, str] | None = None) -> Outcome:
    """
    Run the command of a training under a supervisor, a process of its own.

    Args:
        run: output folder of the run.
        command: command to run.
        variables: variables of the run's environment, besides those of this process. Default: none.

    Returns:
        the outcome.
    """
    with start_supervised(run, command, variables) as process:
        return outcome_of(process)


def start_supervised(
    run: str, command: list[str], variables: Mapping[str, str] | None = None, result: str = SUMMARY
) -> subprocess.Popen[str]:
    """
    Start a command under a supervisor, a process of its own. It stops when its standard input is closed.

    Args:
        run: folder of the run, for its lock and its log.
        command: see :func:`supervise`.
        variables: variables of the run's environment, besides those of this process. Default: none.
        result: see :func:`supervise`.

    Returns:
        the supervisor, for :func:`outcome_of`.
    """
    environment = {name: value for name, value in os.environ.items() if name != HANDS_MEMORY_BACK}
    environment.update(variables or {})
    return subprocess.Popen(
        [sys.executable, "-m", MODULE, result, run, *command],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def outcome_of(supervisor: subprocess.Popen[str]) -> Outcome:
    """Wait for a supervisor, and return the outcome of its run."""
    assert supervisor.stdout is not None
    told = supervisor.stdout.read()
    code = supervisor.wait()
    if told:
        return Outcome(**json.loads(told))
    ended = "was killed" if code < 0 else f"ended with exit code {code}"
    return Outcome("failed", reason=f"its supervisor {ended}")


def supervise(run: Path, command: list[str], result: str = SUMMARY) -> Outcome:
    """
    Run a command, unless it is finished or runs elsewhere.

    Args:
        run: folder of the run.
        command: command to run. That of a training gets ``--resume``: True if there is a checkpoint.
        result: name of the file that the folder of a finished run has: of a training, ``summary.json``. With an empty
            name, the command runs each time.

    Returns:
        the outcome.

    Raises:
        OSError: when the folder cannot be written, or the command does not exist.
    """

    def is_finished() -> bool:
        return bool(result) and (run / result).is_file()

    run.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    with (run / LOCK).open("w") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() - started > PATIENCE:
                    return Outcome("busy")
                time.sleep(0.1)
        if is_finished():
            return Outcome("kept")
        started = time.monotonic()
        resume = ["--resume", str((run / CHECKPOINT).is_file())] if result == SUMMARY else []
        with (run / LOG).open("a") as log:
            process = subprocess.Popen(
                [*command, *resume],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=[lock.fileno()],
                preexec_fn=_die_with(os.getpid()),
            )
        threading.Thread(target=_kill_when_abandoned, args=(process.pid,), daemon=True).start()
        code = process.wait()
        seconds = round(time.monotonic() - started, 2)
        succeeded = is_finished() if result else code == 0
        return Outcome("done" if succeeded else "failed", code, seconds)


def _die_with(parent: int):  # type: ignore[no-untyped-def]
    """Return a function for the run to call before it starts, so that it is killed when the supervisor dies."""
    libc = ctypes.CDLL(None)

    def ask() -> None:
        if sys.platform == "linux":
            libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it has died already
            os._exit(1)

    return ask


def _kill_when_abandoned(process: int) -> None:
    os.read(sys.stdin.fileno(), 1)  # returns when the other end is closed
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process, signal.SIGKILL)
    os._exit(1)


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(
            f"{MODULE}: found {len(sys.argv) - 1} arguments, expected RESULT RUN COMMAND…. It is called by medsize fit "
            "and by studies; to train, see medsize train --help."
        )
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        told = supervise(Path(sys.argv[2]), sys.argv[3:], result=sys.argv[1])
    except OSError as e:  # a folder that cannot be written, a program that is missing
        told = Outcome("failed", reason=str(e))
    print(json.dumps(told._asdict()), flush=True)
