"""CompositeLoss sums what labels each item carries."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest
import torch
from monai.losses import DiceCELoss
from torch import nn
from torch.nn import functional as F

from medsize.losses import IGNORE_INDEX, CompositeLoss, PottsLoss, SizeKLLoss, SizeL1Loss

UNKNOWN = torch.stack([torch.zeros(3), torch.ones(3)])


def batch() -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Three items: a size, a mask, a scribble."""
    logits = torch.randn(3, 3, 8, 8)
    size = torch.stack([torch.tensor([[0.7, 0.2, 0.1]] * 2), UNKNOWN, UNKNOWN])
    label = torch.full((3, 1, 8, 8), IGNORE_INDEX, dtype=torch.uint8)
    label[1] = torch.randint(0, 3, (1, 8, 8))
    scribble = torch.full((3, 1, 8, 8), IGNORE_INDEX, dtype=torch.uint8)
    scribble[2, 0, 3, 4] = 2
    return logits, {"image": torch.rand(3, 1, 8, 8), "fraction": size, "label": label, "scribble": scribble}


def test_each_term_is_that_of_the_items_with_its_label() -> None:
    logits, targets = batch()
    loss = CompositeLoss(size_weight=2.0, potts_weight=0.5, scribble_weight=3.0, mask_weight=0.25)
    total = loss(logits, targets)
    size = SizeKLLoss()(logits[:1], targets["fraction"][:1, 0])
    potts = PottsLoss()(logits, targets["image"])
    scribble = F.cross_entropy(logits[2:, :, 3, 4], torch.tensor([2]))
    mask = DiceCELoss(softmax=True, to_onehot_y=True)(logits[1:2], targets["label"][1:2])
    for name, value in {"size": size, "potts": potts, "scribble": scribble, "mask": mask}.items():
        torch.testing.assert_close(loss.terms[name], value)
    torch.testing.assert_close(total, 2 * size + 0.5 * potts + 3 * scribble + 0.25 * mask)


def test_terms_without_a_label_are_left_out() -> None:
    logits, targets = batch()
    loss = CompositeLoss()
    loss(logits[:1], {key: value[:1] for key, value in targets.items()})
    assert set(loss.terms) == {"size"}


def test_a_batch_without_any_label_has_a_zero_loss_that_backpropagates() -> None:
    logits = torch.randn(1, 3, 4, 4, requires_grad=True)
    loss = CompositeLoss()(logits, {"fraction": UNKNOWN[None]})
    loss.backward()
    assert loss.item() == 0
    assert not logits.grad.any()


def test_items_of_one_volume_share_its_size() -> None:
    logits = torch.randn(4, 3, 8, 8)
    size = torch.tensor([[[0.7, 0.2, 0.1]] * 2] * 4)
    grouped = CompositeLoss()(logits, {"fraction": size, "group": torch.tensor([5, 5, 5, 5])})
    volume = logits.transpose(0, 1).flatten(1)[None]
    torch.testing.assert_close(grouped, SizeKLLoss()(volume, size[:1, 0]))


def test_weights_can_be_ramped_while_training() -> None:
    logits, targets = batch()
    loss = CompositeLoss(potts_weight=0.0)
    before = loss(logits, targets)
    assert "potts" not in loss.terms
    loss.potts_weight = 0.5
    torch.testing.assert_close(loss(logits, targets) - before, 0.5 * loss.terms["potts"])


def test_another_size_loss_takes_its_place() -> None:
    logits, targets = batch()
    loss = CompositeLoss(size_loss=SizeL1Loss())
    loss(logits, targets)
    torch.testing.assert_close(loss.terms["size"], SizeL1Loss()(logits[:1], targets["fraction"][:1, 0]))


def test_a_negative_weight_is_refused() -> None:
    with pytest.raises(ValueError, match=r"potts_weight must not be negative, got -0\.1"):
        CompositeLoss(potts_weight=-0.1)


def test_potts_without_an_image_is_refused() -> None:
    with pytest.raises(ValueError, match="the Potts term needs the image"):
        CompositeLoss(potts_weight=1.0)(torch.zeros(1, 3, 4, 4), {"fraction": UNKNOWN[None]})


def test_trains_a_network_under_bfloat16_autocast() -> None:
    network = torch.nn.Conv2d(1, 3, 3, padding=1)
    _, targets = batch()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        prediction = network(targets["image"])
        assert prediction.dtype == torch.bfloat16
        loss = CompositeLoss(potts_weight=0.1)(prediction, targets)
    loss.backward()
    assert loss.dtype == torch.float32
    assert all(p.grad.isfinite().all() for p in network.parameters())


def test_soft_labels_pull_the_prediction_to_them() -> None:
    logits = torch.zeros(2, 3, 8, 8, requires_grad=True)
    soft = torch.softmax(torch.randn(2, 3, 8, 8), dim=1)
    loss = CompositeLoss(soft_label_loss=nn.CrossEntropyLoss(), soft_label_weight=2.0)
    value = loss(logits, {"soft_label": soft})
    assert value.item() == pytest.approx(2 * math.log(3))
    (gradient,) = torch.autograd.grad(value, logits)
    torch.testing.assert_close(gradient, 2 * (1 / 3 - soft) / (2 * 8 * 8))
    assert set(loss.terms) == {"soft_label"}


def test_unlabelled_voxels_of_a_mask_teach_nothing() -> None:
    logits = torch.randn(2, 3, 8, 6, requires_grad=True)
    label = torch.randint(0, 3, (2, 1, 8, 6), dtype=torch.uint8)
    label[0, 0, :2], label[1, 0, :, 5] = IGNORE_INDEX, IGNORE_INDEX
    ignored = (label == IGNORE_INDEX).expand_as(logits)
    value = CompositeLoss()(logits, {"fraction": UNKNOWN.expand(2, 2, 3), "label": label})
    (gradient,) = torch.autograd.grad(value, logits)
    assert not gradient[ignored].any()
    assert bool((gradient[~ignored] != 0).all())
    background = label.masked_fill(label == IGNORE_INDEX, 0)
    certain = torch.where(ignored, 40 * torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1), logits)
    torch.testing.assert_close(value, DiceCELoss(softmax=True, to_onehot_y=True)(certain, background))


def test_outside_of_the_organ_is_background_and_the_other_terms_are_of_the_organ() -> None:
    """The second slice of the scan is beside the organ."""
    logits, other = torch.randn(2, 3, 8, 8), torch.randn(2, 3, 8, 8)
    valid = torch.zeros(2, 1, 8, 8)
    valid[0, :, :4] = 1
    same_view = type("Same", (), {"undo": staticmethod(lambda x: x)})
    targets = {"fraction": torch.tensor([[[0.7, 0.2, 0.1]] * 2] * 4), "group": torch.tensor([0, 0, 1, 1])}
    targets |= {"valid": torch.cat([valid, valid]), "view": same_view}
    loss = CompositeLoss(outside_weight=1.0, agreement_weight=1.0)
    loss(torch.cat([logits, other]), targets)
    outside = torch.cat([logits, other]).log_softmax(dim=1)[:, 0][torch.cat([valid, valid])[:, 0] == 0]
    torch.testing.assert_close(loss.terms["outside"], -outside.mean())
    organ = [SizeKLLoss()(half[:1, :, :4], targets["fraction"][:1, 0]) for half in (logits, other)]
    torch.testing.assert_close(loss.terms["size"], torch.stack(organ).mean())
    differs = 1 - (logits.softmax(dim=1) * other.softmax(dim=1)).sum(dim=1)[0, :4]
    torch.testing.assert_close(loss.terms["agreement"], differs.mean() / 2)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"fracton": 0}, "unknown key 'fracton'. Did you mean 'fraction'?"),
        ({"label": torch.full((3, 1, 8, 8), 3)}, "label holds the class 3, expected 0 to 2, or 255 where unlabelled"),
        ({"scribble": torch.full((3, 1, 8, 8), -1)}, "scribble holds the class -1, expected 0 to 2"),
    ],
)
def test_labels_that_would_be_left_out_or_misread_are_refused(changed: dict[str, Any], message: str) -> None:
    logits, targets = batch()
    with pytest.raises(ValueError, match=re.escape(message)):
        CompositeLoss()(logits, targets | changed)


def test_what_teaches_nothing_is_refused() -> None:
    logits, targets = batch()
    with pytest.raises(TypeError, match=r"got NoneType\. Make it by prepare_batch: medsize\.engines\.PrepareSizeBatch"):
        CompositeLoss()(logits, None)
    with pytest.raises(ValueError, match="targets holds image, expected one of fraction, scribble, label, soft_label"):
        CompositeLoss(potts_weight=1.0)(logits, {"image": targets["image"]})
    with pytest.raises(ValueError, match="the agreement needs a second view"):
        CompositeLoss(agreement_weight=1.0)(logits, targets)
