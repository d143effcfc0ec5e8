"""One command trains and evaluates on the device, and what it made segments there."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import torch
import yaml

QUICK = ["--time-limit", "1s", "--override", "max_epochs=3", "--override", "val_interval=1"]


def test_a_fit_of_phantoms(device: torch.device, fresh: Callable, phantoms: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = ["medsize.cli", "fit", phantoms / "datalist.json", "--dataset-dir", phantoms, "--output-dir", out]
    fresh(*arguments, *QUICK, cwd=tmp_path)
    runs = [file.parent for file in out.glob("fold_*/*/summary.json")]
    assert runs
    for run in runs:
        config = yaml.safe_load((run / "config.yaml").read_text())
        assert config["amp"] is (device.type == "cuda")
        losses = pd.read_csv(run / "epochs.csv")["loss"]
        assert len(losses) == 3
        assert losses.notna().all()
        assert json.loads((run / "summary.json").read_text())["peak_memory_mb"] > 0
    assert (out / "report.html").is_file()
    final = out / "fold_0" / "lean_unet"
    fresh("medsize.cli", "predict", final, phantoms / "images", "--output", tmp_path / "predictions", cwd=tmp_path)
    volumes = pd.read_csv(tmp_path / "predictions" / "predictions.csv")
    assert len(volumes) == 9 * 3
