"""What a ladder runs: rungs of supervision, on cohorts, with seeds."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator

from medsize.studies.cohort_setting import CohortSetting, folder_name
from medsize.studies.study_file import read_study

__all__ = ["Cell", "Study", "load_study"]


class Rung(BaseModel):
    """One kind of supervision: what sets its run apart."""

    model_config = ConfigDict(extra="forbid")

    overlays: list[str] = []
    """Configs of the bundle to put over the cohort's."""
    overrides: dict[str, Any] = {}
    """Values of single keys."""
    teacher: str | None = None
    """A rung whose weights, of the same cohort and seed, teach this one."""
    locator: str | None = None
    """A rung on whole scans, of the same cohort and seed, whose network finds the regions of interest of this one."""
    replace_overlays: bool = False
    """Leave out the overlays of the cohort."""
    bundle: str | None = None
    """Another bundle than the study's, for a 2D teacher of a 3D network: its folder, from the study's own."""
    reference: str | None = None
    """The rung that its Dice is divided by, where that is not the study's: another network's, say."""

    @property
    def needs(self) -> list[str]:
        """Rungs that must have run before."""
        return [rung for rung in (self.teacher, self.locator) if rung]


class LadderCohort(CohortSetting):
    """A cohort, and the rungs to try on it."""

    rungs: list[str]
    seeds: list[int] = [0]


class Study(BaseModel):
    """What to run: a YAML file."""

    model_config = ConfigDict(extra="forbid")

    bundle: str
    """Folder of the bundle, from the study's own."""
    table: str
    """Where the tables and the figure go: a path without suffix, from the study's folder."""
    reference: str
    """The rung that the others' Dice is divided by."""
    overrides: dict[str, Any] = {}
    comparisons: list[tuple[str, str]] = []
    """Pairs of rungs: how much more Dice the first has than the second, subject by subject."""
    rungs: dict[str, Rung]
    cohorts: list[LadderCohort]

    @model_validator(mode="after")
    def _rungs_exist(self) -> Study:
        named = {self.reference, *(before for rung in self.rungs.values() for before in rung.needs)}
        named |= {rung.reference for rung in self.rungs.values() if rung.reference}
        named |= {rung for pair in self.comparisons for rung in pair}
        named |= {rung for cohort in self.cohorts for rung in cohort.rungs}
        unknown = sorted(named - self.rungs.keys())
        if unknown:
            raise ValueError(f"there is no rung {', '.join(unknown)}; there are: {', '.join(self.rungs)}")
        for cohort in self.cohorts:
            for rung in cohort.rungs:
                for before in self.rungs[rung].needs:
                    if before not in cohort.rungs[: cohort.rungs.index(rung)]:
                        raise ValueError(f"{cohort.name}: '{rung}' needs '{before}' before it")
        return self

    def cells(self) -> Iterator[Cell]:
        """All runs, by seed first, so that a study that is stopped early has one of each."""
        for cohort in self.cohorts:
            for seed, rung in itertools.product(cohort.seeds, cohort.rungs):
                yield Cell(cohort, rung, seed)

    def needed_by(self, cell: Cell) -> list[Cell]:
        """The runs, of the same cohort and seed, that a run's teacher and locator come from."""
        return [Cell(cell.cohort, rung, cell.seed) for rung in self.rungs[cell.rung].needs]

    def settings(self, cell: Cell) -> dict[str, Any]:
        """What sets a cell apart but for its seed, wherever bundles and data are; with that of the cells it needs."""
        rung = self.rungs[cell.rung]
        return {
            "rung": cell.rung,
            "bundle": Path(rung.bundle or self.bundle).name,
            "cohort": cell.cohort.source,
            "overlays": ([] if rung.replace_overlays else cell.cohort.overlays) + rung.overlays,
            "overrides": {**self.overrides, **cell.cohort.overrides, **rung.overrides},
            "teacher": rung.teacher and self.settings(Cell(cell.cohort, rung.teacher, cell.seed)),
            "locator": rung.locator and self.settings(Cell(cell.cohort, rung.locator, cell.seed)),
        }


@dataclass(frozen=True)
class Cell:
    """One run: a cohort, a rung and a seed."""

    cohort: LadderCohort
    rung: str
    seed: int

    def folder(self, work_dir: Path) -> Path:
        """Where the run's output goes."""
        return self.cohort.folder(work_dir) / f"{folder_name(self.rung)}_seed_{self.seed}"

    def __str__(self) -> str:
        return f"{self.cohort.name} / {self.rung} / seed {self.seed}"


def load_study(file: Path) -> Study:
    """
    Read and check a study.

    Raises:
        ValueError: naming what is wrong with the file.
    """
    return read_study(file, Study)
