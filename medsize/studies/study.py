"""Studies and their cells: the grid of runs that a YAML file describes. Ladders and studies of robustness share it."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from medsize.bundle.bundle_choice import find_bundle
from medsize.bundle.run.command import as_options, training_command
from medsize.bundle.run.folder import is_finished
from medsize.model_errors import found_and_expected
from medsize.studies.cohort_setting import CohortSetting, folder_name

__all__ = ["NOISE_OVERLAY", "Cell", "Study", "load_study"]

NOISE_OVERLAY = Path(__file__).with_name("noise.yaml")
"""Overlay of a bundle's train.yaml that adds noise to labels and records it."""


@dataclass(frozen=True)
class Cell(ABC):
    """One run of a study: a cohort, a seed, and what its kind of study adds."""

    cohort: str
    seed: int = field(kw_only=True)

    @property
    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """Names that distinguish the run from others of its cohort and seed."""

    def folder(self, work_dir: Path) -> Path:
        """Return the output folder of the run."""
        return work_dir / folder_name(self.cohort) / f"{folder_name(' '.join(self.names))}_seed_{self.seed}"

    def is_finished(self, work_dir: Path) -> bool:
        """Return whether the run has all its results."""
        return is_finished(self.folder(work_dir))

    def __str__(self) -> str:
        return " / ".join([self.cohort, *self.names, f"seed {self.seed}"])


CellT = TypeVar("CellT", bound=Cell)


class Study(BaseModel, Generic[CellT]):
    """A grid of runs of a bundle: a YAML file."""

    model_config = ConfigDict(extra="forbid")

    bundle: str
    """Name of the bundle, or its folder, from the study's own."""
    overrides: dict[str, Any] = {}
    """Values of single keys, of all runs."""
    cohorts: Sequence[CohortSetting] = Field(min_length=1)

    @model_validator(mode="after")
    def _is_sound(self) -> Study[CellT]:
        self.check_names()
        cells: dict[Path, CellT] = {}
        for cell in self.cells():
            other = cells.setdefault(cell.folder(Path()), cell)
            if other is not cell:
                raise ValueError(f"these would share a folder, rename one of them: {other}; {cell}")
        return self

    def check_names(self) -> None:
        """
        Check that names in the file fit each other.

        Raises:
            ValueError: naming one that does not.
        """

    @abstractmethod
    def cells(self) -> list[CellT]:
        """Return all runs, in the order in which they start."""

    @abstractmethod
    def settings(self, cell: CellT) -> dict[str, Any]:
        """
        Return the settings that distinguish a cell, whatever the folders of bundle and data.

        These are at least ``bundle``, ``cohort``, ``overlays`` and ``overrides``.
        """

    def chosen(self, only: str | None) -> list[CellT]:
        """
        Return the cells to run.

        Args:
            only: part of their names, a regular expression; ``None`` for all.

        Raises:
            ValueError: when it is not a regular expression, or no cell matches.
        """
        cells = self.cells()
        try:
            chosen = [cell for cell in cells if only is None or re.search(only, str(cell))]
        except re.error as e:
            raise ValueError(f"--only '{only}' is not a regular expression: {e}") from e
        if not chosen:
            raise ValueError(f"no cell's name matches '{only}'; the first is: {cells[0]}")
        return chosen

    def cohort(self, cell: CellT) -> CohortSetting:
        """Return the cohort of a cell."""
        return next(cohort for cohort in self.cohorts if cohort.name == cell.cohort)

    def make_ready(self, cells: Iterable[CellT], data_dir: Path, work_dir: Path) -> None:
        """
        Prepare the cohorts of these cells.

        Raises:
            ValueError: when there is no such module to prepare one.
            subprocess.CalledProcessError: when one cannot be prepared.
        """
        needed = {cell.cohort for cell in cells}
        for cohort in self.cohorts:
            if cohort.name in needed:
                cohort.make_ready(data_dir, work_dir)

    def bundle_of(self, cell: CellT) -> str:
        """Return the name of a cell's bundle, or its folder, from the study's own."""
        return self.bundle

    def values(self, cell: CellT, data_dir: Path, work_dir: Path) -> dict[str, Any]:
        """Return values of config keys that do not distinguish a cell, such as the folder of its data."""
        return dict(self.cohort(cell).locations(data_dir, work_dir))

    def command(self, cell: CellT, study_dir: Path, data_dir: Path, work_dir: Path) -> list[str]:
        """
        Return the command ``python -m monai.bundle run`` of a cell, without ``--resume``.

        Args:
            cell: a cell of the study.
            study_dir: folder of the study's file.
            data_dir: folder that holds the cohorts.
            work_dir: folder of the runs.

        Raises:
            ValueError: when there is no such bundle, or it has no such overlay.
        """
        settings = self.settings(cell)
        values = {**self.values(cell, data_dir, work_dir), **settings["overrides"]}
        if values.get("size_noise_file") is not None:
            values["size_noise_file"] = str(study_dir.resolve() / values["size_noise_file"])
        options = as_options({**values, "seed": cell.seed, "output_dir": cell.folder(work_dir)})
        overlays = [NOISE_OVERLAY, *settings["overlays"]]
        return training_command(find_bundle(self.bundle_of(cell), study_dir), overlays, options)


StudyT = TypeVar("StudyT", bound=Study)


def load_study(file: Path, kind: type[StudyT]) -> StudyT:
    """
    Read and check a study.

    Args:
        file: the study, YAML.
        kind: class of the study.

    Raises:
        ValueError: with all problems of the file.
    """
    try:
        return kind.model_validate(yaml.safe_load(file.read_text()))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as e:
        raise ValueError(f"{file}: it cannot be read: {e}") from e
    except ValidationError as e:
        schema = kind.model_json_schema()
        known = [key for part in (schema, *schema.get("$defs", {}).values()) for key in part.get("properties", {})]
        problems = [found_and_expected(error, known=known) for error in e.errors()]
        raise ValueError(f"{file}:\n" + "\n".join(f"- {problem}" for problem in problems)) from e
