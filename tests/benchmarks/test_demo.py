"""The demonstration."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from tests.conftest import PROJECT


def test_demo_prints_one_table_and_draws_a_figure(command: Callable, tmp_path: Path) -> None:
    arguments = ["--output-dir", tmp_path / "demo", "--scans", 6, "--epochs", 1]
    result = command("benchmarks.demo", *arguments, cwd=PROJECT)
    assert "phantom cohort, validation scans" in result.stdout
    for supervision in ("masks", "sizes + clicks", "sizes"):
        assert f"  {supervision} " in result.stdout
    assert "…" not in result.stdout.split("validation scans")[1]  # 80 columns hold the table
    for run in ("sizes", "sizes_and_clicks"):
        assert json.loads((tmp_path / "demo" / run / "summary.json").read_text())["size_level"] == "volume"
        assert list((tmp_path / "demo" / run / "first_labels").glob("*/first_labels.html"))
    assert not (tmp_path / "demo" / "masks" / "first_labels").exists()
    assert (tmp_path / "demo" / "phantom_overlays.png").read_bytes().startswith(b"\x89PNG")
