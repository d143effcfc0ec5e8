"""Ensemble of the folds' networks, as a run whose network averages theirs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import torch

from medsize.bundle.parts import read_weights
from medsize.bundle.run.folder import INFERENCE, METRICS, WEIGHTS, check_finished
from medsize.bundle.run.inference_settings import inference_settings
from medsize.bundle.run.summary import RunResults, RunSummary
from medsize.files import atomic_write
from medsize.handlers.case_table import calibrate_volumes, summarise
from medsize.handlers.run_record import write_calibration
from medsize.metrics.reliability import cohort_facts

__all__ = ["write_ensemble"]

NETWORK = "scripts.ensemble.MeanOfNetworks"
"""Network of both bundles' ``scripts``, which needs no medsize."""


def write_ensemble(runs: Sequence[Path], output_dir: Path) -> None:
    """
    Write a run folder whose network averages the softmax of several runs, for ``medsize predict`` and export.

    Its metrics are those of the cross-validation: each scan by the network that was not trained on it. The errors of
    all folds together calibrate its volumes, as in cross-conformal prediction: Vovk, "Cross-conformal predictors",
    2015; Barber, Candès, Ramdas, Tibshirani, "Predictive inference with the jackknife+", 2021.

    Args:
        runs: output folders of the runs, one for each fold.
        output_dir: folder to write.
    """
    for run in runs:
        check_finished(run, [WEIGHTS, INFERENCE, METRICS])
    weights = [read_weights(run / WEIGHTS) for run in runs]
    joined = {f"networks.{n}.{name}": value for n, state in enumerate(weights) for name, value in state.items()}
    with atomic_write(output_dir / WEIGHTS) as file:
        torch.save(joined, file)
    inference = inference_settings(runs[0])
    inference["network_def"] = {"_target_": NETWORK, "networks": [inference["network_def"]] * len(runs)}
    inference["checkpoint"] = str((output_dir / WEIGHTS).absolute())
    with atomic_write(output_dir / INFERENCE) as file:
        file.write_text(json.dumps(inference, indent=2) + "\n")
    tables = [pd.read_csv(run / METRICS, dtype={"subject": str}) for run in runs]
    table = pd.concat(tables, ignore_index=True)
    calibration = calibrate_volumes(table)
    # An average of networks is less sure than each of them.
    facts = cohort_facts(table.drop(columns="confidence", errors="ignore"))
    write_calibration(output_dir / INFERENCE, calibration, facts)
    with atomic_write(output_dir / METRICS) as file:
        table.to_csv(file, index=False, float_format="%.6g")
    cases = int(table["image"].nunique())
    results = RunResults.model_validate(summarise(table))
    first = RunSummary.read(runs[0])
    pooled = {"results": results, "cases": cases, "training_scans": cases, "calibration": calibration}
    first.model_copy(update=pooled).write(output_dir)
