"""Confidence of a network in its own mask."""

import math

import pytest
import torch

from medsize.transforms import SoftDiceConfidenced


def test_a_sure_mask_has_confidence_1_and_a_doubtful_one_less() -> None:
    softmax = torch.zeros(4, 4, 4, 2)
    softmax[1, :2] = 1.0  # sure
    softmax[2, 2:], softmax[0, 2:] = 0.6, 0.4  # doubtful
    softmax[:3, 3, 3, 1] = torch.tensor([0.7, 0.0, 0.3])  # and a little outside of its mask
    item = SoftDiceConfidenced(keys="pred")({"pred": softmax})
    sure, doubtful, absent = item["confidence"].tolist()
    assert sure == 1
    assert doubtful == pytest.approx(2 * 0.6 * 15 / (0.6 * 15 + 0.3 + 15))
    assert math.isnan(absent)
    assert item["pred"] is softmax
