"""File of a ladder: rungs of supervision on cohorts, with seeds."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from medsize.bundle.run.folder import WEIGHTS
from medsize.studies.cohort_setting import CohortSetting
from medsize.studies.study import Cell, Study

__all__ = ["LadderCell", "LadderStudy", "located_list"]

TEACHER_KEY = "teacher_checkpoint"


class Rung(BaseModel):
    """One kind of supervision, and its settings."""

    model_config = ConfigDict(extra="forbid")

    overlays: list[str] = []
    """Configs of the bundle to put over the cohort's."""
    overrides: dict[str, Any] = {}
    """Values of single keys."""
    teacher: str | None = None
    """Rung whose weights, of the same cohort and seed, teach this one."""
    locator: str | None = None
    """Rung on whole scans, of the same cohort and seed, whose network finds the regions of interest of this one."""
    replace_overlays: bool = False
    """Leave out the overlays of the cohort."""
    bundle: str | None = None
    """Bundle other than the study's, such as for a 2D teacher of a 3D network: a name or folder."""
    reference: str | None = None
    """Rung that its Dice is divided by, if it is not the study's, such as one of another network."""

    @property
    def needs(self) -> list[str]:
        """Rungs that must have run before."""
        return [rung for rung in (self.teacher, self.locator) if rung]


class LadderCohort(CohortSetting):
    """A cohort, and the rungs to try on it."""

    rungs: list[str]
    seeds: list[int] = [0]


@dataclass(frozen=True)
class LadderCell(Cell):
    """A cohort, a rung and a seed."""

    rung: str

    @property
    def names(self) -> tuple[str, ...]:
        """The rung."""
        return (self.rung,)


class LadderStudy(Study[LadderCell]):
    """Rungs of supervision to train a bundle under: a YAML file."""

    table: str
    """Path of the tables and the figure, without suffix, from the study's folder."""
    reference: str
    """Rung that the others' Dice is divided by."""
    comparisons: list[tuple[str, str]] = []
    """Pairs of rungs: the gain in Dice of the first over the second, subject by subject."""
    means: dict[str, Annotated[list[str], Field(min_length=1)]] = {}
    """Cohorts whose mean the tables also have, by its name: such as the groups that a cross-validation leaves out."""
    rungs: dict[str, Rung]
    cohorts: list[LadderCohort] = Field(min_length=1)

    def check_names(self) -> None:
        """Check that all named rungs and cohorts exist, and that each runs after those that it needs."""
        named = {self.reference, *(before for rung in self.rungs.values() for before in rung.needs)}
        named |= {rung.reference for rung in self.rungs.values() if rung.reference}
        named |= {rung for pair in self.comparisons for rung in pair}
        named |= {rung for cohort in self.cohorts for rung in cohort.rungs}
        unknown = sorted(named - self.rungs.keys())
        if unknown:
            raise ValueError(f"there is no rung {', '.join(unknown)}; there are: {', '.join(self.rungs)}")
        cohorts = [cohort.name for cohort in self.cohorts]
        strangers = sorted({name for mean in self.means.values() for name in mean} - set(cohorts))
        if strangers:
            raise ValueError(f"means: there is no cohort {', '.join(strangers)}; there are: {'; '.join(cohorts)}")
        if self.means.keys() & set(cohorts):
            raise ValueError(f"means: a cohort has the name {', '.join(self.means.keys() & set(cohorts))}, too")
        for cohort in self.cohorts:
            for rung in cohort.rungs:
                for before in self.rungs[rung].needs:
                    if before not in cohort.rungs[: cohort.rungs.index(rung)]:
                        raise ValueError(f"{cohort.name}: '{rung}' needs '{before}' before it")

    def cells(self) -> list[LadderCell]:
        """Return all runs, sorted by seed first: a study that stops early has one run of each rung."""
        return [
            LadderCell(cohort.name, rung, seed=seed)
            for cohort in self.cohorts
            for seed, rung in itertools.product(cohort.seeds, cohort.rungs)
        ]

    def needed_by(self, cell: LadderCell) -> list[LadderCell]:
        """Return the runs, of the same cohort and seed, that a run's teacher and locator come from."""
        return [replace(cell, rung=rung) for rung in self.rungs[cell.rung].needs]

    def settings(self, cell: LadderCell) -> dict[str, Any]:
        """Return the settings that distinguish a cell, without its seed, and those of the cells that it needs."""
        rung, cohort = self.rungs[cell.rung], self.cohort(cell)
        return {
            "rung": cell.rung,
            "bundle": Path(self.bundle_of(cell)).name,
            "cohort": cohort.source,
            "overlays": ([] if rung.replace_overlays else cohort.overlays) + rung.overlays,
            "overrides": {**self.overrides, **cohort.overrides, **rung.overrides},
            "teacher": rung.teacher and self.settings(replace(cell, rung=rung.teacher)),
            "locator": rung.locator and self.settings(replace(cell, rung=rung.locator)),
        }

    def bundle_of(self, cell: LadderCell) -> str:
        """Return the name of a cell's bundle, or its folder, from the study's own."""
        return self.rungs[cell.rung].bundle or self.bundle

    def values(self, cell: LadderCell, data_dir: Path, work_dir: Path) -> dict[str, Any]:
        """
        Return the locations of a cell's data, with the regions from its locator, and of its teacher's weights.

        First labels are in the cohort's folder: runs that start from the same ones, seed included, share them.
        """
        values, rung = super().values(cell, data_dir, work_dir), self.rungs[cell.rung]
        values["first_labels_dir"] = self.cohort(cell).folder(work_dir) / "first_labels"
        if rung.locator:
            values["data_list"] = located_list(replace(cell, rung=rung.locator).folder(work_dir))
        if rung.teacher:
            values[TEACHER_KEY] = replace(cell, rung=rung.teacher).folder(work_dir) / WEIGHTS
        return values


def located_list(locator: Path) -> Path:
    """Return the data list with the regions that a run found, beside its folder: its paths may start there."""
    return locator.with_name(f"located_by_{locator.name}.json")
