"""Runs whose network is one convolution: structure 1 is what is brighter than 0.8."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from medsize.bundle.run.folder import INFERENCE, WEIGHTS
from medsize.bundle.run.summary import RunSummary
from medsize.data import PHANTOM_CLASSES
from tests.conftest import BUNDLE_2D

__all__ = ["write_bright_run"]


def write_bright_run(run: Path, roi_size: tuple[int, int] = (32, 32), located: Path | None = None) -> Path:
    """Write a finished run of whole scans or, with a located data list, of regions, at a spacing of 6 mm."""
    run.mkdir()
    network = {"_target_": "torch.nn.Conv2d", "in_channels": 1, "out_channels": 4, "kernel_size": 1}
    window = {"spacing": [6.0, 6.0], "roi_size": list(roi_size)}
    classes = {"num_classes": 4, "structures": list(PHANTOM_CLASSES[1:])}
    inference = {**window, **classes, "network_def": network, "checkpoint": str(run / WEIGHTS)}
    stated = {} if located is None else {"data_list": str(located)}
    RunSummary(bundle=str(BUNDLE_2D), roi=located is not None, **stated).write(run)
    (run / INFERENCE).write_text(json.dumps(inference))
    weight = torch.tensor([0.0, 50.0, 0.0, 0.0])
    torch.save({"weight": weight[:, None, None, None], "bias": weight * -0.8}, run / WEIGHTS)
    return run
