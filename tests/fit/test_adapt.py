"""``medsize adapt``: a training starts from a bundle of the model zoo, and its bundle infers without medsize."""

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
import yaml
from monai.bundle import ConfigParser
from typer.testing import CliRunner

from medsize.bundle.sharing.export import export_bundle
from medsize.cli import app
from medsize.fit.adapt import adapt_bundle
from medsize.networks import LeanUNet
from tests.conftest import BUNDLE_3D
from tests.zoo_bundles import CT, NORMALISED, SEGRESNET, UNET, write_zoo_bundle

STYLES = {
    "UNet, a window": {"network": UNET, "preprocessing": CT},
    "SegResNet, normalised": {"network": SEGRESNET, "preprocessing": NORMALISED},
}


def adapted(zoo: Path, cohort: Path, overlay: Path, *options: str) -> str:
    result = CliRunner().invoke(app, ["adapt", str(zoo), str(cohort), "--output", str(overlay), *options])
    assert result.exit_code == 0, result.output
    return result.output


def test_the_overlay_has_network_geometry_and_intensities_of_the_bundle(phantoms: Path, tmp_path: Path) -> None:
    zoo, overlay = write_zoo_bundle(tmp_path / "ct_zoo"), tmp_path / "start.yaml"
    said = adapted(zoo, phantoms, overlay)
    assert "'liver' starts from 'liver' of ct_zoo" in said
    assert "'kidney' starts from 'Kidney'" in said
    assert "'lesion' is new" in said
    assert f"medsize train size_seg_3d --overlay {overlay}" in said
    found = yaml.safe_load(overlay.read_text())
    assert found["network_def"] == {**UNET, "in_channels": "@in_channels", "out_channels": "@num_classes"}
    assert (found["spacing"], found["orientation"], found["intensity_window"]) == ([6.0, 6.0, 16.0], "RAS", [-57, 164])
    assert all(side % 4 == 0 for side in found["roi_size"])
    assert "use_first_labels" not in found  # they show where the new structure may be
    assert "'lesion' is new" in overlay.read_text()

    parser = ConfigParser()
    parser.read_config([BUNDLE_3D / "configs" / "train.yaml", overlay])
    parser.update({"dataset_dir": str(phantoms)})
    network = parser.get_parsed_content("start")
    weights = torch.load(overlay.with_suffix(".pt"), weights_only=True)
    assert all(torch.equal(tensor, weights[name]) for name, tensor in network.state_dict().items())


def test_a_bundle_that_knows_all_structures_needs_no_first_labels(phantoms: Path, tmp_path: Path) -> None:
    classes = ("background", "liver", "Lesion", "kidney", "spleen")
    zoo = write_zoo_bundle(tmp_path / "zoo", {**SEGRESNET, "out_channels": 5}, classes, NORMALISED)
    said = adapted(zoo, phantoms / "datalist.json", tmp_path / "start.yaml")
    assert "dropped, as no structure has these names: spleen" in said
    assert "CropForegroundd: the window of the cohort stands for it" in said
    found = yaml.safe_load((tmp_path / "start.yaml").read_text())
    assert found["use_first_labels"] is False
    assert [step["_target_"] for step in found["intensity_transforms"]] == ["NormalizeIntensityd", "ScaleIntensityd"]


def test_what_fit_exports_in_2d_is_a_start_like_a_bundle_of_the_zoo(phantoms: Path, tmp_path: Path) -> None:
    zoo, first = tmp_path / "zoo", LeanUNet(in_channels=1, out_channels=3)
    definition = {"_target_": "scripts.lean_unet.LeanUNet", "in_channels": 1, "out_channels": 3}
    write_zoo_bundle(zoo, {**UNET, "out_channels": 3, "spatial_dims": 2}, ("background", "liver", "spleen"))
    file = zoo / "configs" / "inference.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"network_def": definition}))
    torch.save(first.state_dict(), zoo / "models" / "model.pt")
    adapted(zoo, phantoms, tmp_path / "start.yaml")
    found = yaml.safe_load((tmp_path / "start.yaml").read_text())
    assert found["network_def"]["_target_"] == "medsize.networks.LeanUNet"
    head = torch.load(tmp_path / "start.pt", weights_only=True)["head.weight"]
    assert torch.equal(head[:2], first.head.weight[:2])


def test_orientation_turns_spacing_and_window_with_the_axes(phantoms: Path, tmp_path: Path) -> None:
    cohort = json.loads((phantoms / "datalist.json").read_text())
    for item in cohort["training"]:
        stored = nibabel.as_closest_canonical(nibabel.load(phantoms / item["image"]))
        turned = stored.as_reoriented(nibabel.orientations.axcodes2ornt("SAR"))
        (tmp_path / item["image"]).parent.mkdir(exist_ok=True)
        nibabel.save(turned, tmp_path / item["image"])
        for key in ("label", "scribble"):
            item.pop(key, None)
    (tmp_path / "datalist.json").write_text(json.dumps(cohort))
    adapted(write_zoo_bundle(tmp_path / "zoo"), tmp_path, tmp_path / "turned.yaml")
    adapted(tmp_path / "zoo", phantoms, tmp_path / "straight.yaml")
    turned, straight = (yaml.safe_load((tmp_path / f"{name}.yaml").read_text()) for name in ("turned", "straight"))
    assert turned["roi_size"] == straight["roi_size"]
    assert turned["spacing"] == straight["spacing"]


@pytest.mark.parametrize("name", ["start.yaml", "start.pt"])
def test_neither_overlay_nor_weights_that_exist_are_overwritten(phantoms: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(ValueError, match=rf"{name} is there already"):
        adapt_bundle(tmp_path, phantoms, tmp_path / "start.yaml")
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [(name, "mine")]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("configs/metadata.json", "[]", "metadata.json: found .., expected an object"),
        ("configs/inference.json", "{", "inference.json: found invalid JSON"),
        ("models/model.pt", "PK", "model.pt: found no weights that torch can read"),
    ],
    ids=["a list", "cut off", "no weights"],
)
def test_a_broken_bundle_is_refused_by_its_file(
    phantoms: Path, tmp_path: Path, name: str, content: str, message: str
) -> None:
    zoo = write_zoo_bundle(tmp_path / "zoo")
    (zoo / name).write_text(content)
    with pytest.raises(ValueError, match=message):
        adapt_bundle(zoo, phantoms, tmp_path / "start.yaml")


def test_channels_that_do_not_fit_are_refused_unless_grey_is_repeated(phantoms: Path, tmp_path: Path) -> None:
    zoo = write_zoo_bundle(tmp_path / "zoo", {**UNET, "in_channels": 3})
    command = ["adapt", str(zoo), str(phantoms), "--output", str(tmp_path / "start.yaml")]
    refused = CliRunner(env={"COLUMNS": "600"}).invoke(app, command)
    assert refused.exit_code == 2
    assert re.search(r"its network has 3 channels, the scans of the cohort 1\. With --repeat-grey", refused.output)
    assert not (tmp_path / "start.yaml").exists()
    adapted(zoo, phantoms, tmp_path / "start.yaml", "--repeat-grey")
    first = next(iter(torch.load(tmp_path / "start.pt", weights_only=True).values()))
    assert first.shape[1] == 1


@pytest.fixture
def trained(command: Callable, phantoms: Path, tmp_path: Path) -> Callable[[str], Path]:
    """Output folder of a short run that starts from a bundle of a style."""

    def train(style: str) -> Path:
        zoo, overlay, run = (
            write_zoo_bundle(tmp_path / "zoo", **STYLES[style]),
            tmp_path / "start.yaml",
            tmp_path / "run",
        )
        adapted(zoo, phantoms, overlay)
        configs = [str(BUNDLE_3D / "configs" / "train.yaml"), str(overlay)]
        options = ["--bundle_root", BUNDLE_3D, "--config_file", configs, "--dataset_dir", phantoms]
        options += ["--output_dir", run, "--roi_size", "[32,32,8]", "--max_epochs", 1, "--val_interval", 1]
        command("monai.bundle", "run", *options, "--first_labels_features", "intensity", cwd=tmp_path)
        return run

    return train


def test_a_training_from_sizes_starts_from_it(trained: Callable, tmp_path: Path) -> None:
    settings = json.loads((trained("SegResNet, normalised") / "inference.json").read_text())
    assert settings["orientation"] == "RAS"
    assert [step["_target_"] for step in settings["intensity_transforms"]] == ["NormalizeIntensityd", "ScaleIntensityd"]
    export_bundle(BUNDLE_3D, tmp_path / "shared", tmp_path / "run")
    configs = {}
    for name in ("train", "inference"):
        configs[name] = yaml.safe_load((tmp_path / "shared" / "configs" / f"{name}.yaml").read_text())
        assert configs[name]["network_def"]["init_filters"] == SEGRESNET["init_filters"]
        assert configs[name]["orientation"] == "RAS"
        assert configs[name]["intensity_transforms"] == settings["intensity_transforms"]


@pytest.mark.slow
@pytest.mark.parametrize("style", STYLES)
def test_its_export_infers_without_medsize(
    style: str, trained: Callable, command: Callable, no_medsize: Path, phantoms: Path, tmp_path: Path
) -> None:
    run, shared = trained(style), tmp_path / "shared"
    export_bundle(BUNDLE_3D, shared, run)
    assert ("intensity_transforms" in json.loads((run / "inference.json").read_text())) == ("normalised" in style)
    options = ["--bundle_root", shared, "--config_file", shared / "configs" / "inference.yaml"]
    options += ["--dataset_dir", phantoms / "images", "--image_pattern", "phantom_000.nii.gz", "--output_dir", "masks"]
    command("monai.bundle", "run", *options, cwd=tmp_path, python_path=no_medsize)
    mask = nibabel.load(next((tmp_path / "masks").glob("*_seg.nii.gz")))
    scan = nibabel.load(phantoms / "images" / "phantom_000.nii.gz")
    assert mask.shape == scan.shape
    np.testing.assert_allclose(mask.affine, scan.affine, atol=1e-4)
    metadata, config = shared / "configs" / "metadata.json", shared / "configs" / "inference.yaml"
    monai.bundle.verify_net_in_out("network_def", meta_file=str(metadata), config_file=str(config), device="cpu")
