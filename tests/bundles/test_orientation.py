"""A network finds the same volumes in a scan whichever axes it is stored along."""

from __future__ import annotations

from pathlib import Path

import monai.bundle
import nibabel
import pandas as pd
import pytest
import torch
from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform

from tests.bundles.conftest import UNET_2D, UNET_3D, Variant


@pytest.fixture
def scans(phantoms: Path, tmp_path: Path) -> Path:
    """One scan, stored along several axes."""
    scan = nibabel.load(phantoms / "images" / "phantom_000.nii.gz")
    (tmp_path / "scans").mkdir()
    for codes in ("RAS", "LPI", "RSA", "PIL"):
        turn = ornt_transform(io_orientation(scan.affine), axcodes2ornt(codes))
        nibabel.save(scan.as_reoriented(turn), tmp_path / "scans" / f"{codes}.nii.gz")
    return tmp_path / "scans"


@pytest.mark.parametrize("variant", [UNET_2D, UNET_3D], ids=lambda variant: variant.name)
def test_orientation_makes_volumes_the_same(own_modules: None, variant: Variant, scans: Path, tmp_path: Path) -> None:
    axes = len(variant.spacing)
    network = {"_target_": f"torch.nn.Conv{axes}d", "in_channels": 1, "out_channels": 2, "kernel_size": 3, "padding": 1}
    weight = torch.zeros(2, 1, *[3] * axes)
    weight[(1, 0, 0, *[1] * (axes - 1))] = 1.0  # brighter on one side
    torch.save({"weight": weight, "bias": torch.tensor([0.5, 0.0])}, tmp_path / "model.pt")
    volumes = {}
    for orientation in ("RAS", ""):
        monai.bundle.run(
            config_file=variant.configs("inference.yaml"),
            bundle_root=str(variant.bundle),
            dataset_dir=str(scans),
            output_dir=str(tmp_path / f"masks{orientation}"),
            checkpoint=str(tmp_path / "model.pt"),
            network_def=network,
            structures=["bright"],
            num_classes=2,
            spacing=list(variant.spacing),
            roi_size=list(variant.roi_size),
            orientation=orientation,
            logging_file=False,
        )
        volumes[orientation] = pd.read_csv(tmp_path / f"masks{orientation}" / "volumes.csv")["bright (mL)"]
    assert volumes["RAS"].min() > 0
    assert volumes["RAS"].tolist() == pytest.approx([volumes["RAS"][0]] * 4)
    assert volumes[""].max() > 1.01 * volumes[""].min()
