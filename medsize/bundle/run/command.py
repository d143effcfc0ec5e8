"""Commands of MONAI that train and apply a bundle."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medsize.bundle.parts import read_object
from medsize.suggest import closest_or_all

__all__ = [
    "as_options",
    "as_typed",
    "config_fault",
    "config_file",
    "existing_config",
    "run_command",
    "training_command",
]

ENDINGS = (".yaml", ".yml", ".json")
"""Endings of the files that MONAI takes for configs."""


def config_file(bundle: Path, name: str | Path) -> Path:
    """Return the path of a config in a bundle, or ``name`` as a path if the bundle has no such config."""
    in_bundle = bundle / "configs" / name
    return in_bundle if in_bundle.is_file() or not Path(name).is_file() else Path(name)


def config_fault(file: Path) -> str:
    """Return why MONAI cannot merge a config file; empty if it can."""
    if file.suffix.lower() not in ENDINGS:
        return f"found the ending '{file.suffix}', expected one of {', '.join(ENDINGS)}. Rename it."
    try:
        read_object(file, "Correct it.")
    except ValueError as e:
        return str(e).removeprefix(f"{file}: ")
    return ""


def as_options(values: Mapping[str, Any]) -> list[str]:
    """Return overrides as options of MONAI's command line."""
    return [part for key, value in values.items() for part in (f"--{key}", str(value))]


def as_typed(command: Sequence[str]) -> str:
    """Return a command as a user would type it."""
    words = ["python", *command[1:]] if command[0] == sys.executable else command
    return " ".join(
        f'"{word}"' if "'" in word and not set(word) & set('"$`\\!') else shlex.quote(word) for word in words
    )


def run_command(
    bundle: Path,
    configs: Sequence[str | Path],
    options: Sequence[str],
    processes: int = 1,
) -> list[str]:
    """
    Return the command ``python -m monai.bundle run`` of a bundle, for any current folder.

    Args:
        bundle: folder of the bundle.
        configs: config files in the order in which they are merged: names in the bundle's folder ``configs``, or paths.
            A :class:`~pathlib.Path` need not exist yet.
        options: overrides, as on the command line.
        processes: number of processes; ``torchrun`` starts several. Defaults to 1.

    Raises:
        ValueError: when there is no such config, naming those of the bundle; or when it holds no keys.
    """
    files = [c.resolve() if isinstance(c, Path) else existing_config(bundle, c) for c in configs]
    launcher = ["monai.bundle"]
    if processes > 1:
        launcher = ["torch.distributed.run", "--standalone", f"--nproc_per_node={processes}", "-m", *launcher]
    arguments = ["--bundle_root", str(bundle.resolve()), "--config_file", str([str(file) for file in files])]
    return [sys.executable, "-m", *launcher, "run", *arguments, *options]


def training_command(
    bundle: Path,
    overlays: Sequence[str | Path],
    options: Sequence[str],
    processes: int = 1,
) -> list[str]:
    """
    Return :func:`run_command` of a training.

    Args:
        bundle: folder of the bundle.
        overlays: configs to put over ``train.yaml``, see :func:`run_command`.
        options: overrides, as on the command line.
        processes: number of processes that train together. Defaults to 1.

    Raises:
        ValueError: when there is no such config, or it holds no keys.
    """
    last = ["multi_gpu_train.yaml"] if processes > 1 else []
    return run_command(bundle, ["train.yaml", *overlays, *last], options, processes)


def existing_config(bundle: Path, config: str) -> Path:
    """
    Return the path of a config, as :func:`run_command` takes it.

    Raises:
        ValueError: when there is no such config, or it holds no keys.
    """
    file = config_file(bundle, config).resolve()
    if file.is_file():
        if fault := config_fault(file):
            raise ValueError(f"{file}: {fault}")
        return file
    folder = bundle.resolve() / "configs"
    known = sorted(file.name for file in folder.glob("*.yaml"))
    hint = closest_or_all(config, known)
    raise ValueError(f"{folder} has no config '{config}', nor is it a path.{hint}")
