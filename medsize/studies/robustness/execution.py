"""Running of the cells that are not finished."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medsize.studies import supervise

__all__ = ["Outcome", "run_all"]


@dataclass(frozen=True)
class Outcome:
    """What became of a cell."""

    kind: str
    """done; kept: it was finished before, or by somebody else; failed: twice."""
    seconds: float = 0.0
    """How long its process ran; 0 where it did not."""
    reason: str = ""
    """Why it failed."""


def run_all(client: Any, runs: Sequence[tuple[Path, list[str]]]) -> Iterator[tuple[int, Outcome]]:
    """
    Run commands on the workers of a Dask cluster, in their order.

    One that fails is tried once more, behind the others; one that another study runs just now is asked for again later.

    Args:
        client: a ``distributed.Client``.
        runs: folder and command of each.

    Yields:
        the index of a run that ended, and its outcome.
    """
    from distributed import as_completed

    def submit(index: int, attempt: int) -> Any:
        folder, command = runs[index]
        future = client.submit(
            supervise.run_supervised, str(folder), command, pure=False, priority=-index - attempt * len(runs)
        )
        pending[future.key] = (index, attempt)
        return future

    pending: dict[str, tuple[int, int]] = {}
    running = as_completed([submit(index, attempt=0) for index in range(len(runs))], loop=client.loop)
    for future in running:
        index, attempt = pending.pop(future.key)
        if future.status == "cancelled":
            raise ConnectionError("The scheduler is lost. Start the study again: it goes on where it was.")
        if future.status == "error":  # its workers died again and again
            result = {"outcome": "failed", "exit_code": None, "reason": str(future.exception())}
        else:
            result = future.result()
        if result["outcome"] == "busy":
            running.add(submit(index, attempt))
        elif result["outcome"] == "failed" and attempt == 0:
            running.add(submit(index, attempt=1))
        else:
            yield index, _outcome(result)


def _outcome(result: dict[str, Any]) -> Outcome:
    kind = result["outcome"]
    if kind != "failed":
        return Outcome(kind, result.get("seconds", 0.0))
    code = result["exit_code"]
    ended = "ended without results" if code == 0 else f"ended with exit code {code}"
    return Outcome(kind, result.get("seconds", 0.0), result.get("reason") or ended)
