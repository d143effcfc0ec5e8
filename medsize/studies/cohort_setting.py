"""A cohort as a study uses it."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import subprocess
import sys
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

import medsize
from medsize.files import atomic_write, locked

__all__ = ["CohortSetting", "folder_name"]


class CohortSetting(BaseModel):
    """A cohort as the network sees it."""

    model_config = ConfigDict(extra="forbid")

    name: str
    prepare: list[str] = []
    """Module and arguments that write the data list, before ``--output-dir``; run in the current folder."""
    dataset_dir: str
    """The cohort's folder below the data folder. The data list's paths start there, unless ``prepare`` writes scans."""
    prepare_writes_scans: bool = False
    """The paths start from the folder of the data list that ``prepare`` writes."""
    data_list: str | None = None
    """Data list below the data folder. Default: the one that ``prepare`` writes."""
    overlays: list[str] = []
    overrides: dict[str, Any] = {}

    def folder(self, work_dir: Path) -> Path:
        """Return the folder in which the cohort is prepared, and to which its runs go."""
        return work_dir / folder_name(self.name)

    @property
    def source(self) -> dict[str, Any]:
        """Source of its scans and labels, below the data folder."""
        return self.model_dump(include={"prepare", "dataset_dir", "prepare_writes_scans", "data_list"})

    def make_ready(self, data_dir: Path, work_dir: Path) -> None:
        """
        Run ``prepare``, unless the same command has succeeded before; other processes wait for it.

        Raises:
            ValueError: when there is no such module.
            subprocess.CalledProcessError: when it fails.
        """
        if not self.prepare:
            return
        module, *options = self.prepare
        folder = self.folder(work_dir)
        arguments = [module, str(data_dir / self.dataset_dir), *options, "--output-dir", str(folder)]
        done = folder / "prepared.txt"
        with locked(folder, "prepare.lock"):
            if (folder / "datalist.json").is_file() and done.is_file() and done.read_text() == shlex.join(arguments):
                return
            subprocess.run([sys.executable, "-m", *arguments], env=self._environment(module), check=True)
            with atomic_write(done) as partial:
                partial.write_text(shlex.join(arguments))

    def _environment(self, module: str) -> dict[str, str]:
        """Return variables by which Python finds the module, also in a clone whose folder is not the current one."""
        clone = str(Path(medsize.__file__).parents[1])
        package = module.partition(".")[0]
        if PathFinder.find_spec(package, [os.getcwd()]) or importlib.util.find_spec(package):
            return dict(os.environ)
        if PathFinder.find_spec(package, [clone]):
            return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [clone, os.environ.get("PYTHONPATH")]))}
        raise ValueError(
            f"cohort {self.name}: prepare: found no module {package}, expected it in the current folder. data_prep is "
            "a part of medsize's repository, not of its installation: run the study in a clone, or prepare the cohort "
            "by medsize init, and name its data_list."
        )

    def locations(self, data_dir: Path, work_dir: Path) -> dict[str, Path]:
        """Return ``dataset_dir`` and ``data_list`` of the cohort's runs."""
        prepared = self.folder(work_dir) / "datalist.json"
        data_list = prepared if self.data_list is None else data_dir / self.data_list
        dataset_dir = data_list.parent if self.prepare_writes_scans else data_dir / self.dataset_dir
        return {"dataset_dir": dataset_dir, "data_list": data_list}


def folder_name(name: str) -> str:
    """Return a name in lower case letters, digits and underscores."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
