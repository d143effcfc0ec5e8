"""The 3D bundle trains both networks from sizes of whole structures, and learns from a 2D teacher."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from tests.conftest import PROJECT

BUNDLES = PROJECT / "bundles"
SMALL = ["--spacing", "[6.0,6.0,16.0]", "--roi_size", "[32,32,8]", "--max_epochs", "1", "--val_interval", "1"]


@pytest.fixture(scope="module")
def run_3d(command: Callable, phantoms: Path) -> Callable:
    def run(overlays: list[str], *options: object, cwd: Path) -> None:
        bundle = BUNDLES / "size_seg_3d"
        files = [str(bundle / "configs" / name) for name in ["train.yaml", *overlays]]
        arguments = ["--bundle_root", bundle, "--config_file", files, "--dataset_dir", phantoms, *SMALL, *options]
        command("monai.bundle", "run", *arguments, cwd=cwd)

    return run


def last_epoch(output: Path) -> dict[str, str]:
    return list(csv.DictReader((output / "epochs.csv").open()))[-1]


@pytest.mark.parametrize(
    ("overlays", "terms"),
    [
        ([], {"size", "potts", "agreement"}),
        (["segresnet.yaml"], {"size", "potts", "agreement"}),
        (["mask_supervision.yaml"], {"mask", "agreement"}),
    ],
    ids=["UNet", "SegResNet", "masks"],
)
def test_every_network_trains(run_3d: Callable, tmp_path: Path, overlays: list[str], terms: set[str]) -> None:
    run_3d(overlays, "--output_dir", tmp_path / "run", "--potts_ramp", "[0.0,0.1]", cwd=tmp_path)
    row = last_epoch(tmp_path / "run")
    assert {name for name in ("size", "potts", "agreement", "mask") if row.get(name)} == terms
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert (summary["training_scans"], summary["cases"]) == (6, 3)


def test_evaluation_finds_what_training_found(run_3d: Callable, tmp_path: Path) -> None:
    output = tmp_path / "run"
    run_3d([], "--output_dir", output, cwd=tmp_path)
    run_3d(["evaluate.yaml"], "--output_dir", output, cwd=tmp_path)
    first, second = (pd.read_csv(folder / "metrics.csv") for folder in (output, output / "evaluation"))
    pd.testing.assert_frame_equal(first, second)


def test_a_2d_teacher_teaches(run_3d: Callable, command: Callable, phantoms: Path, tmp_path: Path) -> None:
    bundle = BUNDLES / "size_seg_2d"
    files = [str(bundle / "configs" / name) for name in ("train.yaml", "imagenet.yaml")]
    command(
        *("monai.bundle", "run", "--bundle_root", bundle, "--config_file", files, "--dataset_dir", phantoms),
        *("--output_dir", tmp_path / "teacher", "--spacing", "[6.0,6.0]", "--roi_size", "[32,32]"),
        *("--size_level", "volume", "--max_epochs", 1, "--val_interval", 1),
        cwd=tmp_path,
    )
    options = ["--teacher_checkpoint", tmp_path / "teacher" / "model.pt", "--output_dir", tmp_path / "student"]
    run_3d(["teacher.yaml"], *options, cwd=tmp_path)
    assert float(last_epoch(tmp_path / "student")["soft_label"]) > 0
