"""An exported bundle stands on its own."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import jsonschema
import monai.bundle
import nibabel
import numpy as np
import pandas as pd
import pytest
import torch
from monai.bundle import ConfigParser
from PIL import Image
from typer.testing import CliRunner

from medsize.bundle.parts import read_object
from medsize.bundle.run.command import as_options
from medsize.bundle.run.summary import RunSummary
from medsize.bundle.sharing.card_sections import performance
from medsize.bundle.sharing.export import export_bundle
from medsize.cli import app
from medsize.fit.recipe import NETWORKS
from tests.bundles.conftest import BUNDLES, CALIBRATION, STRIDES, WINDOWS
from tests.conftest import FEW_WORDS
from tests.test_docs import commands_of

TITLES = {name: network.title for name, network in NETWORKS.items()}
EXPORTED = [(2, "unet"), (2, "segresnet"), (2, "lean_unet"), (3, "unet"), (3, "segresnet")]


@pytest.mark.parametrize(("dimensions", "network"), EXPORTED)
def test_an_export_holds_network_weights_settings_and_figures(
    finished_run: Callable, tmp_path: Path, dimensions: int, network: str
) -> None:
    output, run = tmp_path / "exported", finished_run(dimensions, network)
    export_bundle(BUNDLES / f"size_seg_{dimensions}d", output, run, network)

    for name in ("inference.yaml", "train.yaml"):
        parser = ConfigParser()
        parser.read_config(output / "configs" / name)
        assert parser["network_def"]["_target_"].rpartition(".")[2] == TITLES[network]
        assert (parser["spacing"], parser["roi_size"]) == WINDOWS[dimensions]
        assert network != "unet" or parser["strides"] == STRIDES[dimensions]
    parser = ConfigParser()
    parser.read_config(output / "configs" / "inference.yaml")
    assert parser["structures"] == ["liver", "Kidney: left"]
    weights = torch.load(output / "models" / "model.pt", weights_only=True)
    parser.get_parsed_content("network_def").load_state_dict(weights)

    metadata = json.loads((output / "configs" / "metadata.json").read_text())
    outputs = metadata["network_data_format"]["outputs"]["pred"]
    divisor = {"unet": 16 if dimensions == 2 else 4, "segresnet": 8, "lean_unet": 32}[network]
    assert outputs["spatial_shape"][-1] == f"{divisor}*(n+1)"
    assert outputs["channel_def"] == {"0": "background", "1": "liver", "2": "Kidney: left"}
    assert outputs["num_channels"] == 3
    assert metadata["eval_metrics"]["mean_dice"] == 0.5
    assert metadata["authors"] == "not stated"
    assert {file.name for file in (output / "docs").iterdir()} == {"README.md", "data_license.txt"}
    readme = (output / "docs" / "README.md").read_text()
    assert "| liver | 0.60 ± 0.10 | 4.00 ± 1.00 | 15.00 ± 5.00 | 0.20 ± 0.10 |" in readme
    assert "| Kidney: left | 0.30 ± 0.10 | – | 1.00 ± 0.00 | – |" in readme
    assert readme.count("## Performance") == readme.count("## Data\n") == 1
    assert "were trained on 20 scans, " in readme
    assert readme.count("\n## ") == len(set(re.findall("\n## .*", readme)))
    titles = re.findall("^## (.+)", readme, re.MULTILINE)
    assert titles[:5] == ["Use", "Output", "Input", "Performance", "Data"]
    use, output_section = (readme.split(f"\n## {title}\n")[1].split("\n## ")[0] for title in titles[:2])
    assert "segment: liver, Kidney: left." in use
    assert "BUNDLE/configs/inference.yaml \\" in use
    assert "train" not in use
    assert "volumes in mL" in output_section
    assert "area" not in output_section
    own, others = (output / "docs" / "data_license.txt").read_text().split("\n\n", 1)
    assert "is not stated yet" in own
    assert "Apache License" in others
    texts = [file.read_text() for file in output.rglob("*.*") if file.suffix in (".yaml", ".conf", ".py")]
    assert len(texts) > 10
    assert not [text for text in texts if "make bundles" in text]
    for title in ("Data", "Performance"):
        section = readme.split(f"\n## {title}\n")[1].split("\n## ")[0]
        assert not re.search("ladder|hippocampus", section, re.IGNORECASE)


def test_an_ensemble_of_lean_unets_holds_their_code(finished_run: Callable, tmp_path: Path) -> None:
    run, output = finished_run(2, "lean_unet"), tmp_path / "exported"
    settings, one = json.loads((run / "inference.json").read_text()), torch.load(run / "model.pt", weights_only=True)
    member = {"_target_": "medsize.networks.LeanUNet", "in_channels": "@in_channels", "out_channels": "@num_classes"}
    settings["network_def"] = {"_target_": "scripts.ensemble.MeanOfNetworks", "networks": [member, member]}
    (run / "inference.json").write_text(json.dumps(settings))
    joined = {f"networks.{number}.{name}": value for number in range(2) for name, value in one.items()}
    torch.save(joined, run / "model.pt")
    export_bundle(BUNDLES / "size_seg_2d", output, run, "lean_unet")
    parser = ConfigParser()
    parser.read_config(output / "configs" / "inference.yaml")
    assert "medsize" not in str(parser["network_def"])
    parser.get_parsed_content("network_def").load_state_dict(joined)
    assert read_object(output / "configs" / "train.yaml")["network_def"] == member


@pytest.mark.parametrize(("dimensions", "network"), EXPORTED)
def test_monai_verifies_every_export(
    finished_run: Callable, schema: Path, tmp_path: Path, dimensions: int, network: str
) -> None:
    output = tmp_path / "exported"
    export_bundle(BUNDLES / f"size_seg_{dimensions}d", output, finished_run(dimensions, network), network, vendor=True)
    metadata, inference = output / "configs" / "metadata.json", output / "configs" / "inference.yaml"
    jsonschema.validate(json.loads(metadata.read_text()), json.loads(schema.read_text()))
    monai.bundle.verify_net_in_out("network_def", meta_file=str(metadata), config_file=str(inference), device="cpu")
    monai.bundle.ckpt_export(
        "network_def",
        filepath=str(tmp_path / "model.ts"),
        ckpt_file=str(output / "models" / "model.pt"),
        meta_file=str(metadata),
        config_file=str(inference),
    )
    parser = ConfigParser()
    parser.read_config(inference)
    eager = parser.get_parsed_content("network_def").eval()
    eager.load_state_dict(torch.load(output / "models" / "model.pt", weights_only=True))
    scan = torch.rand(1, 1, *(64,) * dimensions)
    torch.testing.assert_close(torch.jit.load(tmp_path / "model.ts").eval()(scan), eager(scan))


@pytest.mark.parametrize(("dimensions", "network"), [(2, "unet"), (2, "segresnet"), (2, "lean_unet"), (3, "segresnet")])
def test_every_command_of_an_exported_readme_resolves(
    finished_run: Callable, tmp_path: Path, dimensions: int, network: str
) -> None:
    folder, run = tmp_path / "exported", finished_run(dimensions, network, in_channels=3)
    export_bundle(BUNDLES / f"size_seg_{dimensions}d", folder, run, network)
    readme = folder / "docs" / "README.md"
    named = set(re.findall(r"\w+\.yaml", readme.read_text()))
    assert named - {"imagenet.yaml"} <= {file.name for file in folder.glob("configs/*.yaml")}  # 3D names that of 2D
    assert f"- Network: {TITLES[network]}, as" in readme.read_text()

    places = {"BUNDLE_2D": BUNDLES / "size_seg_2d", "BUNDLE": folder, "RUN": run, "TEACHER": run}
    trained = []
    for words in commands_of(readme, ("bash",)):
        command = re.sub(r"\b(BUNDLE_2D|BUNDLE|RUN|TEACHER)\b", lambda place: str(places[place[0]]), shlex.join(words))
        values = shlex.split(command.partition("monai.bundle")[2])
        given = {key[2:]: value for key, value in pairwise(values) if key.startswith("--")}
        if "config_file" not in given:
            continue
        files = [Path(file) for file in re.findall(r"[^\[\]',]+", given["config_file"])]
        config = {key: value for file in files for key, value in read_object(file).items()}
        if "run" in words:
            assert given.keys() - config.keys() <= {"bundle_root", "config_file"}, command
        if [file.name for file in files] == ["train.yaml"]:
            trained.append(config["network_def"]["_target_"].rpartition(".")[2])
        if "input_shape" in given:
            shape = json.loads(given["input_shape"])
            assert shape[1:] == [3, *read_object(folder / "configs" / "inference.yaml")["roi_size"]], command
    assert trained == [TITLES[network]]

    again = re.search(r"`medsize (export .+?)`", readme.read_text())
    assert again is not None
    options = [str(places.get(word, word)) for word in again[1].replace("FOLDER", str(tmp_path / "again")).split()]
    result = CliRunner(env={"COLUMNS": "400"}).invoke(app, options)
    assert (result.exit_code, (tmp_path / "again" / "models" / "model.pt").is_file()) == (0, True), result.output


def trained_a_network_of_medsize(run: Path) -> None:
    settings = json.loads((run / "inference.json").read_text())
    settings["network_def"] = {"_target_": "medsize.networks.Brightness"}
    (run / "inference.json").write_text(json.dumps(settings))


def sees_volumes(run: Path) -> None:
    settings = json.loads((run / "inference.json").read_text())
    (run / "inference.json").write_text(json.dumps(settings | {"roi_size": [32, 32, 8], "spacing": [6.0, 6.0, 6.0]}))


@pytest.mark.parametrize(
    ("break_it", "network", "message"),
    [
        (lambda run: (run / "metrics.csv").unlink(), "unet", "there is no metrics.csv"),
        (lambda run: (run / "metrics.csv").write_bytes(b"\x00\xff"), "unet", "metrics.csv: found no table"),
        (lambda run: (run / "model.pt").write_bytes(b"PK"), "unet", "model.pt: found a file that is cut off"),
        (sees_volumes, "unet", "found the window [32, 32, 8], expected one of 2 axes"),
        (lambda run: None, "swin", "there are: unet, segresnet"),
        (lambda run: None, "segresnet", "tensors are missing, such as '"),
        (trained_a_network_of_medsize, "unet", "let it teach a network of MONAI"),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_is_written(
    finished_run: Callable, tmp_path: Path, break_it: Callable, network: str, message: str
) -> None:
    run = finished_run(2, "unet")
    break_it(run)
    options = ["--run", str(run), "--network", network, "--output", str(tmp_path / "exported")]
    result = CliRunner(env={"COLUMNS": "400"}).invoke(app, ["export", str(BUNDLES / "size_seg_2d"), *options])
    assert result.exit_code == 2
    assert message in result.output
    assert not (tmp_path / "exported").exists()


def test_a_folder_in_use_is_not_written_to(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="is not empty"):
        export_bundle(BUNDLES / "size_seg_2d", tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("network", ["unet", "lean_unet"])
def test_an_exported_bundle_gives_intervals_where_medsize_is_not_installed(
    command: Callable, no_medsize: Path, finished_run: Callable, phantoms: Path, tmp_path: Path, network: str
) -> None:
    output = tmp_path / "exported"
    export_bundle(BUNDLES / "size_seg_2d", output, finished_run(2, network), network)
    files = ["--bundle_root", output, "--config_file", output / "configs" / "inference.yaml"]
    scan = nibabel.load(phantoms / "images" / "phantom_000.nii.gz")
    view_ml = np.prod(scan.shape) * np.prod(scan.header.get_zooms()) / 1000
    options = ["--dataset_dir", phantoms / "images", "--image_pattern", "phantom_00[01].nii.gz"]
    options += ["--output_dir", tmp_path / "masks"]
    command("monai.bundle", "run", *files, *options, cwd=tmp_path, python_path=no_medsize)
    found = json.loads((tmp_path / "masks" / "volumes.json").read_text())
    assert len(found["scans"]) == 2
    assert found["notes"] == {name: calibration.note for name, calibration in CALIBRATION.items()}
    for scan in found["scans"]:
        liver, kidney = (scan["structures"][name] for name in CALIBRATION)
        low, high = CALIBRATION["liver"].interval(liver["volume_ml"])
        assert (liver["low_ml"], liver["high_ml"]) == pytest.approx((low, min(high, view_ml)), rel=1e-5)
        assert liver["level"] == 0.888889
        assert (kidney["low_ml"], kidney["high_ml"], kidney["level"]) == (None, None, None)
        assert (kidney["confidence"] is None) == (kidney["volume_ml"] == 0)
        assert 0 < (liver["confidence"] or 0.5) <= 1
    assert any(scan["structures"]["liver"]["volume_ml"] > 0 for scan in found["scans"])


def test_a_vendored_bundle_trains_where_medsize_is_not_installed(
    command: Callable, finished_run: Callable, phantoms: Path, tmp_path: Path
) -> None:
    output = tmp_path / "exported"
    export_bundle(BUNDLES / "size_seg_2d", output, finished_run(2, "segresnet"), "segresnet", vendor=True)
    broken = tmp_path / "broken" / "medsize"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("raise ImportError('medsize is not installed')")
    refused = command("medsize.cli", cwd=tmp_path, check=False, python_path=broken.parent)
    assert "medsize is not installed" in refused.stderr

    run = tmp_path / "trained"
    files = ["--bundle_root", output, "--config_file", output / "configs" / "train.yaml"]
    options = ["--dataset_dir", phantoms, "--output_dir", run, "--max_epochs", 1, "--val_interval", 1]
    options += as_options(FEW_WORDS)
    command("monai.bundle", "run", *files, *options, cwd=tmp_path, python_path=broken.parent)
    assert (run / "metrics.csv").is_file()


@pytest.mark.parametrize(("channels", "pixel_mm"), [(1, None), (3, 0.5)])
def test_a_bundle_of_pictures_segments_them_without_medsize(
    command: Callable,
    finished_run: Callable,
    no_medsize: Path,
    schema: Path,
    tmp_path: Path,
    channels: int,
    pixel_mm: float | None,
) -> None:
    output, pictures = tmp_path / "exported", tmp_path / "pictures"
    unit, symbol, pixel = ("px", "px", 1.0) if pixel_mm is None else ("mm2", "mm²", pixel_mm**2)
    run = finished_run(
        2, "unet", in_channels=channels, length_unit="px" if pixel_mm is None else "mm", fit_to_window=True
    )
    export_bundle(BUNDLES / "size_seg_2d", output, run, image_type="ultrasound")
    pictures.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (50, 81, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6  # shown upright, it has 81 rows
    Image.fromarray(pixels).save(pictures / "colour.png", exif=exif)
    Image.fromarray(pixels[..., 0]).save(pictures / "grey.png")
    Image.fromarray(pixels).quantize(16).save(pictures / "palette.png")

    configs = [str(output / "configs" / name) for name in ("inference.yaml", "inference_pictures.yaml")]
    options = ["--bundle_root", output, "--config_file", configs, "--dataset_dir", pictures, "--output_dir", "masks"]
    options += [] if pixel_mm is None else ["--pixel_mm", pixel_mm]
    command("monai.bundle", "run", *options, cwd=tmp_path, python_path=no_medsize)
    areas = pd.read_csv(tmp_path / "masks" / "areas.csv").set_index("image")
    for name, size in (("colour", (50, 81)), ("grey", (81, 50)), ("palette", (81, 50))):
        mask = np.asarray(Image.open(tmp_path / "masks" / f"{name}_seg.png"))
        assert mask.shape == size[::-1], name
        area = areas.loc[str(pictures / f"{name}.png"), f"liver ({symbol})"]
        assert area == pytest.approx(pixel * (mask == 1).sum(), rel=1e-5)
    found = json.loads((tmp_path / "masks" / "areas.json").read_text())
    assert found["notes"] == {name: calibration.note for name, calibration in CALIBRATION.items()}
    for scan in found["scans"]:
        liver, kidney = (scan["structures"][name] for name in CALIBRATION)
        ends = CALIBRATION["liver"].interval(liver[f"area_{unit}"] / 1000, 50 * 81 * pixel / 1000)
        assert (liver[f"low_{unit}"] / 1000, liver[f"high_{unit}"] / 1000) == pytest.approx(ends, rel=1e-5)
        assert (kidney[f"low_{unit}"], kidney[f"high_{unit}"], kidney["level"]) == (None, None, None)

    metadata = output / "configs" / "metadata.json"
    content = json.loads(metadata.read_text())
    jsonschema.validate(content, json.loads(schema.read_text()))
    image = content["network_data_format"]["inputs"]["image"]
    assert (image["modality"], image["num_channels"]) == ("ultrasound", channels)
    assert image["channel_def"] == ({"0": "R", "1": "G", "2": "B"} if channels == 3 else {"0": "image"})
    length = "px" if pixel_mm is None else "mm"
    assert {f"mean_hd95_{length}", f"mean_area_error_{unit}"} < content["eval_metrics"].keys()
    assert content["eval_metrics"][f"mean_area_error_{unit}"] == 500
    card = (output / "docs" / "README.md").read_text()
    use, output_section = (card.split(f"\n## {title}\n")[1].split("\n## ")[0] for title in ("Use", "Output"))
    assert "inference_pictures.yaml" in use
    assert ("--pixel_mm" in use) == (pixel_mm is not None)
    assert f"areas in {symbol}" in output_section
    assert " mL" not in output_section
    assert f"| structure | Dice | HD95 ({length}) | area error ({symbol}) | relative size error |" in card
    assert "| liver | 0.60 ± 0.10 | 4.00 ± 1.00 | 15000.00 ± 5000.00 |" in card
    monai.bundle.verify_net_in_out("network_def", meta_file=str(metadata), config_file=configs[0], device="cpu")


def test_a_card_begins_its_results_with_what_a_fit_found_wrong() -> None:
    case = {"image": "a.nii", "subject": "a", "structure": "liver", "dice": 0.1, "hd95_mm": 40.0}
    cases = pd.DataFrame([case | {"volume_error_ml": 900.0, "relative_size_error": 0.9}])
    settings = {"num_classes": 2, "structures": ["liver"]}
    assert performance(RunSummary(doubt="size error 0.90"), cases, settings).startswith(
        "**Size error 0.90**\n\n1 valid"
    )
    assert performance(RunSummary(), cases, settings).startswith("1 validation scans")
