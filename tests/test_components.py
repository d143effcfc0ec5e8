"""What docs/components.md shows runs as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from monai.bundle import ConfigParser

from medsize.data import write_phantom_cohort

PAGE = Path(__file__).parents[1] / "docs" / "components.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def test_the_python_blocks_run() -> None:
    for block in blocks("python"):
        exec(compile(block, PAGE, "exec"), {})


def test_the_config_of_an_own_trainer_trains_and_evaluates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_phantom_cohort(tmp_path / "ph", num_scans=2, shape=(16, 16, 8), num_folds=1)
    monkeypatch.chdir(tmp_path)
    (block,) = blocks("yaml")
    config = ConfigParser(yaml.safe_load(block))
    config.get_parsed_content("trainer").run()
    assert set(config.get_parsed_content("loss").terms) == {"size", "potts", "agreement"}
    assert config.get_parsed_content("evaluator").state.metrics["size_error"] > 0
