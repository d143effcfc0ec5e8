"""Training steps of the bundles on the device: mixed precision, memory format, compilation, going on, memory."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from ignite.engine import Events
from monai.bundle import ConfigParser

from benchmarks.gpu import peak_bytes_of
from benchmarks.whole_volume import trainer_of
from medsize.engines import compile_network
from medsize.losses import CompositeLoss
from tests.conftest import PROJECT
from tests.engines.test_two_pass_trainer import batch_of, gradients, network_of, relative_error

GEOMETRY = {2: ((6.0, 6.0), (32, 32)), 3: ((6.0, 6.0, 16.0), (32, 32, 8))}
LARGEST_ERROR = {torch.bfloat16: 0.5, torch.float16: 0.1}
"""Relative error of a gradient. With bfloat16 it is 0.33 for the 2D UNet, whose lowest level has few voxels here."""
EPOCHS = 4
"""Epochs of one step. Float16 skips steps until the scale of its gradients fits."""
ONE_PASS_BYTES = 1000
"""Most bytes for each voxel of a training step of a small 3D UNet in float32; on a CPU it takes 301."""
TWO_PASS_SHARE = 0.6
"""Largest part of that which two passes over eight patches take."""


class Steps(NamedTuple):
    """Facts about the steps of a training."""

    losses: list[float]
    gradients: dict[int, torch.Tensor]
    """By the number of the step, those that the optimizer took."""
    network: torch.nn.Module


@pytest.fixture
def train(device: torch.device, phantoms: Path, tmp_path: Path) -> Callable[..., Steps]:
    """Some steps of a bundle's own trainer, at a learning rate of 0."""

    def train(dimensions: int, *overlays: str, **keys: Any) -> Steps:
        parser = parser_of(dimensions, overlays, phantoms, tmp_path / "run", device, learning_rate=0.0, **keys)
        torch.manual_seed(0)
        network = parser.get_parsed_content("network")
        losses, taken = [], {}
        trainer = parser.get_parsed_content("train#trainer")
        parser.get_parsed_content("train#optimizer").register_step_pre_hook(
            lambda *_: taken.update({trainer.state.iteration: gradients(network).cpu()})
        )
        trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda e: losses.append(float(e.state.output["loss"])))
        trainer.run()
        return Steps(losses, taken, network)

    return train


def parser_of(
    dimensions: int, overlays: tuple[str, ...], cohort: Path, output: Path, device: torch.device, **keys: Any
) -> ConfigParser:
    bundle = PROJECT / "bundles" / f"size_seg_{dimensions}d"
    parser = ConfigParser()
    parser.read_config([bundle / "configs" / name for name in ("train.yaml", *overlays)])
    spacing, roi_size = GEOMETRY[dimensions]
    settings = {"dataset_dir": str(cohort), "output_dir": str(output), "bundle_root": str(bundle), "device": device}
    settings |= {"spacing": list(spacing), "roi_size": list(roi_size), "use_first_labels": False, "amp": False}
    settings |= {"epoch_scans": 2, "batch_size": 2, "max_epochs": 1, "val_interval": 100, "random_transforms": []}
    settings |= {"potts_ramp": [0.0, 0.0], "supervision": "size+mask", "agreement_weight": 0.0}
    for key, value in (settings | keys).items():
        parser[key] = value
    return parser


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize(
    ("dimensions", "overlays"),
    [(2, ()), (2, ("imagenet.yaml",)), (3, ()), (3, ("segresnet.yaml",))],
    ids=["2D, UNet", "2D, LeanUNet", "3D, UNet", "3D, SegResNet"],
)
def test_half_precision_follows_float32(
    train: Callable[..., Steps], amp_is_on: None, dimensions: int, overlays: tuple[str, ...], dtype: torch.dtype
) -> None:
    full = train(dimensions, *overlays, max_epochs=EPOCHS)
    half = train(dimensions, *overlays, amp=True, max_epochs=EPOCHS, **{"train#trainer#amp_kwargs": {"dtype": dtype}})
    assert half.losses == pytest.approx(full.losses, rel=0.02)
    assert half.gradients
    for step, gradient in half.gradients.items():
        assert bool(gradient.isfinite().all())
        assert relative_error(gradient, full.gradients[step]) < LARGEST_ERROR[dtype]


@pytest.mark.parametrize("dimensions", [2, 3])
def test_the_memory_format_changes_nothing_but_time(train: Callable[..., Steps], dimensions: int) -> None:
    usual = train(dimensions, channels_last=False)
    last = train(dimensions, channels_last=True)
    formats = {2: torch.channels_last, 3: torch.channels_last_3d}
    kernels = [p for p in last.network.parameters() if p.ndim == dimensions + 2 and p.shape[1] > 1]
    assert all(p.is_contiguous(memory_format=formats[dimensions]) for p in kernels)
    assert last.losses == pytest.approx(usual.losses, rel=1e-5)
    assert relative_error(last.gradients[1], usual.gradients[1]) < 1e-3


def test_a_compiled_step_is_the_same_step(device: torch.device) -> None:
    network, loss = network_of(3, torch.float32).to(device), CompositeLoss(potts_weight=0.1)
    batch = {key: x.to(device) for key, x in batch_of(2, 16, 16, 16, dtype=torch.float32).items()}
    compiled = copy.deepcopy(network)
    try:
        compile_network(compiled)
    except ValueError as e:
        pytest.skip(str(e))
    values = []
    for each in (network, compiled):
        values.append(loss(each(batch["image"]), batch))
        values[-1].backward()
    assert float(values[1]) == pytest.approx(float(values[0]), rel=1e-4)
    assert relative_error(gradients(compiled), gradients(network)) < 1e-3


def test_a_run_goes_on_from_its_checkpoint_on_the_device(device: torch.device, phantoms: Path, tmp_path: Path) -> None:
    last = {}
    for resume, epochs in ((False, 1), (True, 3)):
        keys = {"resume": resume, "max_epochs": epochs, "amp": device.type == "cuda"}
        parser = parser_of(3, (), phantoms, tmp_path / "run", device, **keys)
        trainer, optimizer = (parser.get_parsed_content(f"train#{name}") for name in ("trainer", "optimizer"))
        trainer.run()
        last[resume] = trainer.state.iteration
    assert last == {False: 1, True: 3}
    for parameter, state in optimizer.state.items():
        assert parameter.device.type == state["exp_avg"].device.type == device.type
        assert state["step"].device.type == "cpu", "it would be waited for in every step"


def test_two_passes_take_less_memory_than_one(device: torch.device) -> None:
    if device.type != "cuda":
        pytest.skip("torch counts the peak of its memory on CUDA devices only")
    side = 128
    one, two = (peak_bytes_of(trainer_of(side, patch, device=device).run, device) for patch in (None, side // 2))
    assert one <= ONE_PASS_BYTES * side**3
    assert two <= TWO_PASS_SHARE * one
