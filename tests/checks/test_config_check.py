"""Names in configs that lead nowhere are found; what leads somewhere is left alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from monai.bundle import ConfigWorkflow

from medsize.checks import config_problems
from medsize.studies.ladder import LadderStudy
from medsize.studies.study import NOISE_OVERLAY, load_study
from tests.conftest import BUNDLE_2D, PROJECT

BUNDLE_3D = PROJECT / "bundles" / "size_seg_3d"


def problems(
    bundle: Path = BUNDLE_2D, configs: tuple[str | Path, ...] = ("train.yaml",), **arguments: Any
) -> list[str]:
    files = [str(bundle / "configs" / config) for config in configs]
    workflow = ConfigWorkflow(files, logging_file=False, **arguments)
    workflow.parser.parse()
    return config_problems(workflow)


@pytest.mark.parametrize(
    ("bundle", "configs"),
    [
        (BUNDLE_2D, "train"),
        (BUNDLE_2D, "train imagenet evaluate"),
        (BUNDLE_2D, "train segresnet teacher"),
        (BUNDLE_2D, "train imagenet teacher second_round"),
        (BUNDLE_2D, "train imagenet volume_sizes"),
        (BUNDLE_2D, "train mask_supervision"),
        (BUNDLE_2D, "inference imagenet"),
        (BUNDLE_2D, "inference inference_roi"),
        (BUNDLE_3D, "train segresnet evaluate"),
        (BUNDLE_3D, "train teacher"),
        (BUNDLE_3D, "train segresnet teacher second_round"),
        (BUNDLE_3D, "train teacher brightness_teacher"),
        (BUNDLE_3D, "train mask_supervision"),
    ],
)
def test_configs_of_the_bundles_are_sound(bundle: Path, configs: str) -> None:
    assert problems(bundle, [f"{name}.yaml" for name in configs.split()]) == []


@pytest.mark.parametrize("name", ["ladder_2d", "left_disease_out", "chaos"])
def test_every_override_of_the_ladders_is_known(name: str) -> None:
    study = load_study(PROJECT / "benchmarks" / f"{name}.yaml", LadderStudy)
    for rung in study.rungs.values():
        configs = ("train.yaml", NOISE_OVERLAY, *rung.overlays)
        assert problems(configs=configs, **(study.overrides | rung.overrides)) == []
    for cohort in study.cohorts:
        assert problems(configs=("train.yaml", *cohort.overlays), **cohort.overrides) == []


@pytest.mark.parametrize("bundle", [BUNDLE_2D, BUNDLE_3D], ids=["2D", "3D"])
def test_keys_of_the_studies_are_known_with_their_overlay_alone(bundle: Path) -> None:
    configs = ("train.yaml", NOISE_OVERLAY, "segresnet.yaml", "mask_supervision.yaml")
    noise = {"size_noise": "gaussian", "mask_noise": "blocks", "size_detail": "tags", "noise_level": 0.3}
    assert problems(bundle, configs, **noise) == []
    [problem] = problems(bundle, configs, noise_levle=0.3)
    assert problem == "there is no key 'noise_levle'. Did you mean 'noise_level'?"
    [problem] = problems(bundle, size_noise="gaussian")
    assert problem.startswith("there is no key 'size_noise'")


@pytest.mark.parametrize("bundle", [BUNDLE_2D, BUNDLE_3D], ids=["2D", "3D"])
@pytest.mark.parametrize(
    ("override", "message"),
    [
        ({"dataset_dri": "/data"}, "there is no key 'dataset_dri'. Did you mean 'dataset_dir'?"),
        ({"meta_fil": "metadata.json"}, "there is no key 'meta_fil'. Did you mean 'meta_file'?"),
        ({"lr": 0.1}, "there is no key 'lr': nothing in the config uses it."),
        ({"validate#inferrer": 1}, "there is no key 'validate#inferrer'. Did you mean 'inferer'?"),
        ({"train#trainer#max_epoch": 3}, "train#trainer: SupervisedTrainer takes no argument 'max_epoch'."),
        ({"network_def#chanels": [8, 16]}, "UNet takes no argument 'chanels'. Did you mean 'channels'?"),
        ({"network_def#_target_": "UNett"}, "MONAI has no component 'UNett'. Did you mean 'UNet'?"),
        ({"network_def#_target_": "medsize.networks.LeenUNet"}, "has no 'LeenUNet'. Did you mean 'LeanUNet'?"),
        ({"network_def#_target_": "nowhere.Network"}, "Python finds no module 'nowhere'."),
        ({"network_def#in_channels": "@in_chanels"}, "refers to @in_chanels, which does not exist. Did you mean"),
        ({"run_id": "trainig"}, "there is no key 'trainig' to run."),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_each_wrong_name_is_found_alone(bundle: Path, override: dict[str, Any], message: str) -> None:
    [problem] = problems(bundle, **override)
    assert message in problem


@pytest.mark.parametrize(
    "arguments",
    [
        {"network_def#norm": "batch"},
        {"_note": "for the workshop"},
        {"tracking": "mlflow", "experiment_name": "livers", "save_execute_config": False},
        # Keys of train.yaml that served the loss alone have no use now, which is nobody's mistake.
        {"train#loss": {"_target_": "torch.nn.MSELoss"}},
    ],
    ids=["a further argument", "a note", "tracking", "a component replaced"],
)
def test_what_is_meant_is_accepted(arguments: dict[str, Any]) -> None:
    assert problems(**arguments) == []


def test_an_overlay_from_elsewhere_is_checked_as_overrides_are(tmp_path: Path) -> None:
    overlay = tmp_path / "mine.yaml"
    overlay.write_text("my_rate: 0.01\nlearning_rate: $@my_rate / 2\nmy_run: [$print()]\nsupervison: mask\n")
    found = problems(configs=("train.yaml", overlay), run_id="my_run")
    assert found == ["there is no key 'supervison'. Did you mean 'supervision'?"]


def test_networks_of_the_bundles_own_scripts_are_found(tmp_path: Path) -> None:
    (tmp_path / "configs").mkdir()
    (tmp_path / "own_networks.py").write_text("class Small:\n    def __init__(self, width): ...\n")
    config = {"network_def": {"_target_": "own_networks.Small", "width": 3}, "run": ["@network_def"]}
    (tmp_path / "configs" / "train.yaml").write_text(yaml.safe_dump(config))
    assert problems(tmp_path) == []
    assert "takes no argument 'widht'" in problems(tmp_path, **{"network_def#widht": 4})[0]
