"""Requirements of MONAI's model zoo, MONAI Label and the Hugging Face hub on a bundle's files and names."""

from __future__ import annotations

import json
import re
import shutil
import types
from pathlib import Path
from typing import Any

import jsonschema
import monai.bundle.scripts
import nibabel
import numpy as np
import pytest
import torch
import yaml
from ignite.engine import Engine
from monai.bundle import ConfigParser, ConfigWorkflow, push_to_hf_hub
from monai.inferers import Inferer
from monai.transforms import Compose, LoadImaged, SaveImaged
from monai.utils import BundlePropertyConfig
from torch.utils.data import Dataset

from tests.bundles.conftest import UNET_2D, UNET_3D, Variant, every_bundle, every_variant
from tests.conftest import BUNDLE_2D, BUNDLE_3D, PROJECT

WORKFLOWS = [("train", ["train.yaml"]), ("evaluation", ["train.yaml", "evaluate.yaml"]), ("infer", ["inference.yaml"])]
TYPES: dict[str, type] = {
    **dict.fromkeys(("bundle_root", "dataset_dir", "version", "description"), str),
    **dict.fromkeys(("monai_version", "pytorch_version", "numpy_version"), str),
    **dict.fromkeys(("max_epochs", "val_interval"), int),
    "device": torch.device,
    "network_def": torch.nn.Module,
    **dict.fromkeys(("trainer", "evaluator"), Engine),
    **dict.fromkeys(("dataset", "train_dataset", "val_dataset"), Dataset),
    **dict.fromkeys(("dataset_data", "train_dataset_data", "val_dataset_data", "spatial_shape"), list),
    **dict.fromkeys(("handlers", "train_handlers", "val_handlers"), list),
    **dict.fromkeys(("inferer", "train_inferer", "val_inferer"), Inferer),
    **dict.fromkeys(("preprocessing", "train_preprocessing", "val_preprocessing"), Compose),
    **dict.fromkeys(("postprocessing", "train_postprocessing", "val_postprocessing"), Compose),
    **dict.fromkeys(("key_metric", "train_key_metric", "val_key_metric", "channel_def"), dict),
}
"""Names of the properties of MONAI's workflows, as in its documentation."""
NULL = {"train": {"train_postprocessing", "train_key_metric"}, "evaluation": set(), "infer": {"key_metric"}}
"""Properties that a workflow of a bundle leaves empty."""


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
    held = {name: getattr(workflow, name) for name in workflow.properties}
    assert {name for name, value in held.items() if value is None} == NULL[kind]
    known = {name: value for name, value in held.items() if value is not None}
    assert {name: value for name, value in known.items() if not isinstance(value, TYPES[name])} == {}
    assert Path(held["bundle_root"]) == Path(options["bundle_root"])
    handlers = next(value for name, value in held.items() if name in ("train_handlers", "handlers"))
    assert handlers
    assert all(callable(handler.attach) for handler in handlers)


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
def test_metadata_has_the_types_of_the_zoos_schema(bundle: Path, schema: Path) -> None:
    content = json.loads((bundle / "configs" / "metadata.json").read_text())
    assert content["schema"].rsplit("/", 1)[1] == schema.name
    jsonschema.validate(content, json.loads(schema.read_text()))


@every_bundle
def test_metadata_describes_the_network_of_the_inference_config(bundle: Path) -> None:
    content = json.loads((bundle / "configs" / "metadata.json").read_text())["network_data_format"]
    config = yaml.safe_load((bundle / "configs" / "inference.yaml").read_text())
    (image,), (pred,) = content["inputs"].values(), content["outputs"].values()
    network = config["network_def"]
    assert image["num_channels"] == config["in_channels"]
    assert network["strides"] == "@strides"
    assert image["spatial_shape"] == [f"{divisor}*(n+1)" for divisor in np.prod(config["strides"], axis=0)]
    assert pred["spatial_shape"] == image["spatial_shape"]
    assert len(config["roi_size"]) == len(config["spacing"]) == network["spatial_dims"]
    assert image["value_range"] == [0, 1]
    assert image["dtype"] == pred["dtype"] == "float32"
    assert pred["num_channels"] == config["num_classes"] == len(config["structures"]) + 1
    channels = ["background", *config["structures"]]
    assert pred["channel_def"] == {str(index): name for index, name in enumerate(channels)}


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


def leaves(config: Any, path: str = "") -> dict[str, Any]:
    """Return the values of a config, by ids as MONAI joins them; a list of numbers or names is one value."""
    if isinstance(config, dict):
        entries = list(config.items())
    elif isinstance(config, list) and any(isinstance(value, (dict, list)) for value in config):
        entries = list(enumerate(config))
    else:
        return {path: config}
    return {
        full: leaf
        for key, value in entries
        for full, leaf in leaves(value, f"{path}::{key}" if path else str(key)).items()
    }


@pytest.mark.parametrize(
    ("file", "differing"),
    [
        (
            "inference.yaml",
            {
                *("spacing", "roi_size", "pixdim"),
                *(f"strides::{level}" for level in range(4)),
                *(f"network_def::{key}" for key in ("spatial_dims", "channels")),
                *(f"inferer::{key}" for key in ("_target_", "spatial_dim", "sw_batch_size")),
            },
        ),
        ("inference_roi.yaml", {"region_size", "region_mm"}),
        ("segresnet.yaml", {"network_def::spatial_dims"}),
        (
            "metadata.json",
            {
                *("name", "task", "description"),
                *(f"eval_metrics::mean_{key}" for key in ("dice", "hd95_mm", "volume_error_ml", "relative_size_error")),
                *(f"network_data_format::{key}::spatial_shape" for key in ("inputs::image", "outputs::pred")),
            },
        ),
    ],
)
def test_configs_of_both_bundles_differ_in_what_dimensions_need_only(file: str, differing: set[str]) -> None:
    two, three = (yaml.safe_load((bundle / "configs" / file).read_text()) for bundle in (BUNDLE_2D, BUNDLE_3D))
    assert list(two) == list(three)
    two, three = leaves(two), leaves(three)
    absent = object()
    assert {key for key in two | three if two.get(key, absent) != three.get(key, absent)} == differing


def test_training_configs_differ_in_what_slices_need_only() -> None:
    two, three = (yaml.safe_load((bundle / "configs" / "train.yaml").read_text()) for bundle in (BUNDLE_2D, BUNDLE_3D))
    of_slices = ("num_slices", "is_volume_level", "hand_down_sizes", "tile_pictures")
    assert [key for key in two if key not in of_slices] == list(three)


@every_bundle
def test_readme_names_configs_that_exist_and_all_of_them(bundle: Path) -> None:
    readme = (bundle / "docs" / "README.md").read_text()
    configs = {file.name for file in (bundle / "configs").iterdir()}
    assert set(re.findall(r"BUNDLE/configs/([\w.]+)", readme)) <= configs
    assert {name for name in configs if name.endswith(".yaml")} <= set(re.findall(r"\w+\.yaml", readme))


@pytest.mark.parametrize("variant", [UNET_2D, UNET_3D], ids=lambda variant: variant.name)
def test_monai_labels_way_through_a_bundle_segments_a_scan(
    own_modules: None, variant: Variant, phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Do as ``monailabel.tasks.infer.bundle.BundleInferTask`` with a bundle's ids, without its server."""
    shipped = variant.ship(tmp_path).bundle
    monkeypatch.syspath_prepend(str(shipped))  # as it does, for scripts
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
