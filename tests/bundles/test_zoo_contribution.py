"""A contribution to the model zoo has what the zoo's own checks ask for, hosted in either way."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import monai.bundle
import pandas as pd
import pytest
import yaml
from monai.apps.utils import download_url
from monai.bundle import ConfigParser
from typer.testing import CliRunner

from medsize.bundle.sharing.model_card import NOT_MEASURED_BY
from medsize.bundle.sharing.weights_licence import weights_licence
from medsize.bundle.sharing.zoo import HUB_SCHEMA, Contribution, export_for_zoo
from medsize.cli import app
from medsize.handlers.case_table import summarise
from tests.bundles.conftest import BUNDLES, CALIBRATION, WINDOWS

NAME = "liver_mr_segmentation"
REPOSITORY = f"clinic/{NAME}"
OF_A_PAGE = (
    *("schema", "version", "changelog", "monai_version", "pytorch_version", "numpy_version"),
    *("required_packages_version", "name", "task", "description", "authors", "copyright", "huggingface_url"),
)
"""Keys that the zoo's schema of models on the hub, of March 2025, requires."""


@pytest.fixture
def shared_run(finished_run: Callable, tmp_path: Path) -> Callable[..., Path]:
    """A finished run whose data list states what it is given."""

    def make(dimensions: int = 3, network: str = "unet", **stated: object) -> Path:
        run = finished_run(dimensions, network)
        items = [
            {"image": "a.nii.gz", "size": {"liver": 1500.0, "Kidney: left": [90.0, 120.0]}, "subject": "A", "fold": 0},
            {"image": "b.nii.gz", "size": {"liver": 1400.0, "Kidney: left": None}, "subject": "B", "fold": 1},
        ]
        labels = {"0": "background", "1": "liver", "2": "Kidney: left"}
        data_list = tmp_path / "datalist.json"
        data_list.write_text(json.dumps({"labels": labels, "size_unit": "mL", "training": items, **stated}))
        summary = json.loads((run / "summary.json").read_text())
        summary |= {"data_list": str(data_list), "size_level": "volume", "init": "random"}
        summary["calibration"] = json.loads((run / "inference.json").read_text())["calibration"]
        (run / "summary.json").write_text(json.dumps(summary))
        return run

    return make


STATED = {
    "name": "Livers of X",
    "reference": "Doe et al. 2026",
    "licence": "CC BY-SA 4.0",
    "size_source": "reports, one reader",
}


def contribute(run: Path, output: Path, dimensions: int = 3, network: str = "unet", **more: Any) -> list[str]:
    contribution = Contribution(REPOSITORY, "Jane Doe", **more)
    return list(export_for_zoo(BUNDLES / f"size_seg_{dimensions}d", output, run, contribution, network).missing)


def verified_like_the_zoo(bundle: Path, schema: Path) -> None:
    """Do as the zoo checks a bundle: large files, necessary ones, version, metadata, network, TorchScript."""
    for large in yaml.safe_load((bundle / "large_files.yml").read_text())["large_files"]:
        download_url(filepath=str(bundle / large.pop("path")), progress=False, **large)
    for file in ("configs/metadata.json", "LICENSE", "models/model.pt", "configs/inference.yaml"):
        assert (bundle / file).is_file()
    metadata, config = str(bundle / "configs" / "metadata.json"), str(bundle / "configs" / "inference.yaml")
    content = json.loads(Path(metadata).read_text())
    assert content["version"] in content["changelog"]
    assert content["schema"].endswith(schema.name)
    (bundle / "eval").mkdir()
    shutil.copy(schema, bundle / "eval" / "schema.json")
    monai.bundle.verify_metadata(meta_file=metadata, filepath=str(bundle / "eval" / "schema.json"))
    options = {"meta_file": metadata, "config_file": config, "bundle_root": str(bundle)}
    monai.bundle.verify_net_in_out("network_def", device="cpu", **options)
    monai.bundle.ckpt_export(
        "network_def", str(bundle / "models" / "model.ts"), str(bundle / "models" / "model.pt"), **options
    )


def test_both_ways_of_hosting_hold_what_the_zoo_asks_for(shared_run: Callable, schema: Path, tmp_path: Path) -> None:
    run, output = shared_run(**STATED), tmp_path / "zoo"
    assert contribute(run, output, weights_url=(run / "model.pt").as_uri()) == []

    bundle = output / "models" / NAME
    assert not (bundle / "models").exists()
    verified_like_the_zoo(bundle, schema)
    parser = ConfigParser()
    parser.read_config([bundle / "configs" / "inference.yaml"])
    assert {"bundle_root", "device", "network_def", "inferer", "output_dir"} <= set(parser.config)
    parser.read_config([bundle / "configs" / "train.yaml"])
    assert {"bundle_root", "device", "dataset_dir", "output_dir", "val_interval"} <= set(parser.config)
    for key in ("trainer#max_epochs", "dataset#data", "handlers", "preprocessing", "postprocessing", "inferer"):
        assert parser[f"train#{key}"] is not None or key == "postprocessing"
    for key in ("evaluator", "handlers", "dataset#data"):
        assert parser[f"validate#{key}"] is not None

    whole, page = output / "huggingface" / NAME, output / "hf_models" / NAME
    assert (whole / "models" / "model.pt").read_bytes() == (run / "model.pt").read_bytes()
    assert {file.name for file in page.iterdir()} == {"metadata.json", "README.md", "LICENSE"}
    metadata = json.loads((page / "metadata.json").read_text())
    assert all(metadata[key] for key in OF_A_PAGE)
    assert (metadata["schema"], metadata["huggingface_url"]) == (HUB_SCHEMA, f"https://huggingface.co/{REPOSITORY}")
    assert metadata["version"] in metadata["changelog"]
    assert metadata["authors"] == "Jane Doe"
    texts = [file.read_text() for file in output.rglob("*.*") if file.suffix in (".yaml", ".json", ".md", ".txt")]
    assert not [text for text in texts if str(tmp_path) in text]


def test_weights_are_named_by_their_place_on_the_hub_and_their_hash(shared_run: Callable, tmp_path: Path) -> None:
    run = shared_run(**STATED)
    contribute(run, tmp_path / "zoo")
    (named,) = yaml.safe_load((tmp_path / "zoo" / "models" / NAME / "large_files.yml").read_text())["large_files"]
    assert named == {
        "path": "models/model.pt",
        "url": f"https://huggingface.co/{REPOSITORY}/resolve/main/models/model.pt",
        "hash_val": hashlib.sha256((run / "model.pt").read_bytes()).hexdigest(),
        "hash_type": "sha256",
    }


def test_the_model_card_says_how_the_network_was_trained_and_what_was_not_tested(
    shared_run: Callable, tmp_path: Path
) -> None:
    contribute(shared_run(**STATED), tmp_path / "zoo")
    whole = tmp_path / "zoo" / "huggingface" / NAME
    front, card = (whole / "README.md").read_text().removeprefix("---\n").split("\n---\n", 1)
    front = yaml.safe_load(front)
    assert front["license"] == "cc-by-sa-4.0"
    assert front["library_name"] == "monai"
    assert {"monai", "medical", "liver", "kidney-left"} <= set(front["tags"])
    assert front["datasets"] == ["Livers_of_X"]
    assert card == (whole / "docs" / "README.md").read_text()
    sections = dict(re.findall(r"^## ([^\n]+)\n\n(.*?)(?=^## |\Z)", card, re.MULTILINE | re.DOTALL))
    assert "Livers of X (Doe et al. 2026)" in sections["Data"]
    assert "2 scans of 2 subjects" in sections["Data"]
    assert "(mL): 2 as numbers, 1 as lower and upper bounds, 1 unknown" in sections["Data"]
    assert "reports, one reader" in sections["Sizes"]
    assert "| scans in the training | 20 |" in sections["Training"]
    assert "| liver | 0.60 ± 0.10 | 4.00 ± 1.00 |" in sections["Performance"]
    assert "| liver | 0.89 | 0.80 | 1.30 | 8 |" in sections["Calibration of volumes"]
    assert CALIBRATION["Kidney: left"].note in sections["Calibration of volumes"]
    assert "Out of scope" in sections["Intended use"]
    assert "validation scans" in sections["Not tested"]
    assert "CC BY-SA 4.0" in sections["Licence"]
    assert "CC BY-SA 4.0" in (whole / "docs" / "data_license.txt").read_text()
    assert not re.search("ladder|hippocampus|Not stated", card, re.IGNORECASE)


def test_the_model_card_of_pictures_states_areas_in_their_unit(shared_run: Callable, tmp_path: Path) -> None:
    run = shared_run(2, **STATED)
    settings = json.loads((run / "inference.json").read_text())
    (run / "inference.json").write_text(json.dumps(settings | {"length_unit": "px", "fit_to_window": True}))
    contribute(run, tmp_path / "zoo", 2)
    card = (tmp_path / "zoo" / "huggingface" / NAME / "README.md").read_text()
    of_the_network = card.partition("## Training")[2]
    assert "HD95 (px) | area error (px)" in of_the_network
    assert "`areas.json`, which inference writes" in of_the_network
    assert "BUNDLE/configs/inference_pictures.yaml" in of_the_network
    assert not re.search(r"\bmm\b|\bmL\b|NIfTI|voxels|volumes", of_the_network)


@pytest.mark.parametrize(
    ("stated", "licence", "found"),
    [
        ({"licence": "CC BY 3.0"}, None, "cc-by-3.0"),
        ({"license": "CC0"}, None, "cc0-1.0"),
        ({"licence": "CC BY 4.0"}, "apache-2.0", "apache-2.0"),
        ({"licence": "research use"}, "cc-by-nc-4.0", "cc-by-nc-4.0"),
        ({}, "mit", "mit"),
    ],
)
def test_the_licence_of_weights_follows_from_that_of_the_scans(
    tmp_path: Path, stated: dict[str, str], licence: str | None, found: str
) -> None:
    data_list = tmp_path / "datalist.json"
    data_list.write_text(json.dumps(stated))
    assert weights_licence(data_list, licence) == found


@pytest.mark.parametrize(
    ("stated", "options", "message"),
    [
        ({}, ["--authors", "Jane"], r'found no licence .*"licence": "CC BY 4.0".* or give --license'),
        ({"licence": "not stated"}, ["--authors", "Jane"], "found the licence 'not stated'"),
        ({"licence": "CC BY-NC 4.0"}, ["--authors", "Jane", "--license", "mit"], "binds what is made from the data"),
        ({"licence": "CC0"}, ["--authors", "Jane", "--license", "gpl"], "found 'gpl', expected one of apache-2.0"),
        ({"licence": "CC0"}, [], "--authors: found none"),
        ({"licence": "CC0"}, ["--authors", "Jane", "--zoo", "liver"], "found 'liver', expected OWNER/NAME"),
        ({"licence": "CC0"}, ["--authors", "Jane", "--zoo", "me/liver_v2"], "without a version"),
    ],
)
def test_what_a_contribution_lacks_is_refused_and_nothing_is_written(
    shared_run: Callable, tmp_path: Path, stated: dict[str, str], options: list[str], message: str
) -> None:
    run, output = shared_run(**stated), tmp_path / "zoo"
    command = ["export", str(BUNDLES / "size_seg_3d"), "--run", str(run), "--output", str(output), "--zoo", REPOSITORY]
    result = CliRunner(env={"COLUMNS": "600"}).invoke(app, [*command, *options])
    assert result.exit_code == 2
    assert re.search(message, result.output)
    assert not output.exists()


def test_the_figures_of_card_and_metadata_are_those_of_the_summary(shared_run: Callable, tmp_path: Path) -> None:
    run = shared_run(**STATED)
    results = summarise(pd.read_csv(run / "metrics.csv"))
    summary = json.loads((run / "summary.json").read_text())
    (run / "summary.json").write_text(json.dumps(summary | {"results": results}))
    contribute(run, tmp_path / "zoo")
    for folder in ("huggingface", "models"):
        bundle = tmp_path / "zoo" / folder / NAME
        metadata = json.loads((bundle / "configs" / "metadata.json").read_text())
        assert metadata["eval_metrics"] == {f"mean_{name}": metric["mean"] for name, metric in results.items()}
        card = (bundle / "docs" / "README.md").read_text()
        for structure in ("liver", "Kidney: left"):
            of_one = [metric["structures"][structure] for metric in results.values()]
            told = ["–" if m["mean"] is None else f"{m['mean']:.2f} ± {m['std']:.2f}" for m in of_one]
            assert f"| {structure} | {' | '.join(told)} |" in card


def test_a_folder_in_use_is_left_as_it_is(shared_run: Callable, tmp_path: Path) -> None:
    run, output = shared_run(**STATED), tmp_path / "zoo"
    output.mkdir()
    (output / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"zoo is not empty\. Name a new folder\."):
        contribute(run, output)
    assert [file.name for file in output.iterdir()] == ["notes.txt"]
    with pytest.raises(ValueError, match=r"notes\.txt: found a file, expected a folder"):
        contribute(run, output / "notes.txt")
    (output / "notes.txt").unlink()
    assert contribute(run, output) == []  # an empty one is taken


def test_the_command_says_how_to_go_on(shared_run: Callable, tmp_path: Path) -> None:
    run, output = shared_run(licence="CC0", size_source=f"sizes.csv; {NOT_MEASURED_BY}"), tmp_path / "zoo"
    options = ["--run", str(run), "--output", str(output), "--zoo", REPOSITORY, "--authors", "Jane Doe"]
    result = CliRunner().invoke(app, ["export", str(BUNDLES / "size_seg_3d"), *options])
    assert result.exit_code == 0, result.output
    assert f"hf upload {REPOSITORY} {output / 'huggingface' / NAME}" in result.output
    assert "who measured the sizes, and how" in result.output
    card = (output / "hf_models" / NAME / "README.md").read_text()
    assert card.count("Not stated") == 1
    assert "- Source: sizes.csv; who measured the sizes, and how, is not stated" in card
    assert yaml.safe_load(card.split("---\n")[1])["license"] == "cc0-1.0"


@pytest.mark.slow
@pytest.mark.parametrize("dimensions", WINDOWS)
@pytest.mark.parametrize("network", ["unet", "segresnet"])
def test_the_zoos_checks_pass_for_every_network(
    shared_run: Callable, schema: Path, tmp_path: Path, dimensions: int, network: str
) -> None:
    run = shared_run(dimensions, network, **STATED)
    contribute(run, tmp_path / "zoo", dimensions, network, weights_url=(run / "model.pt").as_uri())
    verified_like_the_zoo(tmp_path / "zoo" / "models" / NAME, schema)
