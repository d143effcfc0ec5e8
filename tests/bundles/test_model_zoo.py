"""What MONAI's model zoo, MONAI Label and the Hugging Face hub ask of a bundle's files and names."""

from __future__ import annotations

import json
import re
import shutil
import types
from pathlib import Path
from typing import Any

import monai.bundle.scripts
import nibabel
import numpy as np
import pytest
import torch
import yaml
from monai.bundle import ConfigParser, ConfigWorkflow, push_to_hf_hub
from monai.transforms import LoadImaged, SaveImaged
from monai.utils import BundlePropertyConfig

from tests.bundles.conftest import UNET_2D, UNET_3D, Variant, every_bundle, every_variant
from tests.conftest import BUNDLE_2D, BUNDLE_3D, PROJECT

WORKFLOWS = [("train", ["train.yaml"]), ("evaluation", ["train.yaml", "evaluate.yaml"]), ("infer", ["inference.yaml"])]


@pytest.mark.parametrize(("kind", "configs"), WORKFLOWS, ids=[kind for kind, _ in WORKFLOWS])
@every_variant
def test_workflow_has_every_property_that_monai_knows(
    own_modules: None, variant: Variant, kind: str, configs: list[str], phantoms: Path, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"bundle_root": str(variant.bundle), "dataset_dir": str(phantoms)}
    if kind == "evaluation":
        options["checkpoint"] = str(variant.ship(tmp_path).bundle / "models" / "model.pt")
    workflow = ConfigWorkflow(
        variant.configs(*configs),
        workflow_type=kind,
        logging_file=False,
        output_dir=str(tmp_path / "run"),
        spacing=list(variant.spacing),
        roi_size=list(variant.roi_size),
        **options,
    )
    workflow.initialize()
    assert workflow.check_properties() == []
    ids = [definition[BundlePropertyConfig.ID] for definition in workflow.properties.values()]
    assert len(ids) > 15
    assert [name for name in ids if name not in workflow.parser] == []


@every_bundle
def test_metadata_names_the_pinned_versions(bundle: Path) -> None:
    lines = (PROJECT / "requirements.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if "==" in line)
    content = json.loads((bundle / "configs" / "metadata.json").read_text())
    assert content["version"] in content["changelog"]
    assert content["monai_version"] == pins["monai"]
    assert content["pytorch_version"] == pins["torch"]
    assert content["numpy_version"] == pins["numpy"]
    assert content["required_packages_version"]
    for package, version in content["required_packages_version"].items():
        assert version == pins[package]


@every_bundle
def test_metadata_describes_the_network_of_the_inference_config(bundle: Path) -> None:
    content = json.loads((bundle / "configs" / "metadata.json").read_text())["network_data_format"]
    config = yaml.safe_load((bundle / "configs" / "inference.yaml").read_text())
    (image,), (pred,) = content["inputs"].values(), content["outputs"].values()
    assert image["num_channels"] == config["in_channels"]
    assert len(image["spatial_shape"]) == config["network_def"]["spatial_dims"] == len(config["roi_size"])
    assert pred["num_channels"] == config["num_classes"] == len(config["structures"]) + 1
    assert list(pred["channel_def"].values()) == ["background", *config["structures"]]


@every_bundle
def test_training_and_inference_define_the_same_network(bundle: Path) -> None:
    train, inference = (
        yaml.safe_load((bundle / "configs" / name).read_text())["network_def"]
        for name in ("train.yaml", "inference.yaml")
    )
    assert train == inference


@pytest.mark.parametrize(
    "file",
    [
        "LICENSE",
        "configs/evaluate.yaml",
        "configs/inference_trt.yaml",
        "configs/logging.conf",
        "configs/mask_supervision.yaml",
        "configs/multi_gpu_evaluate.yaml",
        "configs/multi_gpu_train.yaml",
        "docs/data_license.txt",
        "scripts/__init__.py",
        "scripts/volume_table.py",
    ],
)
def test_what_both_bundles_hold_a_copy_of_stays_alike(file: str) -> None:
    assert (BUNDLE_2D / file).read_text() == (BUNDLE_3D / file).read_text()


@pytest.mark.parametrize("file", ["inference.yaml", "inference_roi.yaml", "segresnet.yaml", "metadata.json"])
def test_configs_of_both_bundles_have_the_same_keys_in_the_same_order(file: str) -> None:
    two, three = (yaml.safe_load((bundle / "configs" / file).read_text()) for bundle in (BUNDLE_2D, BUNDLE_3D))
    assert list(two) == list(three)


def test_training_configs_differ_in_what_slices_need_only() -> None:
    two, three = (yaml.safe_load((bundle / "configs" / "train.yaml").read_text()) for bundle in (BUNDLE_2D, BUNDLE_3D))
    assert [key for key in two if key not in ("size_level", "num_slices", "is_volume_level")] == list(three)


@every_bundle
def test_readme_names_configs_that_exist_and_all_of_them(bundle: Path) -> None:
    readme = (bundle / "docs" / "README.md").read_text()
    configs = {file.name for file in (bundle / "configs").iterdir()}
    assert set(re.findall(r"BUNDLE/configs/([\w.]+)", readme)) <= configs
    assert {name for name in configs if name.endswith(".yaml")} <= set(re.findall(r"\w+\.yaml", readme))


@pytest.mark.parametrize("variant", [UNET_2D, UNET_3D], ids=lambda variant: variant.name)
def test_monai_labels_way_through_a_bundle_segments_a_scan(
    own_modules: None, variant: Variant, phantoms: Path, tmp_path: Path
) -> None:
    """What ``monailabel.tasks.infer.bundle.BundleInferTask`` does with a bundle's ids, without its server."""
    shipped = variant.ship(tmp_path).bundle
    parser = ConfigParser()
    parser.read_config(str(shipped / "configs" / "inference.yaml"))
    parser.config.update({"bundle_root": str(shipped), "device": "cpu", "num_classes": 4})
    parser.config.update({"spacing": list(variant.spacing), "roi_size": list(variant.roi_size)})
    formats = json.loads((shipped / "configs" / "metadata.json").read_text())["network_data_format"]
    (image_key,), (pred_key,) = formats["inputs"], formats["outputs"]

    network = parser.get_parsed_content("network_def", instantiate=True)
    network.load_state_dict(torch.load(shipped / "models" / "model.pt", weights_only=True))
    loader, *transforms = parser.get_parsed_content("preprocessing", instantiate=True).transforms
    assert isinstance(loader, LoadImaged)
    file = sorted((phantoms / "images").iterdir())[0]
    item = {image_key: str(file)}
    for transform in (loader, *transforms):
        item = transform(item)
    inferer = parser.get_parsed_content("inferer", instantiate=True)
    with torch.no_grad():
        item[pred_key] = inferer(item[image_key][None], network.eval())[0]
    for transform in parser.get_parsed_content("postprocessing", instantiate=True).transforms:
        if not isinstance(transform, SaveImaged):
            item = transform(item)
    assert item[pred_key].shape == (1, *nibabel.load(file).shape)
    assert set(np.unique(item[pred_key])) <= {0, 1, 2, 3}
    assert len(np.unique(item[pred_key])) > 1


@pytest.mark.parametrize("variant", [UNET_2D, UNET_3D], ids=lambda variant: variant.name)
def test_monai_labels_overrides_reach_the_training(variant: Variant, phantoms: Path) -> None:
    """The ids that ``monailabel.tasks.train.bundle.BundleTrainTask`` overrides."""
    parser = ConfigParser()
    parser.read_config(variant.configs("train.yaml"))
    assert all("_target_" in handler for handler in parser["train#handlers"])
    items = [{"image": str(file)} for file in sorted((phantoms / "images").iterdir())]
    for name, value in {
        "bundle_root": str(variant.bundle),
        "dataset_dir": str(phantoms),
        "train#trainer#max_epochs": 3,
        "train#dataset#data": items[:4],
        "validate#dataset#data": items[4:],
    }.items():
        parser[name] = value
    assert parser.get_parsed_content("train#trainer#max_epochs") == 3
    assert parser.get_parsed_content("train#dataset#data") == items[:4]
    assert parser.get_parsed_content("validate#dataset#data") == items[4:]


@every_bundle
def test_hugging_face_hub_gets_a_model_card_and_the_bundles_files(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uploaded: dict[str, Any] = {}

    class HfApi:
        """Stands in for huggingface_hub's, that is, for the network."""

        def __init__(self, token: str | None) -> None: ...

        def create_repo(self, **_: Any) -> None: ...

        def upload_folder(self, repo_id: str, folder_path: str) -> None:
            uploaded.update({"repo": repo_id, "folder": Path(folder_path)})

    monkeypatch.setattr(monai.bundle.scripts, "huggingface_hub", types.SimpleNamespace(HfApi=HfApi))
    shutil.copytree(bundle, tmp_path / bundle.name)
    push_to_hf_hub(repo=f"medsize/{bundle.name}", name=bundle.name, bundle_dir=str(tmp_path))
    folder = uploaded["folder"]
    for file in (
        "LICENSE",
        "configs/metadata.json",
        "configs/inference.yaml",
        "docs/README.md",
        "docs/data_license.txt",
    ):
        assert (folder / file).is_file()
    header, card = (folder / "README.md").read_text().removeprefix("---\n").split("\n---\n", 1)
    assert yaml.safe_load(header) == {"tags": ["monai", "medical"], "library_name": "monai", "license": "apache-2.0"}
    # The card lies beside docs, not in it: a link relative to docs/README.md would be broken there.
    assert [link for link in re.findall(r"\]\(([^)]+)\)", card) if not link.startswith("https://")] == []
