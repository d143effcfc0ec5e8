"""`medsize check` and every run find what is wrong before anything is started."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from monai.bundle import ConfigWorkflow
from typer.testing import CliRunner

from medsize.checks import RunRefused, check_bundle
from medsize.cli import app
from tests.conftest import BUNDLE_2D, PROJECT

BUNDLE_3D = PROJECT / "bundles" / "size_seg_3d"
SMALL = {BUNDLE_2D: {"roi_size": [32, 32], "spacing": [6.0, 6.0]}, BUNDLE_3D: {"roi_size": [32, 32, 8]}}
SMALL[BUNDLE_3D]["spacing"] = [6.0, 6.0, 16.0]
both_bundles = pytest.mark.parametrize("bundle", [BUNDLE_2D, BUNDLE_3D], ids=["2D", "3D"])


@both_bundles
def test_a_sound_run_passes_and_nothing_is_written(bundle: Path, phantoms: Path, tmp_path: Path) -> None:
    options = {"dataset_dir": phantoms, "output_dir": tmp_path / "run", **SMALL[bundle]}
    arguments = [part for key, value in options.items() for part in (f"--{key}", str(value))]
    result = CliRunner().invoke(app, ["check", str(bundle), *arguments])
    assert result.exit_code == 0, result.output
    assert "Nothing was found that would stop this run." in result.output
    assert not list(tmp_path.iterdir())


def test_check_lists_all_that_is_wrong_at_once(command: Callable, phantoms: Path, tmp_path: Path) -> None:
    content = json.loads((phantoms / "datalist.json").read_text())
    content["training"][1]["size"]["livr"] = content["training"][1]["size"].pop("liver")
    (tmp_path / "datalist.json").write_text(json.dumps(content))
    result = command(
        *("medsize.cli", "check", BUNDLE_2D, "--dataset_dri", "/data", "--dataset_dir", phantoms),
        *("--data_list", tmp_path / "datalist.json", "--init_checkpoint", phantoms / "images" / "nothing.pt"),
        *("--network_def#_target_", "UNett", "--trian#trainer#max_epochs", "3", "--_meta_#monai_version", "0.9.0"),
        cwd=tmp_path,
        check=False,
    )
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    for message in (
        "there is no place for 'trian#trainer#max_epochs'. Did you mean 'train#trainer#max_epochs'?",
        "there is no key 'dataset_dri'. Did you mean 'dataset_dir'?",
        "network_def: MONAI has no component 'UNett'. Did you mean 'UNet'?",
        f"there are no weights at {phantoms / 'images' / 'nothing.pt'}",
        "warning: it states monai 0.9.0",
        "training[1] (images/phantom_001.nii.gz): size names 'livr'",
    ):
        assert message in result.stderr


@pytest.mark.parametrize(
    ("bundle", "as_file"), [(BUNDLE_2D, False), (BUNDLE_3D, True)], ids=["2D, command line", "3D, args_file"]
)
def test_a_run_with_a_misspelled_key_does_not_start(
    command: Callable, phantoms: Path, tmp_path: Path, bundle: Path, as_file: bool
) -> None:
    output = tmp_path / "run"
    options = {"dataset_dri": "/data", "dataset_dir": str(phantoms), "output_dir": str(output)}
    (tmp_path / "arguments.json").write_text(json.dumps(options))
    in_line = [part for key, value in options.items() for part in (f"--{key}", value)]
    arguments = ["--args_file", tmp_path / "arguments.json"] if as_file else in_line
    config = bundle / "configs" / "train.yaml"
    result = command("monai.bundle", "run", "--config_file", config, *arguments, cwd=tmp_path, check=False)
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    assert "there is no key 'dataset_dri'. Did you mean 'dataset_dir'?" in result.stderr
    assert not output.exists()


@both_bundles
def test_a_workflow_made_in_python_is_checked(bundle: Path, phantoms: Path) -> None:
    config = str(bundle / "configs" / "train.yaml")
    workflow = ConfigWorkflow(config, logging_file=False, dataset_dir=str(phantoms), max_epoch=3, **SMALL[bundle])
    with pytest.raises(RunRefused) as refused:
        workflow.initialize()
    assert [finding.text for finding in refused.value.findings if not finding.is_warning] == [
        "there is no key 'max_epoch'. Did you mean 'max_epochs'?"
    ]


def test_a_missing_folder_is_reported_with_what_needs_no_data(tmp_path: Path) -> None:
    (tmp_path / "livers").mkdir()
    with pytest.raises(RunRefused) as refused:
        check_bundle(BUNDLE_2D, dataset_dir=str(tmp_path / "livrs"), init="imaginary", dataset_dri="/data")
    texts = [finding.text for finding in refused.value.findings]
    assert len(texts) == 3
    assert texts[0] == "there is no key 'dataset_dri'. Did you mean 'dataset_dir'?"
    assert "init is 'imaginary'" in texts[1]
    assert f"there is no such folder. Did you mean '{tmp_path / 'livers'}'?" in texts[2]


def test_metadata_that_do_not_fit_the_cohort_are_warned_of(
    phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "arguments.json").write_text(json.dumps({"dataset_dir": str(phantoms), **SMALL[BUNDLE_2D]}))
    channels = {"_meta_#network_data_format#outputs#pred#num_channels": 3}
    check_bundle(BUNDLE_2D, args_file=str(tmp_path / "arguments.json"), output_dir=str(tmp_path / "run"), **channels)
    printed = capsys.readouterr().err
    assert "metadata.json: 1 warning" in printed
    assert "'pred' has 3 channels" in printed
    assert "the data list has 4 classes (background, liver, kidney, lesion)" in printed


def test_weights_that_do_not_exist_are_found_before_inference(phantoms: Path, tmp_path: Path) -> None:
    with pytest.raises(RunRefused) as refused:
        check_bundle(
            BUNDLE_2D, ["inference.yaml"], dataset_dir=str(phantoms), checkpoint=str(tmp_path / "model.pt"), ampp=True
        )
    assert [finding.text for finding in refused.value.findings] == [
        "there is no key 'ampp'. Did you mean 'amp'?",
        f"checkpoint is {tmp_path / 'model.pt'}: there is no such file.",
    ]


@pytest.mark.parametrize(
    ("configs", "overlay", "message"),
    [
        (["trian.yaml"], "", "there is no such file. Did you mean"),
        (["train.yaml"], "roi_size: $[96] + 1", "it cannot be evaluated. Failed to evaluate"),
        (["train.yaml"], "roi_size: [96", "found invalid YAML (while parsing"),
        (["train.yaml"], "- roi_size", "found ['roi_size'], expected an object with keys. Correct it."),
        (["train.yaml"], "trian#seed: 1", "it cannot be read. 'query key: trian'"),
    ],
    ids=["no such config", "a value of no use", "no YAML", "a list", "a misspelled section"],
)
def test_what_monai_would_end_with_a_trace_is_a_finding(
    phantoms: Path, tmp_path: Path, configs: list[str], overlay: str, message: str
) -> None:
    (tmp_path / "overlay.yaml").write_text(overlay or "{}")
    with pytest.raises(RunRefused) as refused:
        check_bundle(BUNDLE_2D, [*configs, str(tmp_path / "overlay.yaml")], dataset_dir=str(phantoms))
    [finding] = refused.value.findings
    assert message in finding.text
