"""TwoPassTrainer's gradient is that of one pass over all patches, whatever the loss and the shapes."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import pytest
import torch
from ignite.engine import Events
from monai.losses import DiceCELoss
from monai.networks.nets import UNet
from torch import nn

from medsize.engines import PrepareSizeBatch, TwoPassTrainer
from medsize.engines.tiling import tiles_of
from medsize.losses import (
    CompositeLoss,
    LogBarrierSizeLoss,
    PottsLoss,
    QuadraticSizeLoss,
    ReverseKLSizeLoss,
    SizeKLLoss,
    SizeL1Loss,
    SizeL2Loss,
)

CLASSES = 3


def network_of(axes: int, dtype: torch.dtype = torch.float64, **options: Any) -> nn.Module:
    return UNet(axes, 1, CLASSES, channels=(4, 8), strides=(2,), norm="instance", **options).to(dtype)


def batch_of(items: int, *spatial: int, dtype: torch.dtype = torch.float64, **more: torch.Tensor) -> dict[str, Any]:
    size = torch.rand(items, CLASSES, dtype=dtype).softmax(dim=1)
    return {"image": torch.rand(items, 1, *spatial, dtype=dtype), "fraction": torch.stack([size, size], dim=1), **more}


def trainer_of(
    network: nn.Module, batches: list[dict[str, Any]], loss: CompositeLoss, **options: Any
) -> TwoPassTrainer:
    by_default = {"device": torch.device("cpu"), "optimizer": torch.optim.SGD(network.parameters(), lr=0.0)}
    return TwoPassTrainer(
        max_epochs=1,
        train_data_loader=batches,
        network=network,
        loss_function=loss,
        prepare_batch=PrepareSizeBatch(),
        decollate=False,
        **(by_default | options),
    )


def gradients(network: nn.Module) -> torch.Tensor:
    return torch.cat([parameter.grad.flatten() for parameter in network.parameters()])


def two_passes(network: nn.Module, batch: dict[str, Any], loss: CompositeLoss, **options: Any) -> tuple[Any, float]:
    torch.manual_seed(1)
    trainer = trainer_of(network, [batch], loss, **options)
    trainer.run()
    return gradients(network), float(trainer.state.output["loss"])


def one_pass(
    network: nn.Module,
    batch: dict[str, Any],
    loss: CompositeLoss,
    roi_size: tuple[int, ...],
    halo: int,
    at_once: int = 1,
) -> tuple[torch.Tensor, float]:
    """The loss on logits that are stitched from the same patches, local terms joined core by core, in one graph."""
    torch.manual_seed(1)
    network.zero_grad()
    network.train()
    image, valid = batch["image"], batch.get("valid")
    tiles = tiles_of(image.shape[2:], roi_size, (halo,) * len(roi_size))
    stitched = image.new_zeros(len(image), CLASSES, *image.shape[2:])
    for items in torch.arange(len(image)).split(at_once):
        for tile in tiles:
            logits = tile.core_of_window(network(tile.cut_window(image)[items]))
            stitched[(items, slice(None), *tile.core)] = logits
    value = loss.size_weight * loss.size_loss(stitched, batch["fraction"], valid, group=batch.get("group"))
    voxels = float(image[:, 0].numel() if valid is None else valid.sum())
    if loss.potts_weight:
        sums = [
            PottsLoss.contrast_sums(tile.cut_core(image), valid if valid is None else tile.cut_core(valid))
            for tile in tiles
        ]
        beta = sum(total for total, _ in sums) / sum(count for _, count in sums)
    for tile in tiles:
        logits = tile.cut_core(stitched)
        if loss.potts_weight:
            part = len(image) * tile.voxels / voxels
            value = value + loss.potts_weight * part * loss.potts_loss(logits, tile.cut_core(image), beta=beta)
    value = value + other_terms(loss, stitched, batch)
    value.backward()
    return gradients(network), float(value.detach())


def other_terms(loss: CompositeLoss, logits: torch.Tensor, batch: dict[str, Any]) -> torch.Tensor:
    """Sum the terms that are means over voxels, and so must not depend on the tiling."""
    value = logits.new_zeros(())
    if "scribble" in batch:
        value = value + loss.scribble_weight * nn.functional.cross_entropy(
            logits, batch["scribble"].squeeze(1).long(), ignore_index=255
        )
    if "label" in batch:
        value = value + loss.mask_weight * loss.mask_loss(logits, batch["label"])
    if loss.outside_weight:
        outside = batch["valid"].squeeze(1) == 0
        value = value - loss.outside_weight * logits.log_softmax(dim=1)[:, 0][outside].mean()
    return value


def relative_error(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


GEOMETRIES = [
    pytest.param((2, 20, 12), (8, 8), 2, id="2D"),
    pytest.param((2, 21, 13), (8, 10), 2, id="2D, uneven"),
    pytest.param((1, 16, 12, 12), (8, 8, 8), 1, id="3D"),
    pytest.param((1, 13, 9, 17), (8, 8, 10), 2, id="3D, uneven"),
    pytest.param((1, 6, 13, 8), (8, 8, 8), 0, id="3D, smaller than a window along one axis"),
]


@pytest.mark.parametrize(("shape", "roi_size", "halo"), GEOMETRIES)
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-6), (torch.float32, 1e-4)], ids=["double", "float"]
)
def test_gradient_is_that_of_one_pass(
    shape: tuple[int, ...], roi_size: tuple[int, ...], halo: int, dtype: torch.dtype, tolerance: float
) -> None:
    network, loss = network_of(len(roi_size), dtype), CompositeLoss(potts_weight=0.3)
    batch = batch_of(*shape, dtype=dtype)
    assert len(tiles_of(shape[1:], roi_size, (halo,) * len(roi_size))) > 1
    expected, value = one_pass(network, batch, loss, roi_size, halo)
    found, loss_value = two_passes(network, batch, loss, roi_size=roi_size, halo=halo)
    assert relative_error(found, expected) < tolerance
    assert loss_value == pytest.approx(value, rel=1e-5)


@pytest.mark.parametrize(
    "size_loss",
    [SizeKLLoss(), QuadraticSizeLoss(), LogBarrierSizeLoss(), ReverseKLSizeLoss(), SizeL1Loss(), SizeL2Loss()],
    ids=lambda loss: type(loss).__name__,
)
def test_gradient_is_exact_for_every_size_loss(size_loss: nn.Module) -> None:
    network, batch, loss = network_of(2), batch_of(2, 20, 13), CompositeLoss(size_loss=size_loss)
    expected, value = one_pass(network, batch, loss, (8, 8), 1)
    found, loss_value = two_passes(network, batch, loss, roi_size=8, halo=1)
    assert relative_error(found, expected) < 1e-6
    assert loss_value == pytest.approx(value)


def test_gradient_is_exact_where_only_bounds_are_known() -> None:
    network, batch, loss = network_of(2), batch_of(2, 20, 12), CompositeLoss()
    batch["fraction"] = torch.tensor([[[0.0, 0.9, 0.0], [0.1, 1.0, 0.1]], [[0.0] * 3, [1.0] * 3]], dtype=torch.float64)
    stated = {key: value[:1] for key, value in batch.items()}  # the second item states nothing
    expected, value = one_pass(network, stated, loss, (8, 8), 1)
    found, loss_value = two_passes(network, batch, loss, roi_size=8, halo=1)
    assert relative_error(found, expected) < 1e-6
    assert loss_value == pytest.approx(value)


@pytest.mark.parametrize("at_once", [1, 3, 8])
def test_slices_of_a_volume_share_one_average_however_few_are_fed_at_once(at_once: int) -> None:
    network, loss = network_of(2), CompositeLoss()
    batch = batch_of(7, 12, 12, group=torch.tensor([0, 0, 0, 0, 4, 4, 4]))
    batch["fraction"] = batch["fraction"][[0, 0, 0, 0, 1, 1, 1]]
    expected, value = one_pass(network, batch, loss, (8, 12), 2)
    found, loss_value = two_passes(network, batch, loss, roi_size=(8, 12), halo=2, sw_batch_size=at_once)
    assert relative_error(found, expected) < 1e-6
    assert loss_value == pytest.approx(value)


def test_voxels_of_a_padded_scan_do_not_count() -> None:
    valid = torch.ones(2, 1, 20, 12)
    valid[0, :, 5:] = 0  # whole patches of the first scan are padding
    network, batch, loss = network_of(2), batch_of(2, 20, 12, valid=valid), CompositeLoss()
    expected, value = one_pass(network, batch, loss, (8, 8), 1, at_once=2)
    found, loss_value = two_passes(network, batch, loss, roi_size=8, halo=1, sw_batch_size=2)
    assert relative_error(found, expected) < 1e-6
    assert loss_value == pytest.approx(value)
    batch["valid"] = valid * torch.tensor([1, 0]).view(2, 1, 1, 1)
    with pytest.raises(ValueError, match=r"item 1 .* holds no voxel"):
        two_passes(network, batch, loss, roi_size=8, halo=1)


def test_patches_beside_the_organ_are_background() -> None:
    valid = torch.zeros(2, 1, 20, 12)
    valid[0, :, 5:9], valid[1, :, :3, 4:] = 1, 1
    network, batch, loss = network_of(2), batch_of(2, 20, 12, valid=valid), CompositeLoss(outside_weight=0.5)
    expected, value = one_pass(network, batch, loss, (8, 8), 1, at_once=2)
    found, loss_value = two_passes(network, batch, loss, roi_size=8, halo=1, sw_batch_size=2)
    assert relative_error(found, expected) < 1e-6
    assert loss_value == pytest.approx(value)


def test_dropout_is_replayed() -> None:
    network, batch = network_of(3, dropout=0.4), batch_of(1, 12, 12, 12)
    loss = CompositeLoss(potts_weight=0.1)
    expected, _ = one_pass(network, batch, loss, (8, 8, 8), 1)
    found, _ = two_passes(network, batch, loss, roi_size=8, halo=1)
    assert relative_error(found, expected) < 1e-6
    torch.manual_seed(2)
    network.zero_grad()
    trainer_of(network, [batch], loss, roi_size=8, halo=1).run()
    assert relative_error(gradients(network), expected) > 1e-3  # dropout does matter here


def test_scribbles_and_masks_count_as_in_the_whole_scan() -> None:
    label = torch.randint(CLASSES, (2, 1, 20, 12))
    scribble = torch.full((2, 1, 20, 12), 255)
    scribble[0, :, 3, 4:9], scribble[1, :, 17, 2] = 1, 2  # most patches have none
    network = network_of(2)
    batch = batch_of(2, 20, 12, label=label, scribble=scribble)
    loss = CompositeLoss(mask_loss=DiceCELoss(to_onehot_y=True, lambda_dice=0.0), scribble_weight=0.5, mask_weight=2.0)
    expected, value = one_pass(network, batch, loss, (8, 8), 1)
    found, loss_value = two_passes(network, batch, loss, roi_size=8, halo=1)
    assert relative_error(found, expected) < 1e-6
    assert loss_value == pytest.approx(value)
    assert set(loss.terms) == {"size", "scribble", "mask"}


def test_masks_alone_need_no_size() -> None:
    batch = batch_of(1, 20, 12, label=torch.randint(CLASSES, (1, 1, 20, 12)))
    del batch["fraction"]
    network, loss = network_of(2), CompositeLoss()
    gradient, _ = two_passes(network, batch, loss, roi_size=8, halo=1)
    assert gradient.norm() > 0
    assert set(loss.terms) == {"mask"}


def test_two_views_of_a_network_that_knows_no_direction_agree() -> None:
    network = nn.Conv2d(1, CLASSES, 1).double()
    loss = CompositeLoss(agreement_weight=1.0, potts_weight=0.1)
    batch = batch_of(2, 20, 12, group=torch.tensor([0, 0]))
    batch["fraction"] = batch["fraction"][[0, 0]]
    one, _ = two_passes(network, batch, CompositeLoss(potts_weight=0.1), roi_size=8)
    network.zero_grad()
    two, _ = two_passes(network, batch, CompositeLoss(potts_weight=0.1), roi_size=8, two_views=True)
    assert relative_error(two, one) < 1e-6
    network.zero_grad()
    two_passes(network, batch, loss, roi_size=8, two_views=True)
    softmax = network(batch["image"]).softmax(dim=1)
    assert float(loss.terms["agreement"]) == pytest.approx(float(1 - softmax.square().sum(dim=1).mean()))


def test_gradients_are_averaged_over_the_batches_of_a_step() -> None:
    network, loss = network_of(2), CompositeLoss()
    batches = [batch_of(1, 20, 12), batch_of(1, 9, 16), batch_of(1, 8, 8)]
    steps = []
    optimizer = torch.optim.SGD(network.parameters(), lr=0.0)
    optimizer.register_step_pre_hook(lambda *_: steps.append(gradients(network).clone()))
    trainer_of(network, batches, loss, roi_size=8, halo=1, accumulation_steps=2, optimizer=optimizer).run()
    each = []
    for batch in batches:
        network.zero_grad()
        each.append(one_pass(network, batch, loss, (8, 8), 1)[0])
    assert len(steps) == 2  # the last batch of an epoch is not lost
    assert relative_error(steps[0], (each[0] + each[1]) / 2) < 1e-6
    assert relative_error(steps[1], each[2] / 2) < 1e-6


def test_bfloat16_follows_float32() -> None:
    network, batch = network_of(2, torch.float32), batch_of(2, 20, 12, dtype=torch.float32)
    loss = CompositeLoss(potts_weight=0.1)
    full, value = two_passes(network, batch, loss, roi_size=8, halo=1)
    seen = []
    network.register_forward_hook(lambda *arguments: seen.append(arguments[-1].dtype))
    network.zero_grad()
    half, half_value = two_passes(network, batch, loss, roi_size=8, halo=1, amp=True)
    assert set(seen) == {torch.bfloat16}
    assert half_value == pytest.approx(value, rel=0.02)
    assert 0 < relative_error(half, full) < 0.1


def test_running_statistics_are_refused_or_frozen() -> None:
    network = UNet(2, 1, CLASSES, channels=(4, 8), strides=(2,), norm="batch").double()
    batch, loss = batch_of(1, 20, 12), CompositeLoss()
    with pytest.raises(ValueError, match="freeze_batch_norm"):
        two_passes(network, batch, loss, roi_size=8)
    before = {name: value.clone() for name, value in network.named_buffers()}
    gradient, _ = two_passes(network, batch, loss, roi_size=8, freeze_batch_norm=True)
    assert gradient.norm() > 0
    assert all(torch.equal(value, before[name]) for name, value in network.named_buffers())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"roi_size": (8, 8, 8)}, "2 spatial axes"),
        ({"roi_size": 8, "halo": 4}, "less than half"),
        ({"roi_size": 8, "sw_batch_size": 0}, "sw_batch_size must be at least 1"),
        ({"roi_size": 8, "accumulation_steps": 0}, "accumulation_steps must be at least 1"),
    ],
)
def test_settings_that_fit_no_scan_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        two_passes(network_of(2), batch_of(1, 20, 12), CompositeLoss(), **options)


def test_only_a_composite_loss_will_do() -> None:
    with pytest.raises(ValueError, match="CompositeLoss"):
        two_passes(network_of(2), batch_of(1, 20, 12), SizeKLLoss(), roi_size=8)


def test_it_learns_sizes() -> None:
    network, losses = network_of(2, torch.float32), []
    optimizer = torch.optim.Adam(network.parameters(), 0.03)
    batches = [batch_of(1, 20, 12, dtype=torch.float32)] * 30
    trainer = trainer_of(network, batches, CompositeLoss(), roi_size=8, halo=1, optimizer=optimizer)
    trainer.add_event_handler(
        Events.ITERATION_COMPLETED, lambda engine: losses.append(float(engine.state.output["loss"]))
    )
    trainer.run()
    assert losses[-1] < 0.1 * losses[0]


def test_a_network_that_changes_the_shape_is_named() -> None:
    with pytest.raises(ValueError, match=r"spatial shape \(8, 8\)"):
        two_passes(nn.Conv2d(1, CLASSES, 3).double(), batch_of(1, 20, 12), CompositeLoss(), roi_size=8)


SCANS = ((16, 12), (20, 20))
"""Shapes of the scans of two processes: they have unequal numbers of patches."""


def train_by_two_processes(rank: int, address: str, folder: Path) -> None:
    """One of two processes: with a scan of its own, then with a half of the patches of the same scan."""
    torch.distributed.init_process_group("gloo", init_method=address, rank=rank, world_size=2)
    for split_scans in (False, True):
        save_gradients(rank, split_scans, folder)
    gc.collect()  # networks that outlive their group may abort the process
    torch.distributed.barrier()  # as in multi_gpu_train.yaml
    torch.distributed.destroy_process_group()


def save_gradients(rank: int, split_scans: bool, folder: Path) -> None:
    network, batches = network_and_batches()
    parallel, loss = nn.parallel.DistributedDataParallel(network), CompositeLoss(potts_weight=0.3)
    two_passes(parallel, batches[0 if split_scans else rank], loss, roi_size=8, halo=1, split_scans=split_scans)
    if rank == 0:
        torch.save({"gradients": gradients(network), "terms": loss.terms}, folder / f"{split_scans}.pt")


def network_and_batches() -> tuple[nn.Module, list[dict[str, Any]]]:
    torch.manual_seed(0)
    network, batches = network_of(2), [batch_of(1, *shape) for shape in SCANS]
    batches[0]["scribble"] = torch.full((1, 1, *SCANS[0]), 255)
    batches[0]["scribble"][..., 2, 3] = 1  # in one patch, so in one process
    return network, batches


def test_two_processes_have_the_gradient_of_one(tmp_path: Path) -> None:
    torch.multiprocessing.spawn(train_by_two_processes, (f"file://{tmp_path / 'meeting_place'}", tmp_path), nprocs=2)
    network, batches = network_and_batches()
    loss = CompositeLoss(potts_weight=0.3)
    each, terms = [], []
    for batch in batches:
        network.zero_grad()
        each.append(two_passes(network, batch, loss, roi_size=8, halo=1)[0])
        terms.append(loss.terms)
    for split_scans, expected in ((False, (each[0] + each[1]) / 2), (True, each[0])):
        found = torch.load(tmp_path / f"{split_scans}.pt", weights_only=True)
        assert relative_error(found["gradients"], expected) < 1e-6
        torch.testing.assert_close(found["terms"], terms[0])
