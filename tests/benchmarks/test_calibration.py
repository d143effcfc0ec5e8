"""Coverage of intervals is measured on subjects that did not calibrate them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.calibration import Coverage, chosen_epoch, held_volumes
from benchmarks.finished_runs import across_cohorts, by_cross_validation, read_runs


@pytest.fixture
def studies(tmp_path: Path) -> Path:
    """Runs on a cohort in two folds, and on another whose volumes are predicted three times too large."""
    rng = np.random.default_rng(0)
    for cohort, bias in (("hearts_fold_0", 1.0), ("hearts_fold_1", 1.0), ("others", 3.0)):
        true = rng.lognormal(4, 1, 30)
        table = pd.DataFrame({"true_volume_ml": true, "volume_ml": bias * true * rng.lognormal(0, 0.1, 30)})
        table = table.assign(structure="heart", subject=[f"{cohort} {n // 2}" for n in range(30)], image="scan")
        (tmp_path / cohort / "sizes_seed_0").mkdir(parents=True)
        table.to_csv(tmp_path / cohort / "sizes_seed_0" / "metrics.csv", index=False)
    return tmp_path


def test_intervals_hold_in_their_own_cohort_and_not_in_one_that_is_unlike_it(studies: Path) -> None:
    runs = read_runs([studies])
    assert {cohort: len(by_name["sizes_seed_0"]) for cohort, by_name in runs.items()} == {"hearts": 60, "others": 30}
    found = Coverage.of(by_cross_validation(list(runs["hearts"].values()), held_volumes, repeats=4))
    assert found.subjects == 30
    assert found.held == pytest.approx(0.9, abs=0.06)
    assert 0.7 < found.low < 1 < found.high < 1.4
    assert Coverage.of(across_cohorts(runs, held_volumes)["hearts", "others"]).held == 0
    with pytest.raises(ValueError, match=r"found no metrics.csv and no cases.csv"):
        read_runs([studies / "hearts_fold_0"])


def test_scans_that_have_chosen_the_epoch_promise_a_little_too_much() -> None:
    assert 0.8 < chosen_epoch(20, 0.0, trials=200) < 0.89
    assert chosen_epoch(20, 1.0, trials=200) == pytest.approx(0.905, abs=0.03)
