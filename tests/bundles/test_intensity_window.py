"""Training and inference scale intensities alike, by each scan's percentiles or by a fixed window."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
import yaml
from monai.bundle import ConfigParser
from monai.transforms import Compose

from tests.bundles.conftest import UNET_2D, UNET_3D, Variant, every_bundle


@pytest.mark.parametrize("window", [None, [20.0, 60.0]], ids=["percentiles", "fixed"])
@pytest.mark.parametrize("variant", [UNET_2D, UNET_3D], ids=lambda variant: variant.name)
def test_training_and_inference_see_the_same(
    own_modules: None, variant: Variant, window: list[float] | None, phantoms: Path
) -> None:
    image = next((phantoms / "images").glob("*.nii.gz"))
    options: dict[str, Any] = {"dataset_dir": str(phantoms), "intensity_window": window}
    options |= {"spacing": list(variant.spacing), "roi_size": list(variant.roi_size)}
    seen = []
    for config, key in (("train.yaml", "deterministic_transforms"), ("inference.yaml", "preprocessing")):
        parser = ConfigParser()
        parser.read_config(variant.configs(config))
        parser.update(options)
        transforms = parser.get_parsed_content(key)
        transform = Compose(transforms) if isinstance(transforms, list) else transforms
        seen.append(transform({"image": str(image)})["image"].as_tensor())
    trained, inferred = seen
    slices = inferred.shape[-1]
    padded = (trained.shape[-1] - slices) // 2
    torch.testing.assert_close(trained[..., padded : padded + slices], inferred)
    voxels = np.asarray(nibabel.load(image).dataobj, dtype=np.float32)
    low, high = window or np.percentile(voxels, [0.5, 99.5])
    np.testing.assert_allclose(inferred[0], np.clip((voxels - low) / (high - low), 0, 1), atol=1e-5)


@every_bundle
def test_the_window_goes_along_to_inference(bundle: Path) -> None:
    train = yaml.safe_load((bundle / "configs" / "train.yaml").read_text())
    assert train["record"]["inference"]["intensity_window"] == "@intensity_window"
    inference = yaml.safe_load((bundle / "configs" / "inference.yaml").read_text())
    assert len(inference["intensity_transforms"]) == len(train["intensity_transforms"]) == 2
    crops = yaml.safe_load((bundle / "configs" / "inference_roi.yaml").read_text())
    for config in (inference, crops):
        assert {"_target_": "Compose", "transforms": "@intensity_transforms"} in config["preprocessing"]["transforms"]
