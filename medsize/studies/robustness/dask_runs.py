"""Commands on the workers of a Dask cluster; a failed one is tried again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from medsize.bundle.supervise import Outcome, run_supervised

__all__ = ["run_on_workers"]


def run_on_workers(client: Any, runs: Sequence[tuple[Path, list[str]]]) -> Iterator[tuple[int, Outcome]]:
    """
    Run commands on the workers, in their order.

    A failed command is tried once more, after the others. A run that is busy in another study is tried again later.

    Args:
        client: a ``distributed.Client``.
        runs: folder and command of each.

    Yields:
        the index of a run that ended, and its outcome.
    """
    from distributed import as_completed

    def submit(index: int, attempt: int) -> Any:
        folder, command = runs[index]
        future = client.submit(run_supervised, str(folder), command, pure=False, priority=-index - attempt * len(runs))
        pending[future.key] = (index, attempt)
        return future

    pending: dict[str, tuple[int, int]] = {}
    running = as_completed([submit(index, attempt=0) for index in range(len(runs))], loop=client.loop)
    for future in running:
        index, attempt = pending.pop(future.key)
        if future.status == "cancelled":
            raise ConnectionError("The scheduler is lost. Start the study again: it goes on where it stopped.")
        died = future.status == "error"  # its workers did, again and again
        outcome = Outcome("failed", reason=str(future.exception())) if died else future.result()
        if outcome.kind == "busy":
            running.add(submit(index, attempt))
        elif outcome.kind == "failed" and attempt == 0:
            running.add(submit(index, attempt=1))
        else:
            yield index, outcome
