"""The runs that are timed are real ones: they end after their first step, without a fault."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks.result import run_quietly
from benchmarks.start_up import BARE, BUNDLE, first_step
from medsize.data import write_phantom_cohort


@pytest.mark.slow
def test_both_runs_reach_their_first_step(tmp_path: Path) -> None:
    write_phantom_cohort(tmp_path / "data", num_scans=12, shape=(64, 64, 12))
    stop = tmp_path / "stop.yaml"
    stop.write_text("+train#handlers:\n- _target_: benchmarks.start_up.StopAtFirstStep\n")
    for config in (BUNDLE / "configs" / "train.yaml", BARE):
        wall, processor = first_step([str(config), str(stop)], tmp_path)
        assert processor > 0
        assert wall > 0
    assert not list(tmp_path.rglob("model.pt"))


def test_a_run_that_fails_says_why(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="no_such_module"):
        run_quietly([sys.executable, "-m", "no_such_module"], tmp_path)
