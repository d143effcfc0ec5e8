"""The 2D bundle trains, evaluates and segments by MONAI's own commands."""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

import nibabel
import numpy as np
import pandas as pd
import pytest
import SimpleITK
import torch
from ignite.engine import Engine
from monai.bundle import ConfigParser
from monai.data import MetaTensor

from medsize.bundle.run import folder as run_folder
from medsize.metrics.reliability import IMAGE_FACTS
from medsize.networks import EfficientNetLiteEncoder
from tests.bundles.conftest import SMALL
from tests.conftest import BUNDLE_2D, PROJECT

CONFIGS = BUNDLE_2D / "configs"


def losses_of(run: Path) -> list[float]:
    return [float(row["loss"]) for row in csv.DictReader((run / "epochs.csv").open())]


def write_json(path: Path, content: dict) -> Path:
    path.write_text(json.dumps(content))
    return path


def test_training_leaves_a_record(trained: Path) -> None:
    config = ConfigParser.load_config_file(str(trained / "config.yaml"))
    assert config["max_epochs"] == 2
    assert config["use_roi"] is True
    assert config["num_classes"] == 4
    summary = json.loads((trained / "summary.json").read_text())
    assert summary["supervision"] == "size"
    assert summary["seed"] == 0
    assert len(summary["data_list_sha256"]) == 64
    assert summary["epochs"] == 2
    assert summary["training_scans"] == 6
    assert summary["cases"] == 3
    assert 0 < summary["training_seconds"] < 600
    table = pd.read_csv(trained / "metrics.csv")
    assert list(table.columns) == [
        "image",
        "subject",
        "structure",
        "dice",
        "hd95_mm",
        "volume_ml",
        "true_volume_ml",
        "true_low_ml",
        "true_high_ml",
        "volume_error_ml",
        "relative_size_error",
        "false_finding",
        "false_fraction",
        "circumference_mm",
        "true_circumference_mm",
        "circumference_error_mm",
        "at_edge",
        "outside_largest",
        "confidence",
        *IMAGE_FACTS,
    ]
    assert len(table) == 9
    assert table["true_volume_ml"].notna().all()
    assert len(losses_of(trained)) == 2
    for name in ("checkpoint.pt", "model.pt"):
        torch.load(trained / name, weights_only=True)
    assert list((trained / "tensorboard").glob("events*"))


def test_a_run_leaves_the_files_that_are_named_once(trained: Path) -> None:
    """The configs name some of them by themselves."""
    names = {getattr(run_folder, name) for name in run_folder.__all__ if name.isupper()}
    assert {file.name for file in trained.iterdir()} <= names


def test_recorded_config_runs_again(run_bundle: Callable, trained: Path, tmp_path: Path) -> None:
    run_bundle(
        [trained / "config.yaml"],
        "--output_dir",
        tmp_path / "again",
        "--meta_file",
        CONFIGS / "metadata.json",
        cwd=tmp_path,
    )
    assert losses_of(tmp_path / "again") == pytest.approx(losses_of(trained), rel=1e-5)


@pytest.mark.parametrize(
    "compiled", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["cache on disk", "and compiled"]
)
def test_a_cache_on_disk_and_compilation_leave_the_losses_as_they_are(
    run_bundle: Callable, trained: Path, phantoms: Path, tmp_path: Path, compiled: bool
) -> None:
    options = ["--use_roi", "True", "--cache_dir", tmp_path / "cache", "--compile", compiled, *SMALL]
    run_bundle(["train.yaml"], "--dataset_dir", phantoms, "--output_dir", tmp_path / "run", *options, cwd=tmp_path)
    assert losses_of(tmp_path / "run") == pytest.approx(losses_of(trained), rel=1e-4)
    assert len(list((tmp_path / "cache").rglob("*.pt"))) == 9
    assert torch.load(tmp_path / "run" / "model.pt").keys() == torch.load(trained / "model.pt").keys()


def test_evaluation_of_a_list_of_unseen_scans_alone_finds_what_training_found(
    run_bundle: Callable, trained: Path, phantoms: Path, tmp_path: Path
) -> None:
    content = json.loads((phantoms / "datalist.json").read_text())
    unseen = [item for item in content["training"] if item["fold"] == 0]
    (tmp_path / "unseen.json").write_text(json.dumps({**content, "training": [], "validation": unseen}))
    run_bundle(
        ["train.yaml", "evaluate.yaml"],
        "--dataset_dir",
        phantoms,
        "--data_list",
        tmp_path / "unseen.json",
        "--output_dir",
        trained,
        "--evaluation_dir",
        tmp_path / "evaluation",
        cwd=tmp_path,
    )
    first, second = (pd.read_csv(folder / "metrics.csv") for folder in (trained, tmp_path / "evaluation"))
    pd.testing.assert_frame_equal(first, second)
    summary = json.loads((tmp_path / "evaluation" / "summary.json").read_text())
    assert summary["results"] == json.loads((trained / "summary.json").read_text())["results"]
    assert summary["checkpoint"].endswith("model.pt")


def test_inference_writes_masks_in_the_space_of_the_scans(
    run_bundle: Callable, trained: Path, phantoms: Path, tmp_path: Path
) -> None:
    output = tmp_path / "segmentations"
    run_bundle(
        ["inference.yaml", trained / "inference.json"],
        "--dataset_dir",
        phantoms / "images",
        "--output_dir",
        output,
        cwd=tmp_path,
    )
    volumes = pd.read_csv(output / "volumes.csv")
    assert list(volumes.columns) == ["image", "liver (mL)", "kidney (mL)", "lesion (mL)", "cut off"]
    assert len(volumes) == 9
    assert (volumes.drop(columns=["image", "cut off"]).sum() > 0).all()
    for row in volumes.itertuples(index=False):
        image = SimpleITK.ReadImage(row[0])
        mask = SimpleITK.ReadImage(str(output / Path(row[0]).name.replace(".nii.gz", "_seg.nii.gz")))
        assert mask.GetSize() == image.GetSize()
        assert mask.GetSpacing() == pytest.approx(image.GetSpacing())
        assert mask.GetOrigin() == pytest.approx(image.GetOrigin())
        assert mask.GetDirection() == pytest.approx(image.GetDirection())
        labels = SimpleITK.GetArrayFromImage(mask)
        for k in (1, 2, 3):
            assert row[k] == pytest.approx((labels == k).sum() * np.prod(image.GetSpacing()) / 1000, rel=1e-4)


def test_inference_on_a_roi_finds_without_medsize_what_evaluation_found(
    command: Callable, no_medsize: Path, trained: Path, phantoms: Path, tmp_path: Path
) -> None:
    output = tmp_path / "segmentations"
    files = [
        *(str(CONFIGS / name) for name in ("inference.yaml", "inference_roi.yaml")),
        str(trained / "inference.json"),
    ]
    command(
        *("monai.bundle", "run", "--bundle_root", BUNDLE_2D, "--config_file", files),
        *("--dataset_dir", phantoms, "--output_dir", output),
        cwd=tmp_path,
        python_path=no_medsize,
    )
    volumes = pd.read_csv(output / "volumes.csv").set_index("image")
    found = pd.read_csv(trained / "metrics.csv")
    assert found["volume_ml"].sum() > 0
    for row in found.itertuples():
        assert volumes.loc[row.image, f"{row.structure} (mL)"] == pytest.approx(row.volume_ml, rel=1e-4)


def test_inference_needs_no_medsize(
    command: Callable, no_medsize: Path, trained: Path, phantoms: Path, tmp_path: Path
) -> None:
    files = [str(CONFIGS / "inference.yaml"), str(trained / "inference.json")]
    command(
        *("monai.bundle", "run", "--bundle_root", BUNDLE_2D, "--config_file", files),
        *("--dataset_dir", phantoms / "images", "--output_dir", tmp_path / "out"),
        cwd=tmp_path,
        python_path=no_medsize,
    )
    assert (tmp_path / "out" / "volumes.csv").is_file()


def test_imagenet_weights_train_infer_and_teach(run_bundle: Callable, phantoms: Path, tmp_path: Path) -> None:
    output = tmp_path / "run"
    run_bundle(
        *(["train.yaml", "imagenet.yaml"], "--dataset_dir", phantoms, "--output_dir", output, *SMALL), cwd=tmp_path
    )
    assert json.loads((output / "summary.json").read_text())["init"] == "imagenet"
    run_bundle(
        *(
            ["train.yaml", "imagenet.yaml", "evaluate.yaml"],
            "--dataset_dir",
            phantoms,
            "--output_dir",
            output,
        ),
        cwd=tmp_path,
    )
    first, second = (pd.read_csv(folder / "metrics.csv") for folder in (output, output / "evaluation"))
    pd.testing.assert_frame_equal(first, second)
    run_bundle(
        *(["inference.yaml", output / "inference.json"], "--dataset_dir", phantoms / "images"),
        *("--output_dir", tmp_path / "segmentations"),
        cwd=tmp_path,
    )
    assert (tmp_path / "segmentations" / "volumes.csv").is_file()

    run_bundle(
        *(["train.yaml", "teacher.yaml"], "--teacher_checkpoint", output / "model.pt", "--dataset_dir", phantoms),
        *("--output_dir", tmp_path / "student", *SMALL),
        cwd=tmp_path,
    )
    assert json.loads((tmp_path / "student" / "summary.json").read_text())["init"] == "teacher"
    rows = list(csv.DictReader((tmp_path / "student" / "epochs.csv").open()))
    assert {"size", "soft_label"} <= rows[-1].keys()
    student = torch.load(tmp_path / "student" / "model.pt", weights_only=True)
    assert not any(name.startswith("encoder") for name in student.get("network", student))


def test_monais_flexible_unet_takes_the_same_encoder(run_bundle: Callable, phantoms: Path, tmp_path: Path) -> None:
    output = tmp_path / "run"
    options = ["--dataset_dir", phantoms, "--output_dir", output, *SMALL[:4], "--max_epochs", 1, "--val_interval", 1]
    run_bundle(["train.yaml", "flexible_unet.yaml"], *options, cwd=tmp_path)
    run_bundle(
        *(["inference.yaml", output / "inference.json"], "--pretrained", False),
        *("--dataset_dir", phantoms / "images", "--output_dir", tmp_path / "segmentations"),
        cwd=tmp_path,
    )
    assert (tmp_path / "segmentations" / "volumes.csv").is_file()
    trained = torch.load(output / "model.pt", weights_only=True)
    imagenet = EfficientNetLiteEncoder(pretrained=True).state_dict()
    stem = next(name for name in imagenet if name.endswith("weight"))
    torch.testing.assert_close(trained[f"encoder.{stem}"], imagenet[stem], rtol=0, atol=0.01)


def test_masks_never_reach_size_supervision(
    run_bundle: Callable, trained: Path, phantoms: Path, tmp_path: Path
) -> None:
    content = json.loads((phantoms / "datalist.json").read_text())
    for item in content["training"]:
        if item["fold"] != 0:
            del item["label"]
    data_list = write_json(tmp_path / "datalist.json", content)
    run_bundle(
        *(["train.yaml"], "--dataset_dir", phantoms, "--data_list", data_list, "--output_dir", tmp_path / "run"),
        "--use_roi",
        "True",
        *SMALL,
        cwd=tmp_path,
    )
    assert losses_of(tmp_path / "run") == losses_of(trained)


def test_a_cohort_without_any_mask_trains_and_is_evaluated_by_size(
    run_bundle: Callable, phantoms: Path, tmp_path: Path
) -> None:
    content = json.loads((phantoms / "datalist.json").read_text())
    for item in content["training"]:
        del item["label"], item["scribble"], item["slice_size"]
    data_list = write_json(tmp_path / "datalist.json", content)
    run_bundle(
        *(["train.yaml"], "--dataset_dir", phantoms, "--data_list", data_list, "--output_dir", tmp_path / "run"),
        *("--size_level", "volume", *SMALL),
        cwd=tmp_path,
    )
    table = pd.read_csv(tmp_path / "run" / "metrics.csv")
    assert table["dice"].isna().all()
    assert table["relative_size_error"].notna().any()


@pytest.mark.parametrize(
    ("overlays", "options", "terms"),
    [
        (["mask_supervision.yaml"], [], {"mask"}),
        ([], ["--supervision", "size+scribble"], {"size", "potts", "soft_label", "scribble"}),
        ([], ["--supervision", "size+mask", "--num_masks", "2"], {"size", "potts", "soft_label", "mask"}),
        ([], ["--size_level", "volume"], {"size", "potts", "soft_label"}),
        (["sizes_only.yaml"], ["--size_level", "volume"], {"size", "potts"}),
    ],
    ids=["masks", "sizes and clicks", "sizes and some masks", "one size per volume", "sizes only"],
)
def test_every_supervision_trains(
    run_bundle: Callable,
    phantoms: Path,
    tmp_path: Path,
    overlays: list[str],
    options: list[str],
    terms: set[str],
) -> None:
    run_bundle(
        ["train.yaml", *overlays],
        "--dataset_dir",
        phantoms,
        "--output_dir",
        tmp_path / "run",
        "--first_labels_dir",
        tmp_path / "run" / "first_labels",
        *SMALL,
        "--soft_label_fade",
        "[1.0,1.0]",
        *options,
        cwd=tmp_path,
    )
    rows = list(csv.DictReader((tmp_path / "run" / "epochs.csv").open()))
    named = ("size", "potts", "soft_label", "scribble", "mask")
    assert {term for term in named if any(row.get(term) for row in rows)} == terms
    assert (tmp_path / "run" / "first_labels").exists() == ("soft_label" in terms)
    assert all(np.isfinite(losses_of(tmp_path / "run")))


def test_a_killed_run_goes_on_to_the_same_losses(
    run_bundle: Callable, started: Callable, phantoms: Path, tmp_path: Path
) -> None:
    options = ["--dataset_dir", phantoms, *SMALL[:4], "--max_epochs", "6", "--val_interval", "2"]
    run_bundle(["train.yaml"], *options, "--output_dir", tmp_path / "whole", cwd=tmp_path)
    output = tmp_path / "killed"
    with ThreadPoolExecutor() as pool:
        run = pool.submit(run_bundle, ["train.yaml"], *options, "--output_dir", output, cwd=tmp_path, check=False)
        while not ((output / "epochs.csv").is_file() and len(losses_of(output)) >= 2):
            assert not run.done(), run.result()
            time.sleep(0.01)
        os.kill(started(), signal.SIGKILL)
    assert run.result().returncode == -signal.SIGKILL, "the run ended before it was killed"
    run_bundle(["train.yaml"], *options, "--output_dir", output, "--resume", "True", cwd=tmp_path)
    assert losses_of(output) == pytest.approx(losses_of(tmp_path / "whole"), rel=1e-5)
    whole, resumed = (torch.load(tmp_path / run / "model.pt", weights_only=True) for run in ("whole", "killed"))
    for name, tensor in whole.items():
        torch.testing.assert_close(resumed[name], tensor, rtol=1e-4, atol=1e-6)


def test_bad_input_ends_before_the_first_step(
    run_bundle: Callable, trained: Path, phantoms: Path, tmp_path: Path
) -> None:
    content = json.loads((phantoms / "datalist.json").read_text())
    content["training"][1]["size"]["livr"] = content["training"][1]["size"].pop("liver")
    data_list = write_json(tmp_path / "datalist.json", content)
    before = {file: file.read_bytes() for file in trained.rglob("*") if file.is_file()}
    result = run_bundle(
        *(["train.yaml"], "--dataset_dir", phantoms, "--data_list", data_list, "--output_dir", trained),
        *SMALL,
        "--overwrite",
        "True",
        cwd=tmp_path,
        check=False,
    )
    assert result.returncode == 1
    assert "training[1] (images/phantom_001.nii.gz): size names 'livr'" in result.stderr
    assert "Traceback" not in result.stderr
    assert {file: file.read_bytes() for file in trained.rglob("*") if file.is_file()} == before


def test_a_truncated_scan_ends_before_the_first_step(run_bundle: Callable, phantoms: Path, tmp_path: Path) -> None:
    content = json.loads((phantoms / "datalist.json").read_text())
    broken = tmp_path / "broken.nii.gz"
    broken.write_bytes((phantoms / content["training"][1]["image"]).read_bytes()[:-2000])
    content["training"][1]["image"] = str(broken)
    data_list = write_json(tmp_path / "datalist.json", content)
    result = run_bundle(
        *(["train.yaml"], "--dataset_dir", phantoms, "--data_list", data_list, "--output_dir", tmp_path / "run"),
        *SMALL,
        cwd=tmp_path,
        check=False,
    )
    assert result.returncode == 1
    assert f"{broken}: the image cannot be read" in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "run").exists()


def test_real_scans_train_and_evaluate(
    run_bundle: Callable, command: Callable, real_scans: Path, tmp_path: Path
) -> None:
    scans = tmp_path / "ACDC"
    scans.mkdir()
    for patient in ("patient001", "patient002", "patient046"):
        (scans / patient).symlink_to(real_scans / "ACDC" / patient)
    command("data_prep.acdc", scans, "--output-dir", tmp_path, "--validation", "46-60", "--folds", 2, cwd=PROJECT)
    run_bundle(
        ["train.yaml"],
        "--dataset_dir",
        scans,
        "--data_list",
        tmp_path / "datalist.json",
        "--use_roi",
        "True",
        "--output_dir",
        tmp_path / "run",
        "--spacing",
        "[3.0,3.0]",
        "--roi_size",
        "[64,64]",
        "--max_epochs",
        "1",
        "--val_interval",
        "1",
        "--supervision",
        "size+scribble",
        cwd=tmp_path,
    )
    table = pd.read_csv(tmp_path / "run" / "metrics.csv")
    assert set(table["subject"]) == {"patient046"}
    image = Path(table["image"][0])
    mask = nibabel.load(image.with_name(image.name.replace(".nii.gz", "_gt.nii.gz")))
    counted = (np.asarray(mask.dataobj) == 3).sum() * 22.5 / 1000
    row = table[(table["image"] == str(image)) & (table["structure"] == "left ventricle")]
    assert row["true_volume_ml"].item() == pytest.approx(counted, rel=1e-4)


@pytest.fixture
def volume_table() -> ModuleType:
    spec = importlib.util.spec_from_file_location("volume_table", BUNDLE_2D / "scripts" / "volume_table.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_volume_table_is_importable_alone(volume_table: ModuleType) -> None:
    assert volume_table.VolumeTable("volumes.csv", ["liver"]).structures == ["liver"]


def test_a_stopped_inference_leaves_a_line_for_each_scan(volume_table: ModuleType, tmp_path: Path) -> None:
    def segment(engine: Engine, number: int) -> list[dict[str, MetaTensor]]:
        if number < 0:
            raise RuntimeError("stopped")
        image = MetaTensor(torch.zeros(1, 4, 4, 4), meta={"filename_or_obj": f"{number}.nii.gz"})
        engine.state.batch = [{"image": image}]
        return [{"pred": MetaTensor(torch.eye(4).expand(1, 4, 4, 4), affine=10 * torch.eye(4))}]

    stopped, whole = Engine(segment), Engine(segment)
    for inference in (stopped, whole):
        volume_table.VolumeTable(str(tmp_path / "masks" / "volumes.csv"), ["liver"]).attach(inference)
    with pytest.raises(RuntimeError, match="stopped"):
        stopped.run([0, 1, -1])
    (lines,) = (tmp_path / "masks").iterdir()
    scans = [json.loads(line) for line in lines.read_text().splitlines()]
    assert [scan["image"] for scan in scans] == ["0.nii.gz", "1.nii.gz"]
    assert scans[0]["structures"]["liver"]["volume_ml"] == 16
    whole.run([0, 1, 2])
    assert {file.name for file in (tmp_path / "masks").iterdir()} == {"volumes.csv", "volumes.json"}
    written = json.loads((tmp_path / "masks" / "volumes.json").read_text())["scans"]
    assert written[:2] == scans
    assert len(written) == 3


@pytest.mark.parametrize(
    ("size_level", "supervision", "end"),
    [("volume", "size", 0), ("volume", "size+scribble", 1), ("slice", "size", 1)],
)
def test_second_round_from_volumes_ends_with_the_sizes_handed_down_alone(
    size_level: str, supervision: str, end: float, phantoms: Path
) -> None:
    parser = ConfigParser()
    parser.read_config([str(CONFIGS / name) for name in ("train.yaml", "teacher.yaml", "second_round.yaml")])
    parser.update({"dataset_dir": str(phantoms), "size_level": size_level, "supervision": supervision})
    assert parser.get_parsed_content("soft_label_weight") == 1
    assert parser.get_parsed_content("soft_label_end") == end
    assert parser.get_parsed_content("hand_down_sizes") == (size_level == "volume")
