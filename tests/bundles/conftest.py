"""Bundles, run as their users run them."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import BUNDLE_2D

SMALL = ["--spacing", "[6.0,6.0]", "--roi_size", "[32,32]", "--max_epochs", "2", "--val_interval", "1"]


@pytest.fixture(scope="session")
def run_bundle(command: Callable) -> Callable[..., subprocess.CompletedProcess]:
    """``monai.bundle run`` of the 2D bundle with some of its configs, from a foreign folder."""

    def run(configs: list[str | Path], *options: object, cwd: Path, check: bool = True) -> subprocess.CompletedProcess:
        files = [str(BUNDLE_2D / "configs" / config) if isinstance(config, str) else str(config) for config in configs]
        return command(
            "monai.bundle",
            "run",
            "--bundle_root",
            BUNDLE_2D,
            "--config_file",
            files,
            *options,
            cwd=cwd,
            check=check,
        )

    return run


@pytest.fixture(scope="session")
def trained(run_bundle: Callable, phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Output folder of a short run from sizes, cropped to the roi."""
    folder = tmp_path_factory.mktemp("trained")
    output = folder / "run"
    run_bundle(
        ["train.yaml"],
        "--dataset_dir",
        phantoms,
        "--output_dir",
        output,
        "--use_roi",
        "True",
        *SMALL,
        cwd=folder,
    )
    return output
