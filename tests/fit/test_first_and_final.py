"""First labels and the final network are compared on training scans."""

from __future__ import annotations

import os
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
import yaml

from medsize.first_labels.label_folder import label_file
from medsize.fit.first_and_final import FirstAndFinal, dice, first_labels_of
from tests.inference.bright_runs import write_bright_run


def test_dice_is_that_of_each_structure() -> None:
    one, other = np.array([0, 1, 1, 2, 0]), np.array([1, 1, 0, 0, 0])
    assert dice(one, other, 4) == pytest.approx([0.5, 0.0, np.nan], nan_ok=True)
    assert np.isnan(dice(one, None, 3)).all()


def test_the_last_first_labels_that_were_made_count(tmp_path: Path) -> None:
    assert first_labels_of(tmp_path) is None
    for number, name in enumerate(["b", "a", "unfinished"]):
        (tmp_path / name).mkdir()
        if name != "unfinished":
            (tmp_path / name / "first_labels.json").write_text("{}")
            os.utime(tmp_path / name / "first_labels.json", (number, number))
    assert first_labels_of(tmp_path) == tmp_path / "a"


def test_scans_with_uncertain_first_labels_and_no_click_are_candidates_for_one(tmp_path: Path) -> None:
    final = write_bright_run(tmp_path / "final")
    voxels = np.zeros((8, 8, 2), dtype=np.float32)
    voxels[2:4, 2:4] = 1
    certainty = {"certain": 0.97, "unsure": 0.4, "clicked": 0.4}
    items = []
    for name, top in certainty.items():
        image = tmp_path / f"1.2.{name}.nii.gz"
        nibabel.save(nibabel.Nifti1Image(voxels, np.diag([2.0, 2.0, 5.0, 1.0])), image)
        label = torch.full((2, 4, 4, 4), (1 - top) / 3)
        label[:, 0] = top
        torch.save(label, label_file(tmp_path, str(image)))
        items.append({"image": str(image), "volume_mm3": "$torch.tensor([[320.0, 0, 0], [320.0, 0, 0]])"})
    items[2]["clicks"] = "a click"
    config = {
        "imports": ["$import torch"],
        "dataset_dir": str(tmp_path.parent),
        "num_classes": 4,
        "training_items": items,
        "deterministic_transforms": [{"_target_": "LoadImaged", "keys": "image", "ensure_channel_first": True}],
        "window_inferer": {"_target_": "SliceInferer", "roi_size": [8, 8], "spatial_dim": 2},
    }
    (final / "config.yaml").write_text(yaml.safe_dump(config))
    unsure, certain = FirstAndFinal(tmp_path, final, final).click_candidates()
    assert (unsure.name, certain.name) == (f"{tmp_path.name}/1.2.unsure", f"{tmp_path.name}/1.2.certain")
    assert unsure.entropy == pytest.approx(-0.4 * np.log(0.4) - 0.6 * np.log(0.2), rel=1e-4)
    assert unsure.size_error == pytest.approx(0.5)
