"""Fixtures that tests share."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import settings

from medsize.data import write_phantom_cohort

# Times say nothing on a busy machine.
settings.register_profile("medsize", deadline=None)
settings.load_profile("medsize")

PROJECT = Path(__file__).parent.parent
BUNDLE_2D = PROJECT / "bundles" / "size_seg_2d"
BUNDLE_3D = PROJECT / "bundles" / "size_seg_3d"
LONGEST = ("test_wheel.py", "test_demo.py", "test_tutorial.py", "test_ladder.py", "test_run.py", "test_whole_study.py")
"""Files of a few tests that take long. They begin, so that no process is left with them at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first; pytest-xdist keeps the order with ``--no-loadscope-reorder``."""
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Facts about scans of the tests are not kept among the user's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MEDSIZE_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def _reproducible() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def real_scans() -> Path:
    """Folder of the real scans; tests that need them are skipped where it is missing, but not where it is named."""
    named = os.environ.get("MEDSIZE_TEST_DATA")
    folder = Path(named or PROJECT.parent / "shared" / "data")
    if named and not folder.is_dir():
        pytest.fail(f"MEDSIZE_TEST_DATA is {named}: there is no such folder")
    if not folder.is_dir():
        pytest.skip(f"no real scans at {folder}: set MEDSIZE_TEST_DATA to their folder")
    return folder


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small phantom cohort, not to be changed."""
    folder = tmp_path_factory.mktemp("phantom")
    write_phantom_cohort(folder, num_scans=9, shape=(32, 32, 6), spacing=(6.0, 6.0, 16.0), seed=1)
    return folder


@pytest.fixture(scope="session")
def warm_process() -> Iterator[subprocess.Popen]:
    """A process that has imported what commands need; see :mod:`tests.warm_process`."""
    server = [sys.executable, "-m", "tests.warm_process"]
    with subprocess.Popen(server, cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.stdin.close()


@pytest.fixture(scope="session")
def command(
    warm_process: subprocess.Popen, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., subprocess.CompletedProcess]:
    """Run a Python module as a user would, from a given folder, with a search path for modules of its own if given."""
    told = {name: tmp_path_factory.mktemp("told") / name for name in ("stdout", "stderr")}

    def run_warm(module: str, arguments: list[str], cwd: Path) -> subprocess.CompletedProcess:
        files = {name: str(file) for name, file in told.items()}
        request = {"module": module, "arguments": arguments, "cwd": str(cwd), "environment": dict(os.environ), **files}
        print(json.dumps(request), file=warm_process.stdin, flush=True)
        code = int(warm_process.stdout.readline())
        texts = (file.read_text(errors="replace") for file in told.values())
        return subprocess.CompletedProcess([module, *arguments], code, *texts)

    def run_fresh(arguments: list[str], cwd: Path, python_path: Path) -> subprocess.CompletedProcess:
        environment = {**os.environ, "PYTHONPATH": str(python_path)}
        return subprocess.run(
            [sys.executable, "-m", *arguments], cwd=cwd, env=environment, capture_output=True, text=True, check=False
        )

    def run(
        *arguments: object, cwd: Path, check: bool = True, python_path: Path | None = None
    ) -> subprocess.CompletedProcess:
        module, *options = map(str, arguments)
        result = (
            run_warm(module, options, cwd) if python_path is None else run_fresh([module, *options], cwd, python_path)
        )
        if check and result.returncode:
            pytest.fail(f"{arguments}: exit code {result.returncode}\n{result.stdout[-3000:]}\n{result.stderr[-3000:]}")
        return result

    return run
