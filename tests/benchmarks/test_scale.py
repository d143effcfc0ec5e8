"""The benchmark of growth takes every kind of point, and none twice."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks import cohort_start, scale


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    """Points that a fresh process would take, for the sake of time; those of torchrun are taken as ever."""

    def run(module: str, *arguments: object) -> list[float]:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", [module, *map(str, arguments)])
        importlib.import_module(module).main()
        return [float(number) for number in capsys.readouterr().out.splitlines()[-1].split()]

    for module in (scale, cohort_start):
        monkeypatch.setattr(module, "run_module", run)


@pytest.mark.slow
@pytest.mark.usefixtures("in_this_process")
def test_every_kind_has_finite_figures_and_no_point_is_taken_twice(tmp_path: Path) -> None:
    tiny = {"side": [16], "classes": [3], "scans": [10], "processes": [1]}
    scale.main(output_dir=tmp_path, only=None, **tiny)
    file = tmp_path / "scale.csv"
    table = pd.read_csv(file)
    assert set(table["kind"]) == {kind.value for kind in scale.Kind}
    assert set(table["case"]) == {
        *("two passes", "one pass", "size KL", "cross-entropy", "first start", "later start", "step")
    }
    assert np.isfinite(table["value"]).all()
    assert (table.loc[table["unit"] == "s", "value"] > 0).all()
    assert (tmp_path / "scale.png").stat().st_size > 10_000
    page = (tmp_path / "scale.md").read_text()
    assert all(f"## {kind.value.capitalize()}" in page for kind in scale.Kind)

    taken = file.read_bytes()
    scale.main(output_dir=tmp_path, only=None, **tiny)
    assert file.read_bytes() == taken


def test_a_point_that_was_cut_short_is_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scale, "run_module", lambda *_: [2.0**20, 1.0])
    file = tmp_path / "scale.csv"
    scale.take(scale.Kind.SIDE, 16, file)
    whole = file.read_text().splitlines()
    file.write_text("\n".join(whole[:3]) + "\n")  # two passes are there, one pass is not
    scale.take(scale.Kind.SIDE, 16, file)
    assert [line.rpartition(",")[0] for line in file.read_text().splitlines()] == [
        line.rpartition(",")[0] for line in whole
    ]


def test_the_exponent_of_a_growth_is_that_of_its_power() -> None:
    work = np.array([100, 1000, 10000])
    assert scale.growth(pd.Series(3.0 * work**1.5, index=work)) == pytest.approx(1.5)
    assert np.isnan(scale.growth(pd.Series([1.0], index=[100])))


def test_the_modelled_step_adds_what_a_ring_sends() -> None:
    assert scale.modelled_step(1, compute=0.2, averaged=5e6) == 0.2
    assert scale.modelled_step(2, compute=0.2, averaged=5e6) == pytest.approx(0.2 + 5e6 / scale.BANDWIDTH)
