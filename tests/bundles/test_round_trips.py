"""
MONAI's own commands on both bundles, with either network, from a foreign folder.

Each case runs in this process; one of them also as the real command, where medsize cannot be imported. The others as
real commands, and real training, run by ``make test-slow``.
"""

from __future__ import annotations

import shutil
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import monai.bundle
import nibabel
import numpy as np
import onnxruntime
import pandas as pd
import pytest
import torch
from monai.bundle import ConfigParser, create_workflow

from medsize.data import PHANTOM_CLASSES
from tests.bundles.conftest import UNET_2D, UNET_3D, VARIANTS, Variant, every_bundle, every_variant


def matrix(real: Variant) -> pytest.MarkDecorator:
    """Every variant in this process; as real commands ``real`` and, where the full matrix is asked for, the others."""
    cases = [pytest.param(variant, False, id=variant.name) for variant in VARIANTS]
    for variant in VARIANTS:
        marks = [] if variant is real else [pytest.mark.slow]
        cases.append(pytest.param(variant, True, id=f"{variant.name}, real command", marks=marks))
    return pytest.mark.parametrize(("variant", "as_command"), cases)


@pytest.fixture
def monai_bundle(
    as_command: bool,
    command: Callable,
    no_medsize: Path,
    own_modules: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., None]:
    """One of the commands of ``monai.bundle``, from a foreign folder: the real one, or its function."""

    def call(name: str, **arguments: Any) -> None:
        if as_command:
            options = [part for key, value in arguments.items() for part in (f"--{key}", value)]
            command("monai.bundle", name, *options, cwd=tmp_path, python_path=no_medsize)
        else:
            monkeypatch.chdir(tmp_path)
            getattr(monai.bundle, name)(**arguments)

    return call


def phantom_options(variant: Variant) -> dict[str, Any]:
    return {
        "logging_file": False,
        "spacing": list(variant.spacing),
        "roi_size": list(variant.roi_size),
        "num_classes": len(PHANTOM_CLASSES),
        "structures": list(PHANTOM_CLASSES[1:]),
    }


def network_of(variant: Variant) -> torch.nn.Module:
    parser = ConfigParser()
    parser.read_config(variant.configs("inference.yaml"))
    parser["num_classes"] = len(PHANTOM_CLASSES)
    network: torch.nn.Module = parser.get_parsed_content("network_def").eval()
    network.load_state_dict(torch.load(variant.bundle / "models" / "model.pt", weights_only=True))
    return network


def export_options(variant: Variant) -> dict[str, Any]:
    return {
        "net_id": "network_def",
        "ckpt_file": str(variant.bundle / "models" / "model.pt"),
        "meta_file": str(variant.bundle / "configs" / "metadata.json"),
        "config_file": variant.configs("inference.yaml"),
        "num_classes": len(PHANTOM_CLASSES),
    }


@every_bundle
def test_an_empty_folder_is_refused_where_medsize_is_not_installed(
    command: Callable, no_medsize: Path, bundle: Path, tmp_path: Path
) -> None:
    (tmp_path / "scans").mkdir()
    (tmp_path / "scans" / "scan.dcm").touch()
    options = [
        "--bundle_root",
        bundle,
        "--config_file",
        bundle / "configs" / "inference.yaml",
        "--dataset_dir",
        "scans",
    ]
    told = command("monai.bundle", "run", *options, cwd=tmp_path, python_path=no_medsize, check=False)
    assert told.returncode == 1
    assert "scans: found no file like *.nii*, expected scans to segment. Correct dataset_dir" in told.stderr
    assert "Traceback" not in told.stderr
    assert not (tmp_path / "segmentations").exists()


def test_real_commands_cannot_import_medsize(command: Callable, no_medsize: Path, tmp_path: Path) -> None:
    result = command("medsize", cwd=tmp_path, check=False, python_path=no_medsize)
    assert "medsize must not be imported" in result.stderr


@matrix(real=UNET_3D)
def test_inference_of_a_shipped_bundle_finds_what_evaluation_finds(
    monai_bundle: Callable, variant: Variant, phantoms: Path, tmp_path: Path
) -> None:
    shipped = variant.ship(tmp_path)
    monai_bundle(
        "run",
        config_file=[str(Path(config).relative_to(tmp_path)) for config in shipped.configs("inference.yaml")],
        bundle_root=shipped.bundle.name,
        dataset_dir=str(phantoms / "images"),
        output_dir="segmentations",
        **{"postprocessing#transforms#4#output_postfix": "organs"},
        **phantom_options(shipped),
    )
    volumes = pd.read_csv(tmp_path / "segmentations" / "volumes.csv").set_index("image")
    assert list(volumes.columns) == ["liver (mL)", "kidney (mL)", "lesion (mL)", "cut off"]
    assert len(volumes) == 9
    for file in volumes.index:
        scan = nibabel.load(file)
        mask = nibabel.load(tmp_path / "segmentations" / Path(file).name.replace(".nii.gz", "_organs.nii.gz"))
        assert mask.shape == scan.shape
        np.testing.assert_allclose(mask.affine, scan.affine, atol=1e-5)

    evaluation = create_workflow(
        config_file=variant.configs("train.yaml", "evaluate.yaml"),
        workflow_type="evaluation",
        logging_file=False,
        bundle_root=str(variant.bundle),
        dataset_dir=str(phantoms),
        output_dir=str(tmp_path),
        checkpoint=str(shipped.bundle / "models" / "model.pt"),
        spacing=list(variant.spacing),
        roi_size=list(variant.roi_size),
    )
    evaluation.run()
    found = pd.read_csv(tmp_path / "evaluation" / "metrics.csv")
    assert len(found) == 9
    assert found["volume_ml"].sum() > 0
    for row in found.itertuples():
        # Sliding windows and batches round otherwise, so single voxels at an edge may differ.
        assert volumes.loc[row.image, f"{row.structure} (mL)"] == pytest.approx(row.volume_ml, rel=1e-3)


@pytest.mark.parametrize(("variant", "as_command"), [(UNET_2D, False), (UNET_3D, True)], ids=["2D", "3D, real command"])
def test_metadata_follows_the_schema(monai_bundle: Callable, variant: Variant, schema: Path, tmp_path: Path) -> None:
    local = shutil.copy(schema, tmp_path / "schema.json")  # where it lies already, MONAI does not download it
    monai_bundle("verify_metadata", meta_file=str(variant.bundle / "configs" / "metadata.json"), filepath=str(local))


@matrix(real=UNET_3D)
def test_network_takes_and_gives_what_the_metadata_says(monai_bundle: Callable, variant: Variant) -> None:
    monai_bundle(
        "verify_net_in_out",
        net_id="network_def",
        meta_file=str(variant.bundle / "configs" / "metadata.json"),
        config_file=variant.configs("inference.yaml"),
    )


@matrix(real=UNET_2D)
def test_torchscript_computes_what_the_network_computes(
    monai_bundle: Callable, variant: Variant, tmp_path: Path
) -> None:
    shipped = variant.ship(tmp_path)
    monai_bundle("ckpt_export", filepath="model.ts", **export_options(shipped))
    image = torch.rand(2, 1, *variant.roi_size)
    with torch.no_grad():
        torch.testing.assert_close(torch.jit.load(tmp_path / "model.ts")(image), network_of(shipped)(image))


@matrix(real=UNET_2D)
def test_onnx_computes_what_the_network_computes(monai_bundle: Callable, variant: Variant, tmp_path: Path) -> None:
    shipped = variant.ship(tmp_path)
    image = torch.rand(2, 1, *variant.roi_size)
    monai_bundle("onnx_export", filepath="model.onnx", input_shape=list(image.shape), **export_options(shipped))
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"])
    (output,) = session.run(None, {session.get_inputs()[0].name: image.numpy()})
    with torch.no_grad():
        torch.testing.assert_close(torch.from_numpy(output), network_of(shipped)(image), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("variant", [UNET_2D, UNET_3D], ids=lambda variant: variant.name)
def test_tensorrt_overlay_runs_an_exported_network_without_a_checkpoint(
    own_modules: None, variant: Variant, phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # TorchScript stands in for the engine, which needs an NVIDIA GPU; torch_tensorrt only has to be importable.
    monkeypatch.setitem(sys.modules, "torch_tensorrt", types.ModuleType("torch_tensorrt"))
    shipped = variant.ship(tmp_path)
    monai.bundle.ckpt_export(filepath=str(shipped.bundle / "models" / "model_trt.ts"), **export_options(shipped))
    options = {"bundle_root": str(shipped.bundle), "dataset_dir": str(phantoms / "images"), **phantom_options(shipped)}
    network, engine = tmp_path / "network", tmp_path / "engine"
    monai.bundle.run(config_file=shipped.configs("inference.yaml"), output_dir=str(network), **options)
    (shipped.bundle / "models" / "model.pt").unlink()
    files = shipped.configs("inference.yaml", "inference_trt.yaml")
    monai.bundle.run(config_file=files, output_dir=str(engine), **options)
    first, second = (pd.read_csv(folder / "volumes.csv") for folder in (network, engine))
    assert first["liver (mL)"].sum() > 0
    pd.testing.assert_frame_equal(first, second)


@pytest.mark.slow
@every_variant
def test_training_by_real_commands_is_evaluated_and_segments(
    command: Callable, no_medsize: Path, variant: Variant, phantoms: Path, tmp_path: Path
) -> None:
    geometry = ["--spacing", list(variant.spacing), "--roi_size", list(variant.roi_size)]
    run = ["monai.bundle", "run", "--bundle_root", variant.bundle]
    common = ["--dataset_dir", phantoms, "--output_dir", tmp_path / "run", *geometry]
    command(*run, "--config_file", variant.configs("train.yaml"), *common, "--max_epochs", 1, cwd=tmp_path)
    command(*run, "--config_file", variant.configs("train.yaml", "evaluate.yaml"), *common, cwd=tmp_path)
    first, second = (pd.read_csv(tmp_path / "run" / part / "metrics.csv") for part in (".", "evaluation"))
    pd.testing.assert_frame_equal(first, second)
    files = [str(variant.bundle / "configs" / "inference.yaml"), str(tmp_path / "run" / "inference.json")]
    options = ["--dataset_dir", phantoms / "images", "--output_dir", tmp_path / "segmentations"]
    command(*run, "--config_file", files, *options, cwd=tmp_path, python_path=no_medsize)
    assert len(pd.read_csv(tmp_path / "segmentations" / "volumes.csv")) == 9
