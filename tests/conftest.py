"""Fixtures that tests share."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
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
FEW_WORDS = {"first_labels#first_labels#vocabularies": "[20]"}
"""Makes first labels of a training in a second: for tests that do not ask how good they are."""
LONGEST = ("test_wheel.py", "test_demo.py", "test_tutorial.py", "test_ladder.py", "test_run.py", "test_whole_study.py")
"""Files of a few tests that take long. They begin, so that no process is left with them at the end."""


def fit_overrides(settings: Mapping[str, str]) -> list[str]:
    """Settings as options of ``medsize fit``."""
    return [word for item in settings.items() for word in ("--override", "=".join(item))]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first; pytest-xdist keeps the order with ``--no-loadscope-reorder``."""
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Facts about scans of the tests are not kept among the user's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MEDSIZE_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True, scope="session")
def _less_garbage() -> None:
    """What was imported is not searched for garbage, which statsmodels asks for in each call."""
    gc.collect()
    gc.freeze()


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
def warm_processes() -> Iterator[Callable[..., subprocess.Popen]]:
    """Processes that have imported what commands need, with or without medsize; see :mod:`tests.warm_process`."""
    started: dict[bool, subprocess.Popen] = {}

    def warm_process(with_medsize: bool) -> subprocess.Popen:
        if with_medsize not in started:
            server = [sys.executable, "-m", "tests.warm_process", *(["medsize"] if with_medsize else [])]
            started[with_medsize] = subprocess.Popen(
                server, cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
        return started[with_medsize]

    yield warm_process
    for process in started.values():
        with process:
            process.stdin.close()


@pytest.fixture(scope="session")
def started(warm_processes: Callable[..., subprocess.Popen]) -> Callable[[], int]:
    """Number of the process of the command that runs."""

    def number() -> int:
        server = warm_processes(with_medsize=True).pid
        return int(Path(f"/proc/{server}/task/{server}/children").read_text().split()[0])

    return number


@pytest.fixture(scope="session")
def command(
    warm_processes: Callable[..., subprocess.Popen], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., subprocess.CompletedProcess]:
    """Run a Python module as a user would, from a given folder, with a search path for modules of its own if given."""
    told = {name: tmp_path_factory.mktemp("told") / name for name in ("stdout", "stderr")}

    def run(
        *arguments: object, cwd: Path, check: bool = True, python_path: Path | None = None
    ) -> subprocess.CompletedProcess:
        module, *options = map(str, arguments)
        environment = dict(os.environ) if python_path is None else {**os.environ, "PYTHONPATH": str(python_path)}
        files = {name: str(file) for name, file in told.items()}
        request = {"module": module, "arguments": options, "cwd": str(cwd), "environment": environment, **files}
        process = warm_processes(with_medsize=python_path is None)
        print(json.dumps(request), file=process.stdin, flush=True)
        code = int(process.stdout.readline())
        result = subprocess.CompletedProcess(
            [module, *options], code, *(file.read_text(errors="replace") for file in told.values())
        )
        if check and code:
            pytest.fail(f"{arguments}: exit code {code}\n{result.stdout[-3000:]}\n{result.stderr[-3000:]}")
        return result

    return run


@pytest.fixture(scope="session")
def no_medsize(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A search path for modules under which importing medsize fails."""
    folder = tmp_path_factory.mktemp("no_medsize")
    (folder / "medsize").mkdir()
    (folder / "medsize" / "__init__.py").write_text("raise ImportError('medsize must not be imported')")
    return folder
