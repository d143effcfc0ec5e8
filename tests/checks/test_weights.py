"""Weights of another network are refused before the start, with the file and what differs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from monai.bundle import ConfigParser
from monai.networks.nets import UNet

from medsize.bundle.run.settings import RunSettings
from medsize.checks import RunRefused, check_bundle
from medsize.checks.weights import weights_findings
from tests.checks.test_bundle_check import SMALL
from tests.conftest import BUNDLE_2D

UNET = {"_target_": "UNet", "spatial_dims": 2, "in_channels": 1, "channels": [4, 8], "strides": [2]}


def saved(run: Path, classes: int, name: str = "model.pt") -> Path:
    """Weights of a small UNet, in the folder of its run."""
    run.mkdir(exist_ok=True)
    network = UNet(2, 1, classes, channels=(4, 8), strides=(2,))
    torch.save(network.state_dict() if name == "model.pt" else {"network": network.state_dict()}, run / name)
    structures = [f"organ {number}" for number in range(1, classes)]
    (run / "inference.json").write_text(json.dumps({"network_def": UNET, "structures": structures}))
    return run / name


def found(classes: int, **settings: object) -> list[str]:
    parser = ConfigParser({"network_def": UNET | {"out_channels": classes}})
    findings = [str(finding.text) for finding in weights_findings(parser, RunSettings.model_validate(settings))]
    assert "network_def" not in parser.ref_resolver.resolved_content  # it is built anew, after the seed is set
    return findings


def test_weights_of_the_same_network_pass(tmp_path: Path) -> None:
    assert found(3) == []
    assert found(3, checkpoint=saved(tmp_path / "run", 3)) == []
    assert found(3, init="checkpoint", checkpoint=saved(tmp_path / "run", 5)) == []  # its last layer starts anew
    saved(tmp_path / "run", 3, "checkpoint.pt")
    assert found(3, resume=True, output_dir=tmp_path / "run") == []


def test_other_classes_are_told_with_the_shapes_that_differ(tmp_path: Path) -> None:
    (told,) = found(3, checkpoint=saved(tmp_path / "run", 4))
    assert told.startswith(
        "found the weights of a UNet for organ 1, organ 2, organ 3, expected those of the UNet in net"
    )
    assert "has the shape [4], expected [3]. Name another file, or add the overlay of their network." in told
    saved(tmp_path / "run", 4, "checkpoint.pt")
    assert found(3, resume=True, output_dir=tmp_path / "run") == [told]


def test_another_network_and_a_broken_file_are_told(tmp_path: Path) -> None:
    torch.save({"layer.weight": torch.zeros(2)}, tmp_path / "other.pt")
    for init in ("checkpoint", "random"):
        (told,) = found(3, init=init, checkpoint=tmp_path / "other.pt")
        assert told.startswith("found the weights of another network, expected those of the UNet in network_def: ")
        assert "tensors are missing, such as 'model.0.conv.weight'. Name another file" in told
    (tmp_path / "other.pt").write_bytes(b"PK")
    (told,) = found(3, init="checkpoint", checkpoint=tmp_path / "other.pt")
    assert told == "found no weights that torch can read. Is the file complete? Copy it again from where it was made."


def test_a_teacher_of_another_network_stops_the_check_of_a_bundle(phantoms: Path, tmp_path: Path) -> None:
    options = {"dataset_dir": str(phantoms), "output_dir": str(tmp_path / "student"), **SMALL[BUNDLE_2D]}
    teacher = saved(tmp_path / "run", 4)
    with pytest.raises(RunRefused) as refused:
        check_bundle(BUNDLE_2D, ["train.yaml", "teacher.yaml"], teacher_checkpoint=str(teacher), **options)
    assert f"{teacher}: 1 problem" in str(refused.value)
    assert "expected those of the LeanUNet in teacher_def" in str(refused.value)
    assert "state its network there" in str(refused.value)
