"""The 3D bundle trains both networks from sizes of whole structures, and learns from a 2D teacher."""

from __future__ import annotations

import csv
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch
from monai.bundle import ConfigParser

from medsize.bundle.run.command import as_options
from medsize.studies.study import NOISE_OVERLAY
from tests.conftest import BUNDLE_2D, BUNDLE_3D, FEW_WORDS

CONFIGS = BUNDLE_3D / "configs"
SMALL = [
    *("--spacing", "[6.0,6.0,16.0]", "--roi_size", "[32,32,8]", "--max_epochs", "1", "--val_interval", "1"),
    *as_options(FEW_WORDS),
    *("--soft_label_fade", "[1.0,1.0]"),  # so that the last iteration has all terms
]


@pytest.fixture(scope="module")
def run_3d(command: Callable, phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable:
    first_labels = tmp_path_factory.mktemp("first_labels")  # runs from equal sizes share them, to save time

    def run(overlays: list[str | Path], *options: object, cwd: Path, check: bool = True) -> subprocess.CompletedProcess:
        files = [str(CONFIGS / name) for name in ["train.yaml", *overlays]]
        arguments = ["--bundle_root", BUNDLE_3D, "--config_file", files, "--dataset_dir", phantoms, *SMALL]
        arguments += ["--first_labels_dir", first_labels, *options]
        return command("monai.bundle", "run", *arguments, cwd=cwd, check=check)

    return run


@pytest.fixture(scope="module")
def trained(run_3d: Callable, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Output folder of a short run of the UNet from sizes, cropped to the roi."""
    folder = tmp_path_factory.mktemp("trained_3d")
    run_3d([], "--output_dir", folder / "run", "--use_roi", "True", "--potts_ramp", "[0.0,0.1]", cwd=folder)
    return folder / "run"


def terms_of(output: Path) -> set[str]:
    rows = list(csv.DictReader((output / "epochs.csv").open()))
    names = ("size", "potts", "agreement", "mask", "soft_label")
    return {name for name in names if any(float(row.get(name) or 0) > 0 for row in rows)}


def test_sizes_train_the_unet(trained: Path) -> None:
    assert terms_of(trained) == {"size", "potts", "agreement", "soft_label"}
    summary = json.loads((trained / "summary.json").read_text())
    assert (summary["training_scans"], summary["cases"]) == (6, 3)


@pytest.mark.parametrize(
    ("overlay", "terms"),
    [
        ("segresnet.yaml", {"size", "potts", "agreement", "soft_label"}),
        ("mask_supervision.yaml", {"mask", "agreement"}),
        ("sizes_only.yaml", {"size", "potts", "agreement"}),
    ],
    ids=["SegResNet", "masks", "sizes only"],
)
def test_every_overlay_trains(run_3d: Callable, tmp_path: Path, overlay: str, terms: set[str]) -> None:
    options = [] if "soft_label" in terms else ["--first_labels_dir", tmp_path / "first_labels"]
    run_3d([overlay], "--output_dir", tmp_path / "run", "--potts_ramp", "[0.0,0.1]", *options, cwd=tmp_path)
    assert terms_of(tmp_path / "run") == terms
    assert not (tmp_path / "first_labels").exists()


def test_a_boundary_between_thick_slices_costs_less_than_one_along_them() -> None:
    parser = ConfigParser()
    parser.read_config([CONFIGS / "train.yaml"])
    parser.update({"spacing": [1.0, 1.0, 4.0], "potts_radius": 1})
    loss = parser.get_parsed_content("train#loss#potts_loss")
    halves = [torch.zeros(1, 2, 8, 8, 8) for _ in range(2)]
    halves[0][:, 0, :4], halves[0][:, 1, 4:] = 30.0, 30.0
    halves[1][:, 0, ..., :4], halves[1][:, 1, ..., 4:] = 30.0, 30.0
    along, between = (loss(logits, torch.zeros(1, 1, 8, 8, 8)).item() for logits in halves)
    assert 0 < between < 0.6 * along


def test_whole_scans_train_patch_by_patch(run_3d: Callable, tmp_path: Path) -> None:
    """A phantom of 32 × 32 × 6 voxels in patches of 16 × 24 × 8, two scans in a step."""
    patches = ["--roi_size", "[16,24,8]", "--halo", "[2,4,0]", "--accumulation_steps", 2]
    run_3d(["whole_volume.yaml"], *patches, "--output_dir", tmp_path / "run", "--potts_ramp", "[0.0,0.1]", cwd=tmp_path)
    assert terms_of(tmp_path / "run") == {"size", "potts", "agreement", "soft_label"}
    assert json.loads((tmp_path / "run" / "inference.json").read_text())["roi_size"] == [16, 24, 8]
    assert len(pd.read_csv(tmp_path / "run" / "metrics.csv")) == 9


def test_evaluation_finds_what_training_found(run_3d: Callable, trained: Path, tmp_path: Path) -> None:
    options = ["--output_dir", trained, "--evaluation_dir", tmp_path / "evaluation", "--use_roi", "True"]
    run_3d(["evaluate.yaml"], *options, cwd=tmp_path)
    first, second = (pd.read_csv(folder / "metrics.csv") for folder in (trained, tmp_path / "evaluation"))
    pd.testing.assert_frame_equal(first, second)


def test_inference_on_a_roi_finds_without_medsize_what_evaluation_found(
    command: Callable, no_medsize: Path, trained: Path, phantoms: Path, tmp_path: Path
) -> None:
    files = [
        *(str(CONFIGS / name) for name in ("inference.yaml", "inference_roi.yaml")),
        str(trained / "inference.json"),
    ]
    command(
        *("monai.bundle", "run", "--bundle_root", BUNDLE_3D, "--config_file", files),
        *("--dataset_dir", phantoms, "--output_dir", tmp_path / "out"),
        cwd=tmp_path,
        python_path=no_medsize,
    )
    volumes = pd.read_csv(tmp_path / "out" / "volumes.csv").set_index("image")
    found = pd.read_csv(trained / "metrics.csv")
    assert found["volume_ml"].sum() > 0
    for row in found.itertuples():
        assert volumes.loc[row.image, f"{row.structure} (mL)"] == pytest.approx(row.volume_ml, rel=1e-4)


def test_a_2d_teacher_teaches(run_3d: Callable, command: Callable, phantoms: Path, tmp_path: Path) -> None:
    files = [str(BUNDLE_2D / "configs" / name) for name in ("train.yaml", "imagenet.yaml", "mask_supervision.yaml")]
    command(
        *("monai.bundle", "run", "--bundle_root", BUNDLE_2D, "--config_file", files, "--dataset_dir", phantoms),
        *("--output_dir", tmp_path / "teacher", "--spacing", "[6.0,6.0]", "--roi_size", "[32,32]"),
        *("--max_epochs", 1, "--val_interval", 1),
        cwd=tmp_path,
    )
    options = ["--teacher_checkpoint", tmp_path / "teacher" / "model.pt", "--output_dir", tmp_path / "student"]
    run_3d(["teacher.yaml"], *options, cwd=tmp_path)
    assert "soft_label" in terms_of(tmp_path / "student")


def test_a_network_teaches_one_of_its_own_kind(run_3d: Callable, trained: Path, tmp_path: Path) -> None:
    options = ["--teacher_checkpoint", trained / "model.pt", "--output_dir", tmp_path / "student"]
    run_3d(["teacher.yaml", "second_round.yaml"], *options, cwd=tmp_path)
    assert "soft_label" in terms_of(tmp_path / "student")


def test_noise_is_put_on_sizes_and_masks_and_recorded(run_3d: Callable, tmp_path: Path) -> None:
    noise = ["--size_noise", "too large", "--mask_noise", "dropped structures", "--noise_level", 1.0]
    run_3d([NOISE_OVERLAY], "--supervision", "size+mask", *noise, "--output_dir", tmp_path / "run", cwd=tmp_path)
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert (summary["size_noise"], summary["mask_noise"], summary["noise_level"]) == (*noise[1:4:2], 1.0)
    assert summary["size_change"] == pytest.approx(1.0)
    assert {"size", "mask"} <= set(pd.read_csv(tmp_path / "run" / "epochs.csv").columns)


def test_a_missing_model_of_errors_stops_the_run_before_it_starts(
    command: Callable, phantoms: Path, tmp_path: Path
) -> None:
    noise = ["--size_noise", "measured", "--size_noise_file", tmp_path / "none.json", "--noise_level", 1]
    configs = ["--config", "train.yaml", "--config", NOISE_OVERLAY]
    arguments = ["check", BUNDLE_3D, *configs, "--dataset_dir", phantoms, "--output_dir", tmp_path / "run", *noise]
    result = command("medsize.cli", *arguments, cwd=tmp_path, check=False)
    assert result.returncode == 1
    assert "none.json: found no such file, expected a model of errors" in " ".join(result.stderr.split())


def test_unknown_noise_stops_the_run_before_it_starts(command: Callable, phantoms: Path, tmp_path: Path) -> None:
    noise = ["--size_noise", "loud", "--mask_noise", "smudged", "--noise_level", "-1"]
    configs = ["--config", "train.yaml", "--config", NOISE_OVERLAY]
    arguments = ["check", BUNDLE_3D, *configs, "--dataset_dir", phantoms, "--output_dir", tmp_path / "run", *noise]
    result = command("medsize.cli", *arguments, cwd=tmp_path, check=False)
    assert result.returncode == 1
    for message in ("size_noise is 'loud'", "mask_noise is 'smudged'", "noise_level is -1"):
        assert message in result.stderr


def test_scans_with_and_without_a_mask_make_one_batch_however_they_are_drawn(run_3d: Callable, tmp_path: Path) -> None:
    """A scan may be drawn twice into a batch, and one with a mask may come before or behind one without."""
    few_masks = ["--supervision", "size+mask", "--num_masks", 1, "--mask_share", 0.5, "--epoch_scans", 40]
    run_3d([], *few_masks, "--output_dir", tmp_path / "run", cwd=tmp_path)
    (row,) = pd.read_csv(tmp_path / "run" / "epochs.csv").to_dict("records")
    assert row["iteration"] == 10
    assert row["mask"] > 0


def test_a_run_whose_scans_fail_on_the_way_stops(run_3d: Callable, tmp_path: Path) -> None:
    (tmp_path / "broken.yaml").write_text(
        "target_transforms#0:\n  _target_: Lambdad\n  keys: image\n  func: '$lambda image: image.no_such_thing'\n"
    )
    result = run_3d([tmp_path / "broken.yaml"], "--output_dir", tmp_path / "run", cwd=tmp_path, check=False)
    assert result.returncode != 0
    assert "no_such_thing" in result.stderr
    assert "the loader stopped" in " ".join(result.stderr.split())
    assert not (tmp_path / "run" / "checkpoint.pt").exists()
