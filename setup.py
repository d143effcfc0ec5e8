"""The packages. All else is in pyproject.toml, which cannot say that bundles/ goes into the package."""

from setuptools import find_packages, setup

setup(packages=[*find_packages(include=["medsize*"]), "medsize.bundles"], package_dir={"medsize.bundles": "bundles"})
