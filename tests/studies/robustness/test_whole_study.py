"""``medsize robustness`` on a phantom: trainings of the bundle, and the report."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import yaml

from tests.conftest import FEW_WORDS
from tests.studies.robustness.conftest import study


def test_a_study_trains_the_bundle_and_is_not_run_again(command: Callable, phantoms: Path, tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    cohort = {"name": "Phantoms", "dataset_dir": phantoms.name, "data_list": f"{phantoms.name}/datalist.json"}
    tiny = {"spacing": "[6.0, 6.0]", "roi_size": "[32, 32]", "max_epochs": 1, "val_interval": 1, "epoch_scans": 16}
    tiny |= FEW_WORDS
    supervision = {
        "sizes": {"noise_on": "sizes", "noise": {"gaussian": [0.5]}},
        "masks": {"noise_on": "masks", "noise": {"displaced": [0.5]}, "overlays": ["mask_supervision.yaml"]},
    }
    file.write_text(
        yaml.safe_dump(
            study(cohorts=[cohort], seeds=[3], overrides=tiny, supervision=supervision, report="report", gallery=2)
        )
    )
    arguments = ["robustness", file, "--data", phantoms.parent, "--work-dir", "work", "--workers", 2]
    arguments += ["--only", "gaussian|masks"]
    command("medsize.cli", *arguments, cwd=tmp_path)
    summaries = {path: json.loads(path.read_text()) for path in (tmp_path / "work").rglob("summary.json")}
    assert {(s["supervision"], s["size_noise"], s["mask_noise"]) for s in summaries.values()} == {
        ("size", "gaussian", None),
        ("mask", None, None),
        ("mask", None, "displaced"),
    }
    assert all(s["seed"] == 3 for s in summaries.values())
    of_masks = [s for s in summaries.values() if s["supervision"] == "mask"]
    assert [(s["size_change"], s["expected_size_change"]) for s in of_masks] == [(None, None)] * 2
    accuracy = pd.read_csv(tmp_path / "report" / "accuracy.csv")
    for noise, change in (("gaussian", "size_change"), ("displaced", "mask_change")):
        (realised,) = (s[change] for s in summaries.values() if noise in (s["size_noise"], s["mask_noise"]))
        as_written = float(f"{realised:.6g}")
        assert accuracy.loc[accuracy["noise"] == noise, "realised_mre"].unique() == pytest.approx([as_written])
    assert "data:image/" in (tmp_path / "report" / "report.html").read_text()  # the gallery

    written = {path: path.stat().st_mtime_ns for path in summaries}
    command("medsize.cli", *arguments, cwd=tmp_path)
    assert {path: path.stat().st_mtime_ns for path in summaries} == written
