"""The wheel, installed into an environment of its own, works in an empty folder, without a clone."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

import medsize
from medsize.bundle.run.command import as_options
from tests.conftest import FEW_WORDS, PROJECT

FOLDERS = ("medsize", "bundles", "data_prep", "benchmarks", "tests")
FILES = ("pyproject.toml", "setup.py", "README.md", "LICENSE")
BUNDLES = ("size_seg_2d", "size_seg_3d")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy, since a build writes into its source; an earlier build has left a module there."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in FOLDERS:
        ignore = shutil.ignore_patterns("__pycache__", "runs")
        shutil.copytree(PROJECT / name, folder / "source" / name, ignore=ignore)
    for name in FILES:
        shutil.copy(PROJECT / name, folder / "source")
    left = folder / "source" / "build" / "lib" / "medsize" / "no_more.py"
    left.parent.mkdir(parents=True)
    left.write_text("")
    pip("wheel", folder / "source", "--no-build-isolation", "--wheel-dir", folder)
    (built,) = folder.glob("*.whl")
    return built


def pip(command: str, *arguments: object, python: Path = Path(sys.executable)) -> None:
    """Run pip, offline."""
    options = ["--no-deps", "--no-index", "--quiet", "--disable-pip-version-check"]
    subprocess.run([sys.executable, "-m", "pip", "--python", python, command, *options, *arguments], check=True)


@dataclass(frozen=True)
class Installation:
    """An environment with the wheel, whose dependencies are those of the running one."""

    folder: Path
    empty: Path
    """Where its commands run."""

    @property
    def site_packages(self) -> Path:
        return Path(sysconfig.get_path("purelib", vars={"base": str(self.folder), "platbase": str(self.folder)}))

    def run(self, *arguments: object, check: bool = True) -> subprocess.CompletedProcess:
        """Run ``medsize``, or another program of the environment by its path."""
        program = [] if Path(str(arguments[0])).is_absolute() else [self.folder / "bin" / "medsize"]
        result = subprocess.run(
            [*program, *map(str, arguments)],
            cwd=self.empty,
            env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
            capture_output=True,
            text=True,
            check=False,
        )
        if check and result.returncode:
            pytest.fail(f"{arguments}: {result.returncode}\n{result.stdout[-3000:]}\n{result.stderr[-3000:]}")
        return result

    def python(self, code: str) -> str:
        """Return what a program in the environment prints."""
        return self.run(self.folder / "bin" / "python", "-c", code).stdout.strip()

    def files(self) -> dict[str, int]:
        """Installed files, and when they were changed."""
        return {str(file): file.stat().st_mtime_ns for file in self.site_packages.rglob("*")}


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    installation = Installation(folder, tmp_path_factory.mktemp("empty"))
    # A folder that a .pth file names is searched last, and its own .pth files, which an editable installation needs,
    # are not read.
    dependencies = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (installation.site_packages / "dependencies.pth").write_text("\n".join(dependencies))
    pip("install", wheel, python=folder / "bin" / "python")
    return installation


def test_the_wheel_holds_the_package_and_the_bundles_and_nothing_else(wheel: Path) -> None:
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    package = PROJECT / "medsize"
    files = [file for file in package.rglob("*") if file.is_file() and "__pycache__" not in file.parts]
    expected = {f"medsize/{file.relative_to(package).as_posix()}" for file in files}
    assert {name for name in names if not name.startswith("medsize/bundles/")} == expected
    assert {"medsize/py.typed", "medsize/cohort/report.html", "medsize/studies/robustness/report.html.j2"} <= expected
    for bundle in BUNDLES:
        folder = PROJECT / "bundles" / bundle
        kept = ["LICENSE", "docs/README.md", "docs/data_license.txt", "models/model.pt"]
        kept += [f"configs/{file.name}" for file in (folder / "configs").iterdir()]
        kept += [f"scripts/{file.name}" for file in (folder / "scripts").glob("*.py")]
        for file in kept:
            assert zipfile.ZipFile(wheel).read(f"medsize/bundles/{bundle}/{file}") == (folder / file).read_bytes()
    others = [name for name in names if name.startswith("medsize/bundles/") and name.split("/")[2] not in BUNDLES]
    assert others == []
    assert not [name for name in names if name.endswith((".csv", ".png"))]


EVERY_MODULE = """
import importlib, pathlib, pkgutil, medsize
for module in pkgutil.walk_packages(medsize.__path__, "medsize."):
    if module.name != "medsize.__main__":
        assert importlib.import_module(module.name).__file__.startswith({package!r}), module.name
for name in ("data_prep", "benchmarks", "tests", "bundles"):
    assert importlib.util.find_spec(name) is None, name

from jinja2 import PackageLoader
PackageLoader("medsize.studies.robustness", ".").get_source(None, "report.html.j2")

from medsize.bundle.bundle_choice import find_bundle
from medsize.bundle.sharing.export import export_bundle
export_bundle(find_bundle("size_seg_3d"), pathlib.Path("shared"), vendor=True)

from medsize.studies.cohort_setting import CohortSetting
try:
    CohortSetting(name="ACDC", prepare=["data_prep.acdc"], dataset_dir="ACDC").make_ready(*[pathlib.Path()] * 2)
except ValueError as e:
    print(e)
"""


def test_every_module_works_without_a_clone(installed: Installation) -> None:
    before = installed.files()
    said = installed.python(EVERY_MODULE.format(package=str(installed.site_packages / "medsize")))
    assert "found no module data_prep" in said
    vendored = installed.empty / "shared" / "scripts" / "medsize"
    assert (vendored / "losses" / "size_kl.py").is_file()
    assert not (vendored / "bundles").exists()
    assert installed.files() == before


def test_every_step_works_in_an_empty_folder(installed: Installation) -> None:
    package = installed.site_packages / "medsize"
    before = installed.files()

    assert installed.run("--version").stdout.strip() == medsize.__version__
    installed.run("phantom", "scans", "--scans", 6, "--shape", 16, 16, 4, "--spacing", 6, 6, 16)
    said = installed.run("init", "scans", "--output", "cohort", "--bundle", "size_seg_2d", "--folds", 2).stdout
    fit, _, check, train, run = (shlex.split(line) for line in said.partition("To go on:\n")[2].splitlines())
    assert "report.html" in installed.run(*fit[1:], "--plan-only").stdout
    assert check[:3] == ["medsize", "check", "size_seg_2d"]
    assert train[:3] == ["medsize", "train", "size_seg_2d"]
    assert run[run.index("--bundle_root") + 1] == str(package / "bundles" / "size_seg_2d")
    assert (installed.empty / "cohort" / "report.html").is_file()
    assert "Nothing was found that would stop this run." in installed.run(*check[1:]).stdout

    small = ["--roi_size", "[32,32]", "--max_epochs", 1, "--val_interval", 1, *as_options(FEW_WORDS)]
    shown = installed.run("train", "size_seg_2d", "--overlay", "cohort/cohort.yaml", *small).stdout.splitlines()[0]
    assert f"--bundle_root {package}/bundles/size_seg_2d " in shown
    default = installed.empty / "runs" / "default"
    assert (default / "summary.json").is_file()
    assert yaml.safe_load((default / "config.yaml").read_text())["output_dir"] == "runs/default"
    installed.run("predict", default, "scans/images", "--output", "predictions")
    assert len(list((installed.empty / "predictions" / "masks").glob("*.nii.gz"))) == 6

    assert installed.files() == before


def test_a_bundle_that_is_not_there_is_refused_with_what_may_be_meant(installed: Installation) -> None:
    refused = installed.run("train", "size_seg_2", check=False)
    assert refused.returncode == 2
    said = re.sub(r"[\s│]+", " ", refused.stderr)
    assert "found no such bundle, expected size_seg_2d, size_seg_3d" in said
    assert "Did you mean 'size_seg_2d'?" in said
