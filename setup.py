"""The packages. All else is in pyproject.toml, which cannot say that bundles/ goes into the package."""

import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py


class CleanBuild(build_py):
    """Build from the source alone: a wheel would take up files of an earlier build that the source has no more."""

    def run(self) -> None:
        if not self.editable_mode and Path(self.build_lib).exists():
            shutil.rmtree(self.build_lib)
        super().run()


setup(
    packages=[*find_packages(include=["medsize*"]), "medsize.bundles"],
    package_dir={"medsize.bundles": "bundles"},
    cmdclass={"build_py": CleanBuild},
)
