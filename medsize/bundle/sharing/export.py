"""Export of a bundle and its run in the layout of the model zoo."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from monai.bundle import ConfigParser

import medsize
from medsize.bundle.config_text import ORIGIN, merged, overlaid
from medsize.bundle.parts import OF_SCRIPTS, read_object, read_weights
from medsize.bundle.run.folder import INFERENCE, METRICS, SUMMARY, WEIGHTS, check_finished
from medsize.bundle.run.inference_settings import inference_settings
from medsize.bundle.run.summary import RunResults, RunSummary
from medsize.bundle.sharing.card_sections import (
    card_of_merged_configs,
    stated_metrics,
    write_card_of_run,
)
from medsize.bundle.zoo_bundle import window_divisors
from medsize.files import OutputError
from medsize.networks.weights import misfit

__all__ = [
    "DEFAULT_NETWORK",
    "OVERLAYS",
    "check_empty",
    "export_bundle",
    "whole_folder",
]

DEFAULT_NETWORK = "unet"
OVERLAYS = {"lean_unet": "imagenet.yaml"}
"""Overlays that hold more than the network they are for. An export keeps them, as recipes name them."""
RUN_FILES = (WEIGHTS, INFERENCE, SUMMARY, METRICS)
WINDOW = ("spacing", "roi_size", "strides", "intensity_window", "fit_to_window")
PREPROCESSING = ("orientation", "intensity_transforms")
SETTINGS = ("structures", "num_classes", "in_channels", "calibration", "length_unit", *WINDOW, *PREPROCESSING)
COPIES = {own: copy for copy, own in OF_SCRIPTS.items()}
"""Copies of medsize's networks in the scripts of a bundle."""
ENSEMBLE = "scripts.ensemble."
"""Beginning of the network's target in runs that join several."""
NOT_OF_THE_BUNDLE = shutil.ignore_patterns("runs", "models", "__pycache__")
NOT_FOR_TRAINING = shutil.ignore_patterns(
    *("cli", "__main__.py", "__pycache__", "bundles", "cohort", "fit", "inference", "studies"),
    *("sharing", "zoo_bundle.py"),
)
COLOURS = {"0": "R", "1": "G", "2": "B"}
"""Order of the channels of pictures in colour, for the metadata."""
NEEDED = (*(f"configs/{name}" for name in ("train.yaml", "inference.yaml", "metadata.json")), "docs/README.md")
KEPT_DOCS = ("README.md", "data_license.txt")
UNSTATED = """\
The licence of the scans that the weights in models/model.pt were trained on is not stated yet: state it here.
No data is part of this bundle.
"""
"""First paragraph of an export's data_license.txt."""


def export_bundle(
    bundle: Path,
    output_dir: Path,
    run: Path | None = None,
    network: str | None = None,
    vendor: bool = False,
    image_type: str | None = None,
) -> None:
    """
    Write a self-contained bundle: a network's overlay merged, and the weights, window, classes and metrics of a run.

    Args:
        bundle: folder of a bundle of medsize.
        output_dir: folder to write to; new or empty.
        run: output folder of a run of the bundle with that network: ``model.pt``, ``inference.json``, ``summary.json``
            and ``metrics.csv`` are read. Default: the bundle's own weights, if it has any, and settings.
        network: ``"unet"``, ``"lean_unet"``, or an overlay in the bundle's ``configs`` with nothing but another network
            of MONAI. Default: that of the run, else ``"unet"``.
        vendor: also copy the code of medsize that training needs, to ``scripts/medsize``. Defaults to False.
        image_type: type of the images for the metadata, such as ``natural``, ``ultrasound``, ``CT``. Default: any.

    Raises:
        ValueError: naming a file that is missing, or does not fit the network.
    """
    configs = bundle / "configs"
    for name in NEEDED:
        if not (bundle / name).is_file():
            raise ValueError(f"{bundle} is not a bundle of medsize: there is no {name} in it.")
    check_empty(output_dir)
    networks = _networks(configs)
    if network not in (None, *networks):
        raise ValueError(f"{configs} has no network '{network}'; there are: {', '.join(networks)}.")
    settings = {} if run is None else _settings(run, configs)
    if run is not None:
        summary, cases = RunSummary.read(run), _cases(run / METRICS)
    definition = settings.get("network_def")
    if definition in networks.values():
        del settings["network_def"]
    network = network or next((name for name, known in networks.items() if known == definition), DEFAULT_NETWORK)
    overlay = None if network == DEFAULT_NETWORK else configs / OVERLAYS.get(network, f"{network}.yaml")
    train, inference = ((configs / name).read_text() for name in ("train.yaml", "inference.yaml"))
    if overlay is not None:
        train = overlaid(train, overlay.read_text())
        inference = merged(inference, {"network_def": networks[network]})
    shared = (*WINDOW, *PREPROCESSING, *(() if _joins_several(settings) else ("network_def",)))
    train = merged(train, {key: settings[key] for key in shared if key in settings})
    inference = merged(inference, settings)
    weights = (bundle / "models" if run is None else run) / WEIGHTS
    if weights.is_file():
        _check_weights(weights, inference, network, bundle)

    with whole_folder(output_dir) as folder:
        shutil.copytree(bundle, folder, ignore=NOT_OF_THE_BUNDLE, dirs_exist_ok=True)
        (folder / "configs" / "inference.yaml").write_text(inference)
        (folder / "configs" / "train.yaml").write_text(train)
        for file in folder.rglob("*.*"):  # it has no sources of its own
            if file.suffix in (".yaml", ".conf", ".py") and (text := file.read_text()).startswith(ORIGIN):
                file.write_text(text.split("\n", 1)[1])
        merged_overlay = None if overlay is None or network in OVERLAYS else overlay.name
        if merged_overlay is not None:
            (folder / "configs" / merged_overlay).unlink()
        card = folder / "docs" / "README.md"
        merged_keys = yaml.safe_load(train), yaml.safe_load(inference)
        card.write_text(card_of_merged_configs(card.read_text(), merged_overlay, *merged_keys))
        if weights.is_file():
            (folder / "models").mkdir()
            shutil.copy(weights, folder / "models")
        if run is not None:
            divisors = _divisors(merged_keys[1])
            _write_metadata(folder / "configs" / "metadata.json", settings, summary.results, image_type, divisors)
            write_card_of_run(card, settings, summary, cases)
            _write_data_license(folder / "docs" / "data_license.txt")
            for study in (folder / "docs").iterdir():  # of other weights
                if study.name not in KEPT_DOCS:
                    study.unlink()
        if vendor:
            shutil.copytree(Path(medsize.__file__).parent, folder / "scripts" / "medsize", ignore=NOT_FOR_TRAINING)


def check_empty(folder: Path) -> None:
    """
    Refuse a folder that holds anything, and a file.

    Args:
        folder: folder to write to.

    Raises:
        ValueError: naming it.
    """
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder}: found a file, expected a folder to write to. Name a new one.")
    if folder.exists() and any(folder.iterdir()):
        raise ValueError(f"{folder} is not empty. Name a new folder.")


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """
    Yield a folder beside another, which it replaces when it is complete.

    Args:
        folder: the other, new or empty.
    """
    folder = folder.absolute()
    partial = folder.with_name(f".partial_{folder.name}")
    shutil.rmtree(partial, ignore_errors=True)  # of a killed export
    partial.mkdir(parents=True)
    try:
        yield partial
        os.replace(partial, folder)
    except shutil.Error as e:  # of several files, each with its path and its copy
        shutil.rmtree(partial, ignore_errors=True)
        raise OutputError(folder, str(e.args[0][0][2])) from e
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _networks(configs: Path) -> dict[str, dict[str, Any]]:
    """Return the definitions of the bundle's networks by name, as its inference has them."""
    overlays = {file.name: read_object(file) for file in sorted(configs.glob("*.yaml"))}
    found = {DEFAULT_NETWORK: overlays["train.yaml"]["network_def"]}
    found |= {Path(file).stem: keys["network_def"] for file, keys in overlays.items() if set(keys) == {"network_def"}}
    found |= {name: overlays[file]["network_def"] for name, file in OVERLAYS.items() if file in overlays}
    return {name: _of_scripts(definition) for name, definition in found.items()}


def _of_scripts(definition: Mapping[str, Any]) -> dict[str, Any]:
    """Return a network's definition with the bundle's scripts in place of medsize."""
    target = str(definition.get("_target_", ""))
    own = {**definition, "_target_": COPIES.get(target, target)}
    return own | ({"networks": [_of_scripts(one) for one in own["networks"]]} if target.startswith(ENSEMBLE) else {})


def _joins_several(settings: Mapping[str, Any]) -> bool:
    return str(settings.get("network_def", {}).get("_target_", "")).startswith(ENSEMBLE)


def _settings(run: Path, configs: Path) -> dict[str, Any]:
    """Return the settings that inference shares with the run."""
    check_finished(run, RUN_FILES)
    settings = inference_settings(run)
    axes = len(read_object(configs / "inference.yaml")["roi_size"])
    if len(settings["roi_size"]) != axes:
        raise ValueError(
            f"{run}: found the window {settings['roi_size']}, expected one of {axes} axes, as {configs.parent} has. "
            "Name the bundle of the run."
        )
    if "network_def" in settings:
        settings["network_def"] = _of_scripts(settings["network_def"])
        target = str(settings["network_def"].get("_target_", ""))
        if target.startswith("medsize."):
            raise ValueError(
                f"{run} trained a {target}, which a bundle without medsize cannot hold: let it teach a network of "
                "MONAI, by the overlay teacher.yaml, and export that."
            )
    return {key: settings[key] for key in (*SETTINGS, "network_def") if key in settings}


def _cases(file: Path) -> pd.DataFrame:
    """Return the metrics of a run's validation scans."""
    needed = {"image", "subject", "structure", *(metric.column for metric in stated_metrics({}))}
    try:
        cases = pd.read_csv(file)
    except ValueError as e:
        raise ValueError(f"{file}: found no table ({e}), expected the metrics of the validation. Copy it again.") from e
    if missing := sorted(needed - {*cases.columns}):
        raise ValueError(
            f"{file}: found no column {missing[0]}, expected the metrics of the validation. Copy it again."
        )
    return cases


def _check_weights(file: Path, inference: str, network: str, bundle: Path) -> None:
    weights = read_weights(file)
    sys.path.insert(1, str(bundle.resolve()))  # for scripts
    if why := misfit(ConfigParser(yaml.safe_load(inference)).get_parsed_content("network_def"), weights):
        raise ValueError(f"{file} does not fit the bundle's network '{network}': {why}. Name its network: --network.")


def _divisors(inference: Mapping[str, Any]) -> list[int]:
    """Return what the sides of the network's window are multiples of, from the keys of an inference.yaml."""
    definition = inference["network_def"]
    definition = definition["networks"][0] if _joins_several(inference) else definition
    strides = {"strides": inference["strides"]} if definition.get("strides") == "@strides" else {}
    return window_divisors({**definition, "spatial_dims": len(inference["roi_size"]), **strides})


def _write_metadata(
    file: Path, settings: Mapping[str, Any], results: RunResults, image_type: str | None, divisors: Sequence[int]
) -> None:
    metadata = read_object(file)
    classes = ["background", *settings["structures"]]
    image = metadata["network_data_format"]["inputs"]["image"]
    output = metadata["network_data_format"]["outputs"]["pred"]
    image["spatial_shape"] = output["spatial_shape"] = [f"{divisor}*(n+1)" for divisor in divisors]
    image["modality"] = image_type or image["modality"]
    image["num_channels"] = settings.get("in_channels", image["num_channels"])
    in_colour = image["num_channels"] == len(COLOURS)
    if in_colour:
        image |= {"format": "RGB", "channel_def": COLOURS}
        metadata["data_type"] = "RGB"
    if in_colour or settings.get("length_unit") == "px":
        channels = "red, green and blue" if in_colour else "single channel"
        kind = image_type or "any modality"
        metadata["image_classes"] = f"pictures, {channels}, {kind}, intensities scaled to [0, 1] by their percentiles"
        metadata["label_classes"] = "no masks are needed; areas of the structures, or fractions of the picture"
        metadata["required_packages_version"]["pillow"] = version("pillow")
    output["num_channels"] = len(classes)
    output["channel_def"] = {str(index): name for index, name in enumerate(classes)}
    metadata |= {"authors": "not stated", "data_source": "not stated, see docs/data_license.txt"}
    metadata["pred_classes"] = f"{len(classes)} channels: {', '.join(classes)}"
    means = [(metric, getattr(results, metric.column).mean) for metric in stated_metrics(settings)]
    metadata["eval_metrics"] = {f"mean_{m.name}": mean * m.factor for m, mean in means if mean is not None}
    file.write_text(json.dumps(metadata, indent=4) + "\n")


def _write_data_license(file: Path) -> None:
    """Replace the paragraph on the bundle's own weights."""
    _, others = file.read_text().split("\n\n", 1)
    file.write_text(f"{UNSTATED}\n{others}")
