"""A short fuzzing; ``make fuzz`` does a long one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("highdicom", reason="SEG needs highdicom: pip install 'medsize[dicom]'")


def test_no_random_fault_ends_in_a_traceback_a_hang_or_wrong_facts(command: Callable, tmp_path: Path) -> None:
    result = command("tests.fuzz", "--seconds", 20, "--seed", 100_000, cwd=tmp_path, check=False)
    assert result.returncode == 0, result.stdout
    assert " prepared, " in result.stdout
