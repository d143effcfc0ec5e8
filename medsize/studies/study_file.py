"""Reading of the YAML file that describes a study."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import BaseModel, ValidationError

__all__ = ["read_study"]

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
