"""Studies whose cells are quick: a stub in place of a training."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from medsize.studies.cell_settings import record_settings
from medsize.studies.robustness import RobustnessCell, RobustnessStudy, run_robustness
from medsize.studies.study import load_study
from tests.conftest import BUNDLE_2D

STUB = Path(__file__).parent / "stub_cell.py"


def study(**changes: Any) -> dict[str, Any]:
    """12 cells: clean, 0.3 and 0.6, of sizes and of masks, by two seeds."""
    return {
        "title": "a stub",
        "bundle": str(BUNDLE_2D),
        "reference": "masks",
        "seeds": [0, 1],
        "gallery": 0,
        "cohorts": [{"name": "Phantoms", "dataset_dir": "phantoms"}],
        "networks": {"UNet": {}},
        "supervision": {
            "sizes": {"noise_on": "sizes", "noise": {"gaussian": [0.3, 0.6]}, "minutes_per_scan": 1},
            "masks": {"noise_on": "masks", "noise": {"displaced": [0.3, 0.6]}, "minutes_per_scan": 20},
        },
        **changes,
    }


@pytest.fixture
def study_file(tmp_path: Path) -> Path:
    """A study of stubs."""
    file = tmp_path / "study.yaml"
    file.write_text(yaml.safe_dump(study(), sort_keys=False))
    return file


def stub_report(
    folder: Path, settings: dict[str, Any], only: str = "", change: Callable[[], None] = lambda: None
) -> Path:
    """
    Folder of the report of a study of stubs, made without Dask; of the cells whose names hold ``only``, after a change.
    """
    (folder / "study.yaml").write_text(yaml.safe_dump(settings, sort_keys=False))
    command = stub_command(folder, epochs=0)
    assert run_robustness(folder / "study.yaml", folder, folder, report_only=True).report is None
    loaded = load_study(folder / "study.yaml", RobustnessStudy)
    for cell in loaded.cells():
        if only in str(cell):
            record_settings(loaded, cell, folder)
            subprocess.run([*command(cell), "--resume", "False"], check=True)
    change()
    page = run_robustness(folder / "study.yaml", folder, folder, report_only=True).report
    assert page == folder / "report" / "report.html"
    return page.parent


def stub_command(work_dir: Path, epochs: int = 3, seconds: float = 0.0, broken: str = "") -> Any:
    """Return what runs a cell in place of a training; ``broken`` names labels whose cells fail."""

    def command(cell: RobustnessCell) -> list[str]:
        of_masks = cell.supervision == "masks"
        facts = [cell.folder(work_dir), cell.level if cell.noise else 0.0, of_masks, cell.seed, epochs, seconds]
        fails = bool(broken) and broken in cell.labels
        return [sys.executable, str(STUB), *map(str, facts), str(fails)]

    return command
