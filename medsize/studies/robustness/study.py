"""File of a study of robustness: cohorts, networks, supervisions, and the noise in labels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from medsize.sizes.size_noise import MEASURED, SIZE_NOISE_KINDS
from medsize.studies.cohort_setting import folder_name
from medsize.studies.study import Cell, Study
from medsize.transforms.perturb_mask import MASK_NOISES

__all__ = ["Cluster", "RobustnessCell", "RobustnessStudy"]

COARSE_SIZES = {"cohort mean": "cohort mean", "tags only": "tags"}
"""Kinds of noise on sizes that are a ``size_detail`` of the bundle."""
SHARES = ("swapped", "missing", "dropped slices", "dropped structures")
"""Kinds whose level is the share of wrong labels."""
NO_LEVEL = ("terciles", MEASURED, *COARSE_SIZES)
KINDS = {"sizes": (*SIZE_NOISE_KINDS, *COARSE_SIZES), "masks": tuple(MASK_NOISES)}
Level = Annotated[float, Field(gt=0)]
Minutes = Annotated[float, Field(ge=0)]


class Network(BaseModel):
    """A network, and the settings of its training."""

    model_config = ConfigDict(extra="forbid")

    overlays: list[str] = []
    """Configs of the bundle to put over the cohort's."""
    overrides: dict[str, Any] = {}


class Supervision(BaseModel):
    """Labels that the networks learn from, and the kinds of noise in them."""

    model_config = ConfigDict(extra="forbid")

    overlays: list[str] = []
    """Configs of the bundle to put over the network's."""
    overrides: dict[str, Any] = {}
    noise_on: Literal["sizes", "masks"]
    noise: dict[str, list[Level]] = {}
    """
    Levels to try of each kind of noise, in the order in which they shall run; an empty list for a kind without levels.
    Labels as they are given are always tried.
    """
    minutes_per_scan: Minutes | None = None
    """Cost of annotation: minutes of a reader for every training scan."""
    minutes_by_noise: dict[str, Minutes] = {}
    """Cost of kinds of noise that differ: "small, medium or large" takes less than a measurement."""

    @model_validator(mode="after")
    def _kinds_exist(self) -> Supervision:
        known = KINDS[self.noise_on]
        for kind, levels in self.noise.items():
            if kind not in known:
                raise ValueError(f"noise on {self.noise_on} has no kind '{kind}'; there are: {', '.join(known)}")
            if kind in NO_LEVEL and levels:
                raise ValueError(f"'{kind}' has no levels: write '{kind}: []'")
            if kind not in NO_LEVEL and not levels:
                raise ValueError(f"'{kind}' needs levels: write '{kind}: [0.1, 0.3]'")
            if kind in SHARES and max(levels) > 1:
                raise ValueError(f"the levels of '{kind}' are shares: none can be above 1, got {max(levels):g}")
            if len(set(levels)) < len(levels):
                raise ValueError(f"'{kind}' has the same level twice: {levels}")
        unused = [kind for kind in self.minutes_by_noise if kind not in self.noise]
        if unused:
            raise ValueError(f"minutes_by_noise names {', '.join(unused)}, which noise does not")
        return self


class Cluster(BaseModel):
    """Workers of a batch system, started by dask-jobqueue."""

    model_config = ConfigDict(extra="forbid")

    system: Literal["slurm", "pbs"]
    workers: Annotated[int, Field(ge=1)]
    """Number of jobs; each runs one cell at a time."""
    memory: str
    """Memory of a job, such as 8GB."""
    options: dict[str, Any] = {}
    """Further arguments of dask_jobqueue.SLURMCluster or PBSCluster: queue, walltime, job_extra_directives …"""


@dataclass(frozen=True)
class RobustnessCell(Cell):
    """A cohort, a network, a supervision with its kind and level of noise, and a seed."""

    network: str
    supervision: str
    noise: str | None
    """Kind of noise; ``None``: the labels as they are given."""
    level: float

    @property
    def labels(self) -> str:
        """Supervision and noise in words."""
        if self.noise is None:
            return f"{self.supervision}, as given"
        return f"{self.supervision}, {self.noise}" + ("" if self.noise in NO_LEVEL else f" {self.level:g}")

    @property
    def names(self) -> tuple[str, ...]:
        """Network and labels."""
        return self.network, self.labels


class RobustnessStudy(Study[RobustnessCell]):
    """Cohorts and networks to train under labels with many kinds of noise: a YAML file."""

    title: str
    report: str | None = None
    """Folder for the report, from the study's own. Default: ``report`` in the work folder."""
    networks: dict[str, Network] = Field(min_length=1)
    supervision: dict[str, Supervision] = Field(min_length=1)
    seeds: list[int] = Field(min_length=1)
    reference: str
    """Supervision whose labels, as given, all others are compared with: masks, if there are any."""
    non_inferiority_margin: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """Loss of Dice against the reference that does not matter."""
    gallery: Annotated[int, Field(ge=0)] = 6
    """Number of the worst cases that the report shows. These are pictures of scans: set 0 for a public report."""
    cluster: Cluster | None = None
    """Batch system to run the cells. Default: this machine."""

    def check_names(self) -> None:
        """Check that the reference exists, and that no two names or seeds are the same."""
        if self.reference not in self.supervision:
            raise ValueError(
                f"reference: no supervision is '{self.reference}'; there are: {', '.join(self.supervision)}"
            )
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds: the same one twice: {self.seeds}")
        for what, names in (
            ("cohorts", [cohort.name for cohort in self.cohorts]),
            ("networks", list(self.networks)),
            ("supervision", list(self.supervision)),
        ):
            if len({folder_name(name) for name in names}) < len(names):
                raise ValueError(f"{what}: two names give the same folder: {', '.join(names)}")

    def cells(self) -> list[RobustnessCell]:
        """
        Return all runs, in the order in which they start.

        For each seed, first come the labels as they are given, then the first level of every kind of noise, then the
        second. So a study that stops early has the most important runs.
        """
        found = []
        for seed in self.seeds:
            for noise, level, supervision in _conditions(self.supervision):
                for cohort in self.cohorts:
                    found += [
                        RobustnessCell(cohort.name, network, supervision, noise, level, seed=seed)
                        for network in self.networks
                    ]
        return found

    def by_kind_of_error(self, cells: Sequence[RobustnessCell]) -> list[RobustnessCell]:
        """Return cells in the order of a table: kind by kind, from labels as given to the most wrong."""
        kinds = [(name, kind) for name, given in self.supervision.items() for kind in (None, *given.noise)]
        return sorted(cells, key=lambda cell: (kinds.index((cell.supervision, cell.noise)), cell.level, cell.seed))

    def settings(self, cell: RobustnessCell) -> dict[str, Any]:
        """Return the settings that distinguish a cell, with its seed."""
        cohort, network = self.cohort(cell), self.networks[cell.network]
        supervision = self.supervision[cell.supervision]
        overrides = {**self.overrides, **cohort.overrides, **network.overrides, **supervision.overrides}
        return {
            "bundle": Path(self.bundle).name,
            "cohort": cohort.source,
            "overlays": [*cohort.overlays, *network.overlays, *supervision.overlays],
            "overrides": {**overrides, **_noise_keys(supervision.noise_on, cell.noise, cell.level), "seed": cell.seed},
        }

    def values(self, cell: RobustnessCell, data_dir: Path, work_dir: Path) -> dict[str, Any]:
        """Return the locations of a cell's data, and whether it keeps its masks for the gallery."""
        return super().values(cell, data_dir, work_dir) | {"save_masks": self.gallery > 0}

    def minutes(self, cell: RobustnessCell, scans: int | None) -> float | None:
        """Return the cost of annotating so many scans by the study's model; ``None`` if it states none."""
        supervision = self.supervision[cell.supervision]
        per_scan = supervision.minutes_by_noise.get(cell.noise or "", supervision.minutes_per_scan)
        return None if per_scan is None or scans is None else per_scan * scans


def _conditions(supervisions: dict[str, Supervision]) -> Iterator[tuple[str | None, float, str]]:
    for name in supervisions:
        yield None, 0.0, name
    columns = [
        [(kind, level, name) for level in (levels or [1.0])]
        for name, supervision in supervisions.items()
        for kind, levels in supervision.noise.items()
    ]
    for row in zip_longest(*columns):
        yield from (condition for condition in row if condition is not None)


def _noise_keys(noise_on: str, noise: str | None, level: float) -> dict[str, Any]:
    if noise is None:
        return {}
    if noise in COARSE_SIZES:
        return {"size_detail": COARSE_SIZES[noise]}
    return {"size_noise" if noise_on == "sizes" else "mask_noise": noise, "noise_level": level}
