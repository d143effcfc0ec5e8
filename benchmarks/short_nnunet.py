"""
Train nnU-Net for less long than its 1000 epochs. For :mod:`benchmarks.peers`, in nnU-Net's own environment.

    python short_nnunet.py DATA_SET EPOCHS ITERATIONS
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from nnunetv2.paths import nnUNet_preprocessed
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer


def train(data_set: str, epochs: int, iterations: int) -> None:
    """
    Train the 2D configuration on all cases of a data set; all but the length is nnU-Net's default.

    Args:
        data_set: name of a data set that is planned and preprocessed.
        epochs: number of epochs.
        iterations: steps of each.
    """
    folder = Path(str(nnUNet_preprocessed)) / data_set
    plans, description = (json.loads((folder / name).read_text()) for name in ("nnUNetPlans.json", "dataset.json"))
    plans["continue_training"] = False
    trainer = nnUNetTrainer(plans, "2d", "all", description, device=torch.device("cpu"))
    trainer.num_epochs, trainer.num_iterations_per_epoch, trainer.num_val_iterations_per_epoch = epochs, iterations, 1
    trainer.run_training()


if __name__ == "__main__":
    train(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
