"""Reading of the YAML file that describes a study."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import BaseModel, ValidationError

__all__ = ["matches", "read_study"]

Study = TypeVar("Study", bound=BaseModel)


def read_study(file: Path, model: type[Study]) -> Study:
    """
    Read and check a study.

    Raises:
        ValueError: naming all that is wrong with the file.
    """
    try:
        return model.model_validate(yaml.safe_load(file.read_text()))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as e:
        raise ValueError(f"{file}: it cannot be read: {e}") from e
    except ValidationError as e:
        problems = [": ".join([".".join(str(p) for p in error["loc"]), error["msg"]]) for error in e.errors()]
        raise ValueError(f"{file}:\n" + "\n".join(f"- {problem.removeprefix(': ')}" for problem in problems)) from e


def matches(pattern: str | None, name: str) -> bool:
    """
    Whether a cell is chosen by part of its name.

    Args:
        pattern: a regular expression; ``None`` for all.
        name: of the cell.

    Raises:
        ValueError: when the pattern is none.
    """
    try:
        return pattern is None or re.search(pattern, name) is not None
    except re.error as e:
        raise ValueError(f"--only '{pattern}' is no regular expression: {e}") from e
