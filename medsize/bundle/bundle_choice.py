"""Bundles by name or path, and the next commands with the one that fits a cohort."""

from __future__ import annotations

from pathlib import Path

import medsize
from medsize.bundle.run.command import as_typed, run_command
from medsize.suggest import did_you_mean, did_you_mean_path

__all__ = ["bundle_dimensions", "bundle_name", "find_bundle", "go_on_commands", "own_bundles"]


def own_bundles() -> dict[str, Path]:
    """Return the folders of medsize's own bundles by name: within the package, or beside it in a clone."""
    package = Path(medsize.__file__).resolve().parent
    installed, cloned = package / "bundles", package.with_name("bundles")
    folder = installed if installed.is_dir() else cloned
    return {config.parents[1].name: config.parents[1] for config in sorted(folder.glob("*/configs/train.yaml"))}


def find_bundle(name: str, folder: Path | None = None) -> Path:
    """
    Find a bundle by its path, or by its name if it is one of medsize's own.

    A folder of such a name counts as a path only if it is a bundle.

    Args:
        name: path or name.
        folder: folder that paths start from. Default: the current one.

    Raises:
        ValueError: when there is no such bundle.
    """
    path, own = (folder or Path()) / name, own_bundles()
    if name in own and not (path / "configs").is_dir():
        return own[name]
    if path.is_dir():
        return path
    hint = did_you_mean(name, own) or did_you_mean_path(path)
    raise ValueError(f"{name}: found no such bundle, expected {', '.join(own)} or the folder of another.{hint}")


def bundle_name(bundle: Path) -> str:
    """Return the name by which :func:`find_bundle` finds it, or its path."""
    return next((name for name, folder in own_bundles().items() if folder == bundle.resolve()), str(bundle))


def bundle_dimensions(bundle: Path) -> int:
    """
    Return the number of dimensions of the bundle's networks, 2 or 3.

    Raises:
        ValueError: when there is no such bundle.
    """
    import yaml

    config = bundle / "configs" / "train.yaml"
    try:
        return int(yaml.safe_load(config.read_text())["network_def"]["spatial_dims"])
    except (OSError, KeyError, TypeError, ValueError) as e:
        raise ValueError(f"{bundle} is not a bundle of medsize: {config} is missing or defines no network.") from e


def go_on_commands(dimensions: int, overlay: Path, bundle: Path | None = None) -> list[str]:
    """
    Return the commands that train a prepared cohort: one for all, then those of a single training by hand.

    Args:
        dimensions: 2 or 3.
        overlay: the cohort's overlay of train.yaml; it must exist.
        bundle: folder of the bundle. Default: medsize's own.
    """
    folder = bundle or own_bundles()[f"size_seg_{dimensions}d"]
    configs = ["train.yaml", *_recipe(dimensions), str(overlay)]
    run = ["--output_dir", str(overlay.parent.with_name(f"{overlay.parent.name}_run"))]
    name = bundle_name(folder)
    check = ["medsize", "check", name, *(part for config in configs for part in ("--config", config))]
    train = ["medsize", "train", name, *(part for config in configs[1:] for part in ("--overlay", config))]
    fit = ["medsize", "fit", str(overlay.parent), *(["--bundle", name] if bundle else []), "--output-dir", run[1]]
    commands = [as_typed(fit), "# A single training by hand:"]
    commands += [as_typed(command) for command in ([*check, *run], [*train, *run])]
    commands.append(as_typed(run_command(folder, configs, run)))
    return commands


def _recipe(dimensions: int) -> list[str]:
    """Return the bundle's overlays that find most from sizes."""
    return [] if dimensions == 3 else ["imagenet.yaml"]
