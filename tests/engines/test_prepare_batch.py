"""PrepareSizeBatch feeds MONAI's stock trainer."""

from __future__ import annotations

import pytest
import torch
from ignite.engine import Events
from monai.data import MetaTensor
from monai.engines import SupervisedTrainer

from medsize.engines import PrepareSizeBatch
from medsize.losses import CompositeLoss


def batch(size: int = 4) -> dict[str, object]:
    target = torch.tensor([[0.8, 0.2]] * size)
    return {
        "image": torch.rand(size, 1, 8, 8),
        "fraction": torch.stack([target, target], dim=1),
        "subject": ["s"] * size,
    }


def test_targets_are_what_the_batch_holds() -> None:
    image, targets = PrepareSizeBatch()(batch(), device="cpu")
    assert set(targets) == {"image", "fraction"}
    assert targets["image"] is image


@pytest.mark.parametrize("two_views", [False, True])
def test_what_the_network_and_the_losses_get_has_no_affines(two_views: bool) -> None:
    made = batch() | {"image": MetaTensor(torch.rand(4, 1, 8, 8)), "label": MetaTensor(torch.zeros(4, 1, 8, 8))}
    image, targets = PrepareSizeBatch(two_views=two_views)(made, device="cpu")
    assert not any(isinstance(x, MetaTensor) for x in (image, *targets.values()))


@pytest.mark.parametrize(
    ("shape", "memory_format"),
    [((2, 3, 4, 4), torch.channels_last), ((2, 3, 4, 4, 4), torch.channels_last_3d)],
)
def test_channels_last(shape: tuple[int, ...], memory_format: torch.memory_format) -> None:
    image, _ = PrepareSizeBatch(channels_last=True)({"image": torch.rand(shape)}, device="cpu")
    assert image.is_contiguous(memory_format=memory_format)


def test_trains_in_the_stock_trainer() -> None:
    network = torch.nn.Conv2d(1, 2, 3, padding=1)
    losses = []
    loss = CompositeLoss(potts_weight=0.01)
    trainer = SupervisedTrainer(
        device=torch.device("cpu"),
        max_epochs=40,
        train_data_loader=[batch()],
        network=network,
        optimizer=torch.optim.Adam(network.parameters(), 0.05),
        loss_function=loss,
        prepare_batch=PrepareSizeBatch(),
        decollate=False,
    )
    trainer.add_event_handler(
        Events.ITERATION_COMPLETED, lambda engine: losses.append(engine.state.output["loss"].item())
    )
    trainer.run()
    assert losses[-1] < 0.2 * losses[0]
    assert set(loss.terms) == {"size", "potts"}


def test_organs_become_the_voxels_that_belong_to_the_region() -> None:
    organs = torch.zeros(4, 2, 8, 8)
    organs[:, 0, 2:4], organs[:, 1, 3:6] = 1, 3
    _, targets = PrepareSizeBatch()(batch() | {"region": organs}, device="cpu")
    assert set(targets) == {"image", "fraction", "valid"}
    assert targets["valid"].shape == (4, 1, 8, 8)
    assert targets["valid"][0, 0, :, 0].tolist() == [0, 0, 1, 1, 1, 1, 0, 0]
