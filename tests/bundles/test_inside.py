"""Structures inside organs: both bundles compare sizes within masks of the organs, or within what a run finds."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch

from medsize.bundle.run.command import as_options
from medsize.bundle.run.folder import INFERENCE, WEIGHTS
from medsize.bundle.run.summary import RunSummary
from medsize.checks import RunRefused, check_run
from medsize.data import Cohort, load_cohort, write_phantom_cohort
from medsize.fit.cohort_facts import cohort_facts, find_source
from tests.conftest import BUNDLE_2D, BUNDLE_3D, FEW_WORDS

WINDOWS = {
    BUNDLE_2D: ("--spacing", "[6.0,6.0]", "--roi_size", "[32,32]"),
    BUNDLE_3D: ("--spacing", "[6.0,6.0,16.0]", "--roi_size", "[32,32,8]"),
}


@pytest.fixture(scope="module")
def lesions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lesions")
    write_phantom_cohort(folder, num_scans=6, shape=(32, 32, 6), spacing=(6.0, 6.0, 16.0), seed=1, lesions=True)
    return folder


@pytest.fixture(scope="module")
def without_masks(lesions: Path) -> Path:
    """The same cohort, without masks of the organ."""
    content = json.loads((lesions / "datalist.json").read_text())
    for item in content["training"]:
        del item["organs"]
    path = lesions / "without_masks.json"
    path.write_text(json.dumps(content))
    return path


@pytest.fixture(scope="module")
def run_of_livers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of whole scans whose network is one convolution: the liver is what is brighter than 0.8."""
    run = tmp_path_factory.mktemp("livers")
    network = {"_target_": "torch.nn.Conv2d", "in_channels": 1, "out_channels": 2, "kernel_size": 1}
    inference = {"num_classes": 2, "structures": ["liver"], "network_def": network, "checkpoint": str(run / WEIGHTS)}
    RunSummary(bundle=str(BUNDLE_2D), roi=False).write(run)
    (run / INFERENCE).write_text(json.dumps({"spacing": [6.0, 6.0], "roi_size": [32, 32], **inference}))
    weight = torch.tensor([0.0, 50.0])
    torch.save({"weight": weight[:, None, None, None], "bias": weight * -0.8}, run / WEIGHTS)
    return run


@pytest.fixture
def train(command: Callable, lesions: Path, tmp_path: Path) -> Callable:
    def run(bundle: Path, *options: object, overlays: tuple[str, ...] = ()) -> Path:
        files = [str(bundle / "configs" / name) for name in ("train.yaml", *overlays)]
        command(
            *("monai.bundle", "run", "--bundle_root", bundle, "--config_file", files, "--dataset_dir", lesions),
            *("--output_dir", tmp_path / "run", "--max_epochs", 1, "--val_interval", 1, "--potts_ramp", "[0.0,0.1]"),
            *as_options(FEW_WORDS),
            *("--soft_label_fade", "[1.0,1.0]", *WINDOWS[bundle], *options),
            cwd=tmp_path,
        )
        return tmp_path / "run"

    return run


def terms_of(run: Path) -> set[str]:
    (row,) = csv.DictReader((run / "epochs.csv").open())
    return {name for name in ("size", "potts", "agreement", "soft_label", "outside") if float(row.get(name) or 0) > 0}


@pytest.mark.parametrize(
    ("options", "terms"),
    [
        ((), {"size", "potts", "agreement", "soft_label", "outside"}),
        (("--use_first_labels", "False"), {"size", "potts", "agreement", "outside"}),
    ],
    ids=["slices with sizes of their own", "slices that share a volume"],
)
def test_sizes_train_within_masks_of_the_organ(train: Callable, options: tuple[str, ...], terms: set[str]) -> None:
    assert terms_of(train(BUNDLE_2D, *options)) == terms


def test_whole_scans_train_within_what_a_run_finds(
    train: Callable, without_masks: Path, run_of_livers: Path, lesions: Path
) -> None:
    """Holes are filled, so that dark lesions are within the liver, too; patches beside it are background."""
    patches = ("--roi_size", "[16,24,8]", "--halo", "[2,4,0]", "--data_list", without_masks)
    run = train(BUNDLE_3D, *patches, "--organ_run", run_of_livers, overlays=("whole_volume.yaml",))
    assert terms_of(run) == {"size", "potts", "agreement", "soft_label", "outside"}
    masks = sorted((run / "organs").rglob("*.nii.gz"))
    assert len(masks) == 4  # of the training scans
    for mask in masks:
        found = np.asarray(nibabel.load(mask).dataobj) > 0
        drawn = np.asarray(nibabel.load(lesions / "organs" / f"{mask.name[:11]}.nii.gz").dataobj) > 0
        assert (found & drawn).sum() > 0.7 * drawn.sum()


def refusal(cohort: Cohort, **settings: object) -> str:
    with pytest.raises(RunRefused) as refused:
        check_run(cohort, {"supervision": "size", "size_level": "volume", "val_fold": 0, **settings})
    return str(refused.value)


def test_a_training_without_its_organs_does_not_start(
    without_masks: Path, run_of_livers: Path, lesions: Path, tmp_path: Path
) -> None:
    cohort = load_cohort(without_masks, lesions)
    missing = "found no mask of 'liver' among its 'organs', expected one, as inside says."
    assert refusal(cohort).count(missing) == 4
    check_run(cohort, {"supervision": "size", "size_level": "volume", "val_fold": 0, "organ_run": run_of_livers})
    inference = json.loads((run_of_livers / INFERENCE).read_text())
    wrong = shutil.copytree(run_of_livers, tmp_path / "wrong")
    (wrong / INFERENCE).write_text(json.dumps(inference | {"structures": ["livers"]}))
    found = refusal(cohort, organ_run=wrong)
    assert "segments livers, expected 'liver', as inside says. Did you mean 'livers'? Name a run" in found
    assert "organ_run: " in refusal(cohort, organ_run=tmp_path / "none")
    content = json.loads((lesions / "datalist.json").read_text())
    content["training"][1]["size"]["lesion"] = {"diameters_mm": [[90], [95]]}
    (lesions / "large.json").write_text(json.dumps(content))
    found = refusal(load_cohort(lesions / "large.json", lesions))
    assert "phantom_001.nii.gz: sizes sum to 830,624 mm³, but their organ, " in found


def test_nothing_is_located_where_the_organ_is_known(lesions: Path, tmp_path: Path) -> None:
    source = find_source(lesions / "datalist.json")
    assert cohort_facts(source, source.load()).shares == {}
    others = source.model_copy(update={"proposed": {"inside": {}}})
    assert list(cohort_facts(others, others.load()).shares) == ["lesion"]
