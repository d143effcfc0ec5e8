"""Runs are supervised by a process of their own, which starts at once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from medsize.bundle.supervise import run_supervised


def test_what_workers_and_supervisors_import_is_light() -> None:
    """The workers of a study unpickle :func:`run_supervised` by its module; every cell starts a supervisor."""
    program = "import sys; before = set(sys.modules); import medsize.bundle.supervise; "
    program += "print(*{name.partition('.')[0] for name in set(sys.modules) - before} - sys.stdlib_module_names)"
    program += "; print(*(name for name in sys.modules if name.startswith('medsize')))"
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    foreign, own = told.splitlines()
    assert foreign == "medsize"
    assert set(own.split()) == {
        "medsize",
        "medsize.bundle",
        "medsize.bundle.run",
        "medsize.bundle.run.folder",
        "medsize.bundle.supervise",
    }


def test_a_run_that_cannot_start_is_told_of_by_its_cause(tmp_path: Path) -> None:
    missing = run_supervised(str(tmp_path / "run"), ["/no/such/program"])
    assert missing.kind == "failed"
    assert "/no/such/program" in missing.reason
    (tmp_path / "file").touch()
    assert str(tmp_path / "file") in run_supervised(str(tmp_path / "file" / "run"), ["true"]).reason
