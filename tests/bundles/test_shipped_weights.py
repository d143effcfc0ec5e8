"""The weights in the bundles fit them, are of use, and are a start for other cohorts."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import monai.bundle
import nibabel
import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser

from data_prep.msd import subject_of
from medsize.bundle.run.command import as_options
from medsize.data import assign_folds
from tests.bundles.conftest import UNET_2D, UNET_3D, Variant, every_bundle
from tests.conftest import FEW_WORDS

MAX_BYTES = 25e6


@every_bundle
def test_weights_are_small_tensors_that_fit_the_network(bundle: Path) -> None:
    file = bundle / "models" / "model.pt"
    assert file.stat().st_size < MAX_BYTES
    parser = ConfigParser()
    parser.read_config(bundle / "configs" / "inference.yaml")
    parser.get_parsed_content("network_def").load_state_dict(torch.load(file, weights_only=True))


@every_bundle
def test_weights_reach_the_dice_that_the_metadata_state(
    own_modules: None, real_scans: Path, bundle: Path, tmp_path: Path
) -> None:
    folder = real_scans / "Task04_Hippocampus"
    names = [Path(scan["image"]).name for scan in json.loads((folder / "dataset.json").read_text())["training"]]
    folds = assign_folds([subject_of(name) for name in names], 5)
    held_out = [name for name in names if folds[subject_of(name)] == 0][:8]
    (tmp_path / "scans").mkdir()
    for name in held_out:
        (tmp_path / "scans" / name).symlink_to(folder / "imagesTr" / name)
    monai.bundle.run(
        config_file=str(bundle / "configs" / "inference.yaml"),
        bundle_root=str(bundle),
        dataset_dir=str(tmp_path / "scans"),
        output_dir=str(tmp_path / "masks"),
        logging_file=False,
    )
    dice = []
    for name in held_out:
        mask = tmp_path / "masks" / name.replace(".nii.gz", "_seg.nii.gz")
        found, true = (np.asarray(nibabel.load(file).dataobj) for file in (mask, folder / "labelsTr" / name))
        dice += [2 * ((found == k) & (true == k)).sum() / ((found == k).sum() + (true == k).sum()) for k in (1, 2)]
    stated = json.loads((bundle / "configs" / "metadata.json").read_text())["eval_metrics"]["mean_dice"]
    assert np.mean(dice) == pytest.approx(stated, abs=0.06)


@pytest.mark.parametrize("variant", [UNET_2D, UNET_3D], ids=lambda variant: variant.name)
def test_weights_start_the_training_of_another_number_of_classes(
    command: Callable, variant: Variant, phantoms: Path, tmp_path: Path
) -> None:
    weights = variant.bundle / "models" / "model.pt"
    geometry = ["--spacing", list(variant.spacing), "--roi_size", list(variant.roi_size), "--max_epochs", 1]
    geometry += as_options(FEW_WORDS)
    result = command(
        *("monai.bundle", "run", "--bundle_root", variant.bundle, "--config_file", variant.configs("train.yaml")),
        *("--dataset_dir", phantoms, "--output_dir", tmp_path / "run", *geometry),
        *("--init", "checkpoint", "--init_checkpoint", weights),
        cwd=tmp_path,
    )
    loaded, kept = map(int, re.search(r"(\d+) tensors loaded, (\d+) left", result.stdout).groups())
    assert loaded > 20
    assert 0 < kept < 6
