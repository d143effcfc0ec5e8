"""Two processes train as one does with the doubled batch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch
from monai.bundle import ConfigParser

from medsize.bundle.run.command import as_options
from tests.conftest import FEW_WORDS, PROJECT

NO_RANDOMNESS = ["--random_transforms", "[]", "--agreement_weight", "0.0"]
SMALL = {
    2: ["--size_level", "volume", "--spacing", "[6.0,6.0]", "--roi_size", "[32,32]", *as_options(FEW_WORDS)],
    3: ["--spacing", "[6.0,6.0,16.0]", "--roi_size", "[32,32,8]", *as_options(FEW_WORDS)],
}


@pytest.fixture
def run(command: Callable, phantoms: Path, tmp_path: Path) -> Callable:
    return runs_of(command, phantoms, tmp_path)


def runs_of(command: Callable, phantoms: Path, folder: Path) -> Callable:
    """Trainings and evaluations of a bundle, under torchrun where an overlay asks for it."""

    def run(dimensions: int, overlays: list[str], *options: object, processes: int) -> str:
        bundle = PROJECT / "bundles" / f"size_seg_{dimensions}d"
        files = [str(bundle / "configs" / name) for name in ["train.yaml", *overlays]]
        arguments = ["run", "--bundle_root", bundle, "--config_file", files, "--dataset_dir", phantoms, *options]
        torchrun = ["torch.distributed.run", "--standalone", f"--nproc_per_node={processes}", "-m"]
        together = any(name.startswith("multi_gpu") for name in overlays)
        return command(*(torchrun if together else []), "monai.bundle", *arguments, cwd=folder).stdout

    return run


@pytest.mark.parametrize(
    ("dimensions", "overlays"),
    [
        pytest.param(2, ["imagenet.yaml"], id="2D, ImageNet weights", marks=pytest.mark.slow),
        pytest.param(3, [], id="3D, UNet"),
        pytest.param(3, ["segresnet.yaml"], id="3D, SegResNet", marks=pytest.mark.slow),
    ],
)
def test_two_processes_follow_one_with_the_doubled_batch(
    run: Callable, tmp_path: Path, dimensions: int, overlays: list[str]
) -> None:
    several_follow_one(run, tmp_path, dimensions, overlays)


def several_follow_one(
    run: Callable, tmp_path: Path, dimensions: int, overlays: list[str], *options: object, processes: int = 2
) -> None:
    same = [*SMALL[dimensions], *NO_RANDOMNESS, "--epoch_scans", 4, "--max_epochs", 5, "--val_interval", 5, *options]
    same += ["--soft_label_fade", "[1.0,1.0]"]
    one, two = tmp_path / "one", tmp_path / "two"
    run(dimensions, overlays, *same, "--batch_size", 4, "--output_dir", one, processes=1)
    parallel = [*overlays, "multi_gpu_train.yaml"]
    run(dimensions, parallel, *same, "--batch_size", 4 // processes, "--output_dir", two, processes=processes)

    losses = [pd.read_csv(folder / "epochs.csv")["loss"] for folder in (one, two)]
    assert len(losses[0]) == 5
    least_step = losses[0].diff().abs().min()
    assert least_step > 2e-4  # every step changes more than what is tolerated
    assert (losses[0] - losses[1]).abs().max() < max(1e-4, 0.05 * least_step)  # rounding differs between processors

    weights = [torch.load(folder / "model.pt", weights_only=True) for folder in (one, two)]
    assert weights[0].keys() == weights[1].keys()
    cases = [pd.read_csv(folder / "metrics.csv") for folder in (one, two)]
    assert cases[0]["image"].tolist() == cases[1]["image"].tolist()
    assert (cases[0]["volume_ml"] - cases[1]["volume_ml"]).abs().max() <= 0.01 * cases[0]["volume_ml"].max()


def test_evaluation_by_two_processes_finds_what_one_finds(run: Callable, tmp_path: Path) -> None:
    """With the settings of the training, which are told once."""
    output = tmp_path / "run"
    run(3, [], "--output_dir", output, *SMALL[3], "--max_epochs", 1, "--val_interval", 1, processes=1)
    evaluation = ["--output_dir", output, "--evaluation_dir", tmp_path / "evaluation"]
    said = run(3, ["evaluate.yaml", "multi_gpu_evaluate.yaml"], *evaluation, processes=2)
    assert said.count(f"roi_size: [32, 32, 8]  # as in the training, {output}") == 1
    one, two = (pd.read_csv(folder / "metrics.csv") for folder in (output, tmp_path / "evaluation"))
    pd.testing.assert_frame_equal(one, two)


def test_processes_wait_for_first_labels_longer_than_nccl_would(monkeypatch: pytest.MonkeyPatch) -> None:
    made = {}
    monkeypatch.setattr(torch.distributed, "init_process_group", lambda backend, **options: made.update(options))
    for overlay in ("multi_gpu_train.yaml", "multi_gpu_evaluate.yaml"):
        parser = ConfigParser()
        parser.read_config([PROJECT / "bundles" / "size_seg_2d" / "configs" / name for name in ("train.yaml", overlay)])
        made.clear()
        parser.get_parsed_content("initialize#0")
        assert made["timeout"].total_seconds() >= 12 * 3600


@pytest.mark.parametrize("config", ["train.yaml", "inference.yaml"])
def test_mixed_precision_follows_the_device_that_is_named(monkeypatch: pytest.MonkeyPatch, config: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for device, amp in ((None, True), ("cpu", False), ("cuda:1", True)):
        parser = ConfigParser()
        parser.read_config(PROJECT / "bundles" / "size_seg_2d" / "configs" / config)
        if device is not None:
            parser["device"] = device
        assert parser.get_parsed_content("amp") is amp
