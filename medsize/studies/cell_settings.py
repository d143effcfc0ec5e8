"""What the cells of a study were started with, kept beside their results."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from medsize.data.whole_file import written_whole
from medsize.studies.folder_lock import locked

__all__ = ["check_settings"]

SETTINGS = "cell.json"


def check_settings(work_dir: Path, cells: Iterable[tuple[str, Path, dict[str, Any]]]) -> None:
    """
    Keep the settings of each cell in its folder, so that results of other settings are not taken for its own.

    Args:
        work_dir: folder of the study, which others may use at the same time.
        cells: name, folder and settings of each: ``overrides``, a dictionary, and whatever else sets it apart.

    Raises:
        ValueError: when folders hold cells that were started with other settings, naming all of them.
    """
    changed = []
    with locked(work_dir, "settings.lock"):
        for name, folder, settings in cells:
            file = folder / SETTINGS
            # As strings, so that 2 and 2.0 of YAML differ no more than on the command line.
            now = json.loads(json.dumps(settings, default=str))
            if not file.is_file():
                with written_whole(file) as partial:
                    partial.write_text(json.dumps(now, indent=2) + "\n")
                continue
            before = json.loads(file.read_text())
            if before != now:
                changed.append(f"- {name}: {_difference(before, now)}")
    if changed:
        raise ValueError(
            f"{work_dir} holds cells that were run with other settings than the study has now. Take another work "
            "folder, or remove those:\n" + "\n".join(changed)
        )


def _difference(before: dict[str, Any], after: dict[str, Any]) -> str:
    old, new = ({**settings, **settings["overrides"]} for settings in (before, after))
    changed = [key for key in {**old, **new} if key != "overrides" and old.get(key) != new.get(key)]
    return ", ".join(f"{key} was {old.get(key)}, is {new.get(key)}" for key in changed)
