"""Settings of a study's cells, kept beside their results."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from medsize.bundle.run.folder import LOG, SETTINGS
from medsize.files import atomic_write, locked
from medsize.studies.study import Cell, Study

__all__ = ["check_settings", "distinguishing", "record_settings"]


def distinguishing(settings: dict[str, Any]) -> dict[str, Any]:
    """
    Return the settings by which results are told apart.

    Bundles made no first labels once; now they do by default. So ``use_first_labels: false`` counts as nothing: results
    from before are those of a study that states it. A study that does not state it asks for something else.

    Args:
        settings: what :meth:`Study.settings` returns.
    """
    overrides = {"use_first_labels": "default", **settings["overrides"]}
    if overrides["use_first_labels"] is False:
        del overrides["use_first_labels"]
    before = {need: distinguishing(settings[need]) for need in ("teacher", "locator") if settings.get(need)}
    return {**settings, "overrides": overrides, **before}


def check_settings(study: Study, work_dir: Path) -> None:
    """
    Check the settings of all cells that were started: results of other settings are not taken for their own.

    This holds for all cells, not only for those to run: all results in the folder go into the tables.

    Args:
        study: the study to run.
        work_dir: folder of the runs, which other studies may use at the same time.

    Raises:
        ValueError: when folders hold cells that were started with other settings, or with unknown ones; naming
            all of them.
    """
    changed = []
    for cell in study.cells():
        if not _was_started(cell, work_dir):
            continue
        file = cell.folder(work_dir) / SETTINGS
        now = json.loads(_settings_text(study, cell))
        before = json.loads(file.read_text()) if file.is_file() else None
        if before is None:
            changed.append(f"- {cell}: it was run, but {SETTINGS} is missing")
        elif before != now:
            changed.append(f"- {cell}: {', '.join(_differences(before, now))}")
    if changed:
        raise ValueError(
            f"{work_dir} holds cells that were run with other settings than the study has now. Take another work "
            "folder, or remove those:\n" + "\n".join(changed)
        )


def record_settings(study: Study, cell: Cell, work_dir: Path) -> None:
    """Write the settings of a cell into its folder, before it starts."""
    with locked(work_dir, "settings.lock"):  # another study may start it, too
        if not _was_started(cell, work_dir):
            with atomic_write(cell.folder(work_dir) / SETTINGS) as partial:
                partial.write_text(_settings_text(study, cell))


def _was_started(cell: Cell, work_dir: Path) -> bool:
    return (cell.folder(work_dir) / LOG).is_file() or cell.is_finished(work_dir)


def _settings_text(study: Study, cell: Cell) -> str:
    return json.dumps(distinguishing(study.settings(cell)), indent=2, default=str) + "\n"


def _differences(before: Any, after: Any, name: str = "") -> Iterator[str]:
    """Yield the differences between two settings, key by key."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in {**before, **after}:
            inner = f"{name}: {key}" if name else key
            yield from _differences(before.get(key), after.get(key), name if key == "overrides" else inner)
    elif before != after:
        yield f"{name} was {before}, is {after}"
