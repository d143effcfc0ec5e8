"""What the tests share."""

from __future__ import annotations

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
    """Folder of the real scans; tests that need them are skipped where it is missing."""
    folder = Path(os.environ.get("MEDSIZE_TEST_DATA", PROJECT.parent / "shared" / "data"))
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
def command() -> Callable[..., subprocess.CompletedProcess]:
    """Run a Python module as a user would, from a given folder, with a search path for modules of its own if given."""

    def run(
        *arguments: object, cwd: Path, check: bool = True, python_path: Path | None = None
    ) -> subprocess.CompletedProcess:
        result = subprocess.run(
            [sys.executable, "-m", *map(str, arguments)],
            cwd=cwd,
            env=os.environ if python_path is None else {**os.environ, "PYTHONPATH": str(python_path)},
            capture_output=True,
            text=True,
            check=False,
        )
        if check and result.returncode:
            pytest.fail(f"{arguments}: exit code {result.returncode}\n{result.stdout[-3000:]}\n{result.stderr[-3000:]}")
        return result

    return run
