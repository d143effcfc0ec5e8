"""Which bundle a cohort is for, and the commands that go on with it."""

from __future__ import annotations

import shlex
from pathlib import Path

import medsize
from medsize.bundle.run_command import run_command

__all__ = ["bundle_dimensions", "go_on_commands"]


def bundle_dimensions(bundle: Path) -> int:
    """
    2 or 3, as the bundle's networks have them.

    Raises:
        ValueError: when there is no such bundle.
    """
    import yaml

    config = bundle / "configs" / "train.yaml"
    try:
        return int(yaml.safe_load(config.read_text())["network_def"]["spatial_dims"])
    except (OSError, KeyError, TypeError, ValueError) as e:
        raise ValueError(f"{bundle} is no bundle of medsize: {config} is missing or defines no network.") from e


def go_on_commands(dimensions: int, overlay: Path, bundle: Path | None = None) -> list[str]:
    """
    Commands that check and train a prepared cohort.

    Args:
        dimensions: 2 or 3.
        overlay: the cohort's overlay of train.yaml.
        bundle: Default: medsize's own, where it was installed from its repository.
    """
    own = Path(medsize.__file__).parents[1] / "bundles" / f"size_seg_{dimensions}d"
    folder = bundle or own
    # From sizes alone, only a network that starts from ImageNet weights finds structures; it sees slices.
    overlays = ["imagenet.yaml"] if dimensions == 2 and (folder / "configs" / "imagenet.yaml").is_file() else []
    configs = ["train.yaml", *overlays, str(overlay)]
    run = ["--output_dir", str(overlay.parent.with_name(f"{overlay.parent.name}_run"))]
    check = ["medsize", "check", str(folder), *(part for config in configs for part in ("--config", config))]
    train = ["medsize", "train", str(folder), *(part for config in configs[1:] for part in ("--overlay", config))]
    commands = [shlex.join([*check, *run]), shlex.join([*train, *run])]
    if folder.is_dir():
        commands.append(shlex.join(["python", *run_command(folder, configs, run)[1:]]))
    if dimensions == 3:
        commands.append("# From sizes alone, a 3D network needs a 2D one as its teacher: see the bundle's README.")
    return commands
