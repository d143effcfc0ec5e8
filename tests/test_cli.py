"""The command line."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from medsize import __version__
from medsize.cli import app
from medsize.data import load_cohort


def test_version(command: Callable, tmp_path: Path) -> None:
    assert command("medsize.cli", "--version", cwd=tmp_path).stdout.strip() == __version__


def test_phantom_writes_a_cohort(command: Callable, tmp_path: Path) -> None:
    command("medsize.cli", "phantom", "cohort", "--scans", 3, "--shape", 16, 16, 4, cwd=tmp_path)
    cohort = load_cohort(tmp_path / "cohort" / "datalist.json", tmp_path / "cohort")
    assert len(cohort.items) == 3


@pytest.mark.parametrize("command", ["init", "convert", "diameters", "measurements"])
def test_without_pydicom_dicom_is_refused_with_what_to_install(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "scans").mkdir()
    (tmp_path / "scans" / "1.dcm").write_bytes(bytes(128) + b"DICM")
    monkeypatch.setitem(sys.modules, "pydicom", None)
    monkeypatch.delitem(sys.modules, "medsize.scans.dicom.header", raising=False)
    result = CliRunner().invoke(app, [command, str(tmp_path / "scans"), "--output", str(tmp_path / "out")])
    assert result.exit_code == 1
    assert result.output.strip().endswith("pydicom is missing: pip install 'medsize[dicom]'")
    assert not (tmp_path / "out").exists()


def test_an_output_that_cannot_be_made_is_refused_without_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    arguments = ["phantom", str(tmp_path / "file" / "cohort"), "--scans", "1", "--shape", "8", "8", "2"]
    result = CliRunner(env={"COLUMNS": "400"}).invoke(app, arguments)
    assert result.exit_code == 2
    assert f"{tmp_path / 'file'}" in result.output
    assert "may you write there?" in result.output
