"""The command line, and the demonstration."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from medsize import __version__
from medsize.data import load_cohort
from tests.conftest import PROJECT


def test_version(command: Callable, tmp_path: Path) -> None:
    assert command("medsize.cli", "--version", cwd=tmp_path).stdout.strip() == __version__


def test_phantom_writes_a_cohort(command: Callable, tmp_path: Path) -> None:
    command("medsize.cli", "phantom", "cohort", "--scans", 3, "--shape", 16, 16, 4, cwd=tmp_path)
    cohort = load_cohort(tmp_path / "cohort" / "datalist.json", tmp_path / "cohort")
    assert len(cohort.items) == 3


def test_demo_prints_one_table_and_draws_a_figure(command: Callable, tmp_path: Path) -> None:
    arguments = ["--output-dir", tmp_path / "demo", "--scans", 6, "--epochs", 1]
    result = command("benchmarks.demo", *arguments, cwd=PROJECT)
    assert "phantom cohort, validation scans" in result.stdout
    for supervision in ("masks", "sizes + clicks", "sizes"):
        assert f"│ {supervision} " in result.stdout
    assert (tmp_path / "demo" / "phantom_overlays.png").read_bytes().startswith(b"\x89PNG")
