"""Bundles, run as their users run them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest
import torch
from monai.bundle import ConfigParser

from medsize.bundle.run.command import as_options
from medsize.bundle.sharing.export import OVERLAYS
from medsize.metrics import SizeCalibration
from tests.conftest import BUNDLE_2D, BUNDLE_3D, FEW_WORDS, PROJECT

SMALL = ["--spacing", "[6.0,6.0]", "--roi_size", "[32,32]", "--max_epochs", "2", "--val_interval", "1"]


@dataclass(frozen=True)
class Variant:
    """A bundle with one of its networks, and a geometry in which a phantom fits into one window."""

    name: str
    bundle: Path
    overlays: tuple[str, ...]
    spacing: tuple[float, ...]
    roi_size: tuple[int, ...]

    def configs(self, first: str, *others: str) -> list[str]:
        """Paths of configs, the network's overlay behind the first."""
        return [str(self.bundle / "configs" / name) for name in (first, *self.overlays, *others)]

    def ship(self, folder: Path) -> Variant:
        """The bundle as a zoo hands it out: a folder of its own, with weights, here random ones for phantoms."""
        parser = ConfigParser()
        parser.read_config(self.configs("inference.yaml"))
        parser["num_classes"] = 4
        copy = shutil.copytree(self.bundle, folder / self.bundle.name)
        (copy / "models").mkdir(exist_ok=True)
        torch.save(parser.get_parsed_content("network_def").state_dict(), copy / "models" / "model.pt")
        return Variant(self.name, copy, self.overlays, self.spacing, self.roi_size)


GEOMETRY_2D, GEOMETRY_3D = ((6.0, 6.0), (32, 32)), ((6.0, 6.0, 16.0), (32, 32, 8))
UNET_2D = Variant("2D UNet", BUNDLE_2D, (), *GEOMETRY_2D)
UNET_3D = Variant("3D UNet", BUNDLE_3D, (), *GEOMETRY_3D)
VARIANTS = (
    UNET_2D,
    Variant("2D SegResNet", BUNDLE_2D, ("segresnet.yaml",), *GEOMETRY_2D),
    UNET_3D,
    Variant("3D SegResNet", BUNDLE_3D, ("segresnet.yaml",), *GEOMETRY_3D),
)
every_variant = pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
every_bundle = pytest.mark.parametrize("bundle", [BUNDLE_2D, BUNDLE_3D], ids=lambda bundle: bundle.name)


@pytest.fixture
def own_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    """A workflow puts its bundle on the search path; scripts of another bundle, or the next test, must not meet it."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in [name for name in sys.modules if name.split(".")[0] == "scripts"]:
        monkeypatch.delitem(sys.modules, name)


@pytest.fixture(scope="session")
def schema(real_scans: Path) -> Path:
    """The model zoo's schema of metadata.json, which lies beside the folder of real scans."""
    file = real_scans.parent / "schema" / "meta_schema_20240725.json"
    if not file.is_file():
        pytest.skip(f"no schema at {file}")
    return file


@pytest.fixture(scope="session")
def run_bundle(
    command: Callable, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., subprocess.CompletedProcess]:
    """``monai.bundle run`` of the 2D bundle with some of its configs, from a foreign folder."""
    first_labels = tmp_path_factory.mktemp("first_labels")  # runs from equal sizes share them, to save time

    def shares(configs: list[str | Path], options: tuple[object, ...]) -> bool:
        return "train.yaml" in configs and "--first_labels_dir" not in options

    def run(configs: list[str | Path], *options: object, cwd: Path, check: bool = True) -> subprocess.CompletedProcess:
        files = [str(BUNDLE_2D / "configs" / config) if isinstance(config, str) else str(config) for config in configs]
        return command(
            "monai.bundle",
            "run",
            "--bundle_root",
            BUNDLE_2D,
            "--config_file",
            files,
            *(["--first_labels_dir", first_labels, *as_options(FEW_WORDS)] if shares(configs, options) else []),
            *options,
            cwd=cwd,
            check=check,
        )

    return run


@pytest.fixture(scope="session")
def trained(run_bundle: Callable, phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Output folder of a short run from sizes, cropped to the roi; ``monai.bundle run training`` made it."""
    folder = tmp_path_factory.mktemp("trained")
    output = folder / "run"
    run_bundle(
        ["train.yaml"],
        "--run_id",
        "training",
        "--dataset_dir",
        phantoms,
        "--output_dir",
        output,
        "--use_roi",
        "True",
        *SMALL,
        cwd=folder,
    )
    return output


BUNDLES = PROJECT / "bundles"
WINDOWS = {2: ([6.0, 6.0], [32, 32]), 3: ([6.0, 6.0, 16.0], [32, 32, 8])}
CALIBRATION = {
    "liver": SizeCalibration(0.8, 1.3, 0.5, 0.888889, 8, 9, "8 subjects allow 88 %, not 90 %"),
    "Kidney: left": SizeCalibration(subjects=1, scans=2, note="one subject allows no interval"),
}
STRIDES = {2: [[2, 2]] * 4, 3: [[2, 2, 1], [2, 2, 2], [2, 2, 2]]}


@pytest.fixture
def finished_run(tmp_path: Path) -> Callable[..., Path]:
    """Output folder as a run leaves it, with untrained weights of a network of a bundle."""

    def make(dimensions: int, network: str, **more: object) -> Path:
        run = tmp_path / "run"
        run.mkdir()
        spacing, roi_size = WINDOWS[dimensions]
        settings = {"structures": ["liver", "Kidney: left"], "num_classes": 3, "in_channels": 1}
        settings["calibration"] = {name: asdict(of_structure) for name, of_structure in CALIBRATION.items()}
        settings |= {"spacing": spacing, "roi_size": roi_size, "checkpoint": "elsewhere/model.pt"}
        configs = BUNDLES / f"size_seg_{dimensions}d" / "configs"
        parser = ConfigParser()
        overlay = OVERLAYS.get(network, f"{network}.yaml")
        parser.read_config([configs / "train.yaml"] + ([configs / overlay] if network != "unet" else []))
        settings |= ({"strides": STRIDES[dimensions]} if network == "unet" else {}) | more
        (run / "inference.json").write_text(json.dumps(settings))
        parser.update(settings)
        torch.save(parser.get_parsed_content("network_def").state_dict(), run / "model.pt")
        figure = {"mean": 0.5}
        results = dict.fromkeys(("dice", "hd95_mm", "volume_error_ml", "relative_size_error"), figure)
        facts = {"training_scans": 20, "supervision": "size", "seed": 7, "epochs": 30, "results": results}
        (run / "summary.json").write_text(json.dumps(facts))
        (run / "metrics.csv").write_text(
            "image,subject,structure,dice,hd95_mm,volume_error_ml,relative_size_error\n"
            "a,A,liver,0.5,3,10,0.1\nb,B,liver,0.7,5,20,0.3\na,A,Kidney: left,0.2,,1,\nb,B,Kidney: left,0.4,,1,\n"
        )
        return run

    return make
