"""The one-line commands do what the command of MONAI that they show does."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from medsize.bundle.run.command import training_command
from medsize.cli import app
from tests.conftest import BUNDLE_2D


def test_several_processes_are_started_by_torchrun_with_its_overlay_last() -> None:
    command = training_command(BUNDLE_2D, ["imagenet.yaml"], ["--seed", "1"], processes=2)
    assert command[1:5] == ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    configs = command[command.index("--config_file") + 1]
    assert [Path(name).name for name in eval(configs)] == ["train.yaml", "imagenet.yaml", "multi_gpu_train.yaml"]
    assert command[-2:] == ["--seed", "1"]


def test_an_overlay_may_be_a_path(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("max_epochs: 3")
    assert str(tmp_path / "mine.yaml") in " ".join(training_command(BUNDLE_2D, [tmp_path / "mine.yaml"], []))


def test_an_overlay_that_does_not_exist_is_refused_with_what_may_be_meant() -> None:
    with pytest.raises(ValueError, match=r"no config 'imagnet.yaml'.*imagenet.yaml"):
        training_command(BUNDLE_2D, ["imagnet.yaml"], [])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("mine.yaml", "max_epochs: [3", "mine.yaml: found invalid YAML (while parsing a flow sequence"),
        ("mine.yaml", "- max_epochs", "mine.yaml: found ['max_epochs'], expected an object with keys. Correct it."),
        ("mine.yaml", "", "mine.yaml: found None, expected an object with keys. Correct it."),
        ("mine.json", "{'max_epochs': 3}", "mine.json: found invalid JSON (Expecting property name"),
        (
            "mine.txt",
            "max_epochs: 3",
            "mine.txt: found the ending '.txt', expected one of .yaml, .yml, .json. Rename it.",
        ),
    ],
)
def test_an_overlay_that_holds_no_keys_is_refused(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content)
    result = CliRunner(env={"COLUMNS": "400"}).invoke(app, ["train", str(BUNDLE_2D), "--overlay", str(tmp_path / name)])
    assert result.exit_code == 2
    assert message in result.output


def test_train_runs_the_command_that_it_shows(command: Callable, phantoms: Path, tmp_path: Path) -> None:
    options = ["--dataset_dir", phantoms, "--spacing", "[6.0,6.0]", "--roi_size", "[32,32]", "--max_epochs", 1]
    arguments = ["train", BUNDLE_2D, "--overlay", "mask_supervision.yaml", *options, "--output_dir", "run"]
    shown = shlex.split(command("medsize.cli", *arguments, cwd=tmp_path).stdout.splitlines()[0])
    assert shown[:4] == ["python", "-m", "monai.bundle", "run"]
    assert shown[-2:] == ["--output_dir", "run"]
    assert (pd.read_csv(tmp_path / "run" / "epochs.csv")["mask"] > 0).all()


def test_train_ends_with_the_exit_code_of_the_run(command: Callable, tmp_path: Path) -> None:
    result = command("medsize.cli", "train", BUNDLE_2D, "--dataset_dir", tmp_path / "none", cwd=tmp_path, check=False)
    assert result.returncode == 1
    assert "no such folder" in result.stderr
