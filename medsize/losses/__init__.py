"""Losses that compare predicted with given sizes, and the terms that go with them."""

from medsize.losses.agreement import AgreementLoss
from medsize.losses.average_softmax import log_average_softmax
from medsize.losses.composite import IGNORE_INDEX, CompositeLoss
from medsize.losses.potts import PottsLoss
from medsize.losses.size_kl import SizeKLLoss
from medsize.losses.size_loss import SizeLoss
from medsize.losses.size_penalty import (
    LogBarrierSizeLoss,
    QuadraticSizeLoss,
    ReverseKLSizeLoss,
    SizeL1Loss,
    SizeL2Loss,
)
from medsize.losses.size_target import nearest_in_box

__all__ = [
    "IGNORE_INDEX",
    "AgreementLoss",
    "CompositeLoss",
    "LogBarrierSizeLoss",
    "PottsLoss",
    "QuadraticSizeLoss",
    "ReverseKLSizeLoss",
    "SizeKLLoss",
    "SizeL1Loss",
    "SizeL2Loss",
    "SizeLoss",
    "log_average_softmax",
    "nearest_in_box",
]
