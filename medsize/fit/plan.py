"""Plan of a fit: which trainings lead from a cohort to a shared bundle, with a reason for each decision."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict

from medsize.bundle.bundle_choice import bundle_name
from medsize.bundle.run_command import as_options, as_typed, config_file, training_command
from medsize.bundle.run_folder import SUMMARY, WEIGHTS
from medsize.fit.cohort_facts import CohortFacts, CohortSource
from medsize.fit.duration import LEAST_EPOCHS, START_SECONDS, Machine, as_text, guess_seconds, shortened
from medsize.fit.recipe import NETWORKS, RECIPES, Lesson, chain, lessons

__all__ = ["Decision", "Plan", "Stage", "Wishes", "plan_fit"]


LEAST_STEPS = 300
"""Steps that a training needs, however few its scans are."""
SCANS_PER_STEP = {(2, "slice"): 4, (2, "volume"): 2, (3, "volume"): 4}
"""Training scans for each step of an epoch: batch_size of train.yaml, divided by how often an epoch draws a scan."""
MEMORY_SHARE = 0.5
"""Share of the memory that preprocessed scans may take."""
OF_FIT = {"output_dir", "overwrite", "resume", "supervision", "teacher_checkpoint", "val_fold"}
"""Keys that differ between stages, or that have an option of their own."""
FIRST_LABELS = "first_labels"
"""Folder of a fold's first labels, which its trainings share."""
MAKE_FIRST_LABELS = "make_first_labels"
"""Run id of train.yaml."""
FEW_SCANS = 5
"""Training scans for each structure, below which sizes may not tell the structures apart."""


class Wishes(BaseModel):
    """Settings that the user asks for; ``None``: the plan decides."""

    model_config = ConfigDict(frozen=True)

    bundle: Path | None = None
    network: str | None = None
    supervision: str | None = None
    fold: str = "0"
    """Fold to validate on, or ``"all"`` for cross-validation."""
    ensemble: bool = False
    """Export the networks of all folds as one, which averages their softmax."""
    time_limit: float | None = None
    """Seconds."""
    overrides: dict[str, str] = {}
    """Values of keys of the config, in all trainings."""


class Decision(BaseModel):
    """A decision, and its reason."""

    model_config = ConfigDict(frozen=True)

    text: str
    reason: str

    def __str__(self) -> str:
        return f"{self.text}: {self.reason}"


class Stage(BaseModel):
    """One step of a fit, in a folder of its own."""

    model_config = ConfigDict(frozen=True)

    kind: Literal["check", "first labels", "training", "ensemble", "export", "report"]
    title: str
    reason: str
    folder: str
    """Its folder below that of the fit; it holds the log."""
    result: str = ""
    """File of a finished stage, from its folder."""
    command: tuple[str, ...] = ()
    """Command to run; none for what fit does itself."""
    fold: int | None = None
    epochs: int = 0
    all_epochs: int = 0
    """Its epochs without a time limit."""
    seconds: float = 0.0
    """Rough guess of its duration."""
    is_result: bool = False
    """True for the training of the network that is shared."""

    @property
    def shown(self) -> str:
        """The command as a user would type it."""
        return as_typed(self.command) if self.command else ""


class Plan(BaseModel):
    """Decisions and stages of a fit."""

    model_config = ConfigDict(frozen=True)

    bundle: Path
    network: str
    decisions: tuple[Decision, ...]
    stages: tuple[Stage, ...]

    @property
    def trainings(self) -> list[Stage]:
        """The stages that train."""
        return [stage for stage in self.stages if stage.kind == "training"]

    @property
    def results(self) -> list[Stage]:
        """The trainings of the networks that are shared: one for each fold."""
        return [stage for stage in self.stages if stage.is_result]

    def lines(self) -> Iterator[str]:
        """Yield the plan for the screen: a decision a line, then the stages and their commands."""
        yield "Plan:"
        yield from (f"  {decision}" for decision in self.decisions)
        yield "Stages:"
        for number, stage in enumerate(self.stages, start=1):
            yield f"  {number}. {stage.title}: {stage.reason}"
            if stage.command:
                yield f"     {stage.shown}"


def plan_fit(
    facts: CohortFacts, source: CohortSource, bundle: Path, wishes: Wishes, machine: Machine, output_dir: Path
) -> Plan:
    """
    Plan a fit.

    Args:
        facts: facts of the cohort.
        source: its files.
        bundle: folder of the bundle to train.
        wishes: settings that the user asks for.
        machine: the machine to train on.
        output_dir: folder of the fit.

    Raises:
        ValueError: when a wish cannot be met.
    """
    return _Planner(facts, source, bundle, wishes, machine, output_dir.absolute()).plan()


class _Planner:
    """Decisions and stages, as they come."""

    def __init__(
        self,
        facts: CohortFacts,
        source: CohortSource,
        bundle: Path,
        wishes: Wishes,
        machine: Machine,
        output_dir: Path,
    ) -> None:
        self.facts, self.source, self.bundle, self.wishes = facts, source, bundle, wishes
        self.machine, self.output_dir = machine, output_dir
        self.dimensions = len(facts.window)
        self.configs: dict[str, dict[str, Any]] = {}
        self.decisions: list[Decision] = []
        self.network = wishes.network or "unet"
        if taken := sorted(OF_FIT & wishes.overrides.keys()):
            raise ValueError(
                f"--override {taken[0]}: found a key that fit sets itself. Use the option of fit, or leave it out."
            )
        self.chains = self._chains()
        self.supervision = self._supervision()
        self.level = self._level()

    def plan(self) -> Plan:
        self._decide_bundle()
        self._decide_network()
        self.recipe = RECIPES[self.dimensions, self.level]
        self.networks = chain(self.recipe, self.network) if self.from_sizes else [self.network]
        self._decide_labels()
        self._decide_folds()
        self._decide_memory()
        self.common = self._common()
        teachers, share = self._decide_duration()
        stages = [stage for fold in self.chains for stage in self._chain(fold, teachers, share)]
        trainings = [stage for stage in stages if stage.kind == "training"]
        return Plan(
            bundle=self.bundle,
            network=self.network,
            decisions=tuple(self.decisions),
            stages=(self._check(trainings[0]), *stages, *self._ending(trainings)),
        )

    def _decide(self, text: str, reason: str) -> None:
        self.decisions.append(Decision(text=text, reason=reason))

    # The decisions

    def _chains(self) -> list[int | None]:
        """Return the folds to train for; ``None`` for a section of the data list."""
        folds, fold = self.facts.folds, self.wishes.fold
        if fold == "all":
            if len(folds) < 2:
                raise ValueError(
                    f"{self.source.data_list}: found {len(folds)} folds, expected at least 2 for --fold all. Give the "
                    "items folds, or leave --fold out."
                )
            return list(folds)
        if self.wishes.ensemble:
            raise ValueError("--ensemble is given without --fold all, expected the networks of all folds. Add that.")
        if not fold.isdigit():
            raise ValueError(f"--fold is {fold}, expected a number or 'all'. Correct it.")
        if folds and int(fold) not in folds:
            raise ValueError(
                f"--fold is {fold}, expected one of the data list's: {', '.join(map(str, folds))}. Name one of them."
            )
        return [int(fold)] if folds else [None]

    def _supervision(self) -> str:
        """Return the supervision: as asked for, as the overlay states, or of the labels that there are."""
        facts = self.facts
        stated = self.wishes.supervision or self.source.proposed.get("supervision")
        if stated:
            return str(stated)
        sized = max(facts.with_volume, facts.with_slice_sizes)
        if not sized:
            return "mask" if facts.with_mask else "scribble"
        kinds = ["size"]
        kinds += ["scribble"] if facts.with_scribble else []
        kinds += ["mask"] if 0 < facts.with_mask < facts.scans else []
        return "+".join(kinds)

    @property
    def from_sizes(self) -> bool:
        """True if the trainings learn from sizes."""
        return "size" in self.supervision.split("+")

    def _level(self) -> str:
        stated = self.wishes.overrides.get("size_level") or self.source.proposed.get("size_level")
        if self.dimensions == 3:
            return "volume"
        by_slice = self.facts.with_slice_sizes * 2 > self.facts.scans
        level = str(stated or ("slice" if by_slice or not self.from_sizes else "volume"))
        if level not in ("slice", "volume"):
            raise ValueError(f"size_level is '{level}', expected slice or volume. Correct it.")
        return level

    def _decide_bundle(self) -> None:
        name = bundle_name(self.bundle)
        asked = self.wishes.bundle is not None
        self._decide(name, "as asked for" if asked else self.facts.why_dimensions)

    def _decide_network(self) -> None:
        network = self.network
        if network not in NETWORKS:
            raise ValueError(f"--network is {network}, expected one of {', '.join(NETWORKS)}. Name one of them.")
        if network == "lean_unet" and self.dimensions == 3:
            raise ValueError(
                "--network is lean_unet, which is a 2D network, and the bundle is for 3D. Take unet or segresnet, or "
                "--bundle size_seg_2d."
            )
        why = "as asked for" if self.wishes.network else "the default; it runs without medsize"
        if network == "lean_unet":
            why += "; it needs medsize to run, so that no bundle is exported"
            if self.wishes.ensemble:
                raise ValueError("--ensemble is for an exported bundle, which cannot hold a LeanUNet. Leave it out.")
        self._decide(f"network {NETWORKS[network].title}", why)

    def _decide_labels(self) -> None:
        facts = self.facts
        counts = {
            "sizes of slices": facts.with_slice_sizes,
            "a size of the whole scan": facts.with_volume,
            "clicks or scribbles": facts.with_scribble,
            "a mask": facts.with_mask,
        }
        known = [f"{count} have {name}" for name, count in counts.items() if count]
        reason = f"of {facts.scans} scans, {', '.join(known) or 'none has a label'}"
        kinds = self.supervision.split("+")
        if facts.with_mask and "mask" not in kinds:
            reason += (
                f"; masks are for evaluation only, --supervision {self.supervision}+mask would train with them, too"
            )
        self._decide(f"supervision {self.supervision}", reason)
        if not self.from_sizes:
            return
        if self.level == "slice":
            self._decide("sizes of slices", "they say more than a size of the whole scan")
        else:
            why = "a 3D network learns from whole scans" if self.dimensions == 3 else "few scans have sizes of slices"
            self._decide("sizes of whole scans", why)
        structures = len(facts.structures)
        is_few = self.level == "volume" and facts.training_scans < FEW_SCANS * structures
        if is_few and kinds == ["size"]:
            self._decide(
                f"few scans, {facts.training_scans} to train on",
                f"sizes may not tell {structures} structures apart. More scans help, or clicks in three of them",
            )

    def _decide_folds(self) -> None:
        if len(self.chains) > 1:
            self._decide(f"{len(self.chains)} folds", "cross-validation, one chain of trainings for each")
            shared = "the networks of all folds as one" if self.wishes.ensemble else f"that of fold {self.chains[0]}"
            self._decide("shared network", f"{shared}{'' if self.wishes.ensemble else '; see --ensemble'}")
        elif self.chains[0] is None:
            self._decide("validation", "on the scans of the data list's section for it")
        else:
            self._decide(f"fold {self.chains[0]}", "its scans are for validation, and never trained on")

    def _decide_duration(self) -> tuple[int, float]:
        """Return the number of teachers, and the share of the epochs, that the time limit allows."""
        teachers = len(self.networks) - 1

        def seconds(teachers: int, share: float = 1.0) -> float:
            return sum(
                stage.seconds + START_SECONDS for fold in self.chains for stage in self._chain(fold, teachers, share)
            )

        full = seconds(teachers)
        limit, share = self.wishes.time_limit, 1.0
        guess = f"{as_text(full)} by a rough guess, measured as soon as it trains"
        if limit is None:
            self._decide("time", guess)
            return teachers, share
        least = 0 if self.networks[0] == self.network else self.recipe.least_teachers
        fewer, share = shortened(seconds, teachers, least=least, limit=limit)
        cuts = [f"{fewer} of {teachers} teachers"] if fewer < teachers else []
        cuts += [f"{share:.0%} of the epochs, but at least {LEAST_EPOCHS}"] if share < 1 else []
        what = f"so that it runs {' and '.join(cuts)}" if cuts else "so that nothing is shortened"
        left = seconds(fewer, share)
        what += f", which takes {as_text(left)}, longer than the limit" if left > 1.1 * limit else ""
        self._decide(f"time limit {as_text(limit)}", f"in full {guess}, {what}")
        return fewer, share

    def _decide_memory(self) -> None:
        """Decide how many of the preprocessed scans are kept in memory."""
        facts = self.facts
        classes = len(facts.structures) + 1
        needed = facts.training_scans * self._voxels_of_a_scan() * 4 * (1 + (classes if self.from_sizes else 0))
        allowed = MEMORY_SHARE * self.machine.memory_bytes
        self.cache_rate = 1.0
        if needed > allowed and "cache_rate" not in self.wishes.overrides:
            self.cache_rate = max(math.floor(100 * allowed / needed) / 100, 0.01)
            self._decide(
                f"cache_rate {self.cache_rate:g}",
                f"all scans would take {needed / 2**30:.1f} of {self.machine.memory_bytes / 2**30:.1f} GiB of memory; "
                "the others are read anew",
            )

    # The stages

    def _common(self) -> dict[str, Any]:
        """Return the values of all trainings."""
        values: dict[str, Any] = {}
        if self.source.overlay is None:
            values |= {"dataset_dir": self.source.dataset_dir, "data_list": self.source.data_list}
            if self.dimensions == 2:
                values["size_level"] = self.level
        values["supervision"] = self.supervision
        if self.cache_rate < 1:
            values["cache_rate"] = self.cache_rate
        return values

    def _chain(self, fold: int | None, teachers: int, share: float) -> Iterator[Stage]:
        """Yield first labels and trainings of a fold, with so many teachers."""
        place = "run" if fold is None else f"fold_{fold}"
        suffix = f", fold {fold}" if len(self.chains) > 1 else ""
        networks = [*self.networks[:teachers], self.network]
        before: str | None = None
        for number, lesson in enumerate(self._lessons(networks), start=1):
            is_last = number == len(networks)
            folder = f"{place}/{lesson.network}" if is_last else f"{place}/teacher_{number}_{lesson.network}"
            title = NETWORKS[lesson.network].title
            title = f"{title if is_last else f'teacher {number}, {title}'}{suffix}"
            values: dict[str, Any] = {} if fold is None else {"val_fold": fold}
            if before is not None:
                values["teacher_checkpoint"] = self.output_dir / before / WEIGHTS
            if self.has_first_labels:
                values["first_labels_dir"] = self.output_dir / place / FIRST_LABELS
            if is_last:
                values["save_masks"] = True
            training = self._training(lesson, title, folder, values, fold, share, is_last)
            if before is None and self.has_first_labels:
                yield self._first_labels(training, f"{place}/{FIRST_LABELS}", suffix)
            yield training
            before = folder

    def _lessons(self, networks: Sequence[str]) -> Iterator[Lesson]:
        return lessons(networks, self.recipe, self.supervision, self.has_first_labels)

    @property
    def has_first_labels(self) -> bool:
        """True if the trainings start from first labels."""
        return self.from_sizes and self._configured((), MAKE_FIRST_LABELS) is not None

    def _first_labels(self, training: Stage, folder: str, suffix: str) -> Stage:
        """Return the stage that makes the first labels for a training."""
        scans = self.facts.training_scans * self._voxels_of_a_scan()
        return Stage(
            kind="first labels",
            title=f"first labels{suffix}",
            reason="soft labels that meet the sizes, made without training; see their page, first_labels.html",
            folder=folder,
            command=(*training.command, "--run_id", MAKE_FIRST_LABELS),
            fold=training.fold,
            seconds=guess_seconds("first labels", scans, self.machine),
        )

    def _training(
        self,
        lesson: Lesson,
        title: str,
        folder: str,
        values: Mapping[str, Any],
        fold: int | None,
        share: float,
        is_result: bool,
    ) -> Stage:
        values = {**self.common, **lesson.values, **values}
        full = self._epochs(lesson.overlays)
        epochs = max(min(LEAST_EPOCHS, full), round(share * full))
        if epochs != self._configured(lesson.overlays, "max_epochs"):
            values["max_epochs"] = epochs
        values |= {**self.wishes.overrides, "output_dir": self.output_dir / folder}
        configs: list[str | Path] = [*lesson.overlays, *([self.source.overlay] if self.source.overlay else [])]
        return Stage(
            kind="training",
            title=title,
            reason=f"{lesson.reason}; {epochs} epoch{'s' if epochs > 1 else ''}",
            folder=folder,
            result=SUMMARY,
            command=tuple(training_command(self.bundle, configs, as_options(values))),
            fold=fold,
            epochs=epochs,
            all_epochs=full,
            seconds=epochs * guess_seconds(lesson.network, self._voxels_of_an_epoch(), self.machine),
            is_result=is_result,
        )

    def _check(self, training: Stage) -> Stage:
        """Return the stage that checks the first training, which reads all scans."""
        options = list(training.command[training.command.index("--config_file") + 2 :])
        configs = yaml.safe_load(training.command[training.command.index("--config_file") + 1])
        own = self.bundle.resolve() / "configs"
        names = [Path(config).name if Path(config).parent == own else config for config in configs]
        named = [part for name in names for part in ("--config", name)]
        command = (sys.executable, "-m", "medsize", "check", bundle_name(self.bundle), *named, *options)
        reason = "all scans and settings, before anything is trained"
        return Stage(kind="check", title="check", reason=reason, folder="check", command=command)

    def _ending(self, trainings: Sequence[Stage]) -> Iterator[Stage]:
        run = self.output_dir / next(stage.folder for stage in trainings if stage.is_result)
        if self.wishes.ensemble:
            run = self.output_dir / "ensemble"
            reason = "the networks of all folds, whose softmax is averaged"
            yield Stage(kind="ensemble", title="ensemble", reason=reason, folder="ensemble", result=SUMMARY)
        if self.network != "lean_unet":
            target = self.output_dir / "bundle"
            options = ["--run", run, "--network", self.network, "--output", target]
            command = (sys.executable, "-m", "medsize", "export", bundle_name(self.bundle), *map(str, options))
            reason = "a bundle in the layout of the model zoo, which predicts without medsize"
            result = "../bundle/configs/metadata.json"
            yield Stage(kind="export", title="export", reason=reason, folder="export", result=result, command=command)
        yield Stage(kind="report", title="report", reason=f"{self.output_dir / 'report.html'}", folder=".")

    def _configured(self, overlays: Sequence[str], key: str) -> Any:
        """Return the value of a top-level key in train.yaml under overlays, the cohort's included."""
        value = None
        for name in ["train.yaml", *overlays, *([str(self.source.overlay)] if self.source.overlay else [])]:
            if name not in self.configs:
                self.configs[name] = yaml.safe_load(config_file(self.bundle, name).read_text(encoding="utf-8"))
            value = self.configs[name].get(key, value)
        return value

    def _epochs(self, overlays: Sequence[str]) -> int:
        """Return the epochs of a training in full: those of the config, or enough for few scans."""
        stated = self.wishes.overrides.get("max_epochs")
        if stated is not None:
            if not stated.isdigit():
                raise ValueError(f"--override max_epochs={stated}: expected a whole number. Correct it.")
            return int(stated)
        steps = max(self.facts.training_scans // SCANS_PER_STEP[self.dimensions, self.level], 1)
        return max(int(self._configured(overlays, "max_epochs")), math.ceil(LEAST_STEPS / steps))

    def _voxels_of_a_scan(self) -> int:
        return math.prod(self.facts.window) * (self.facts.slices if self.dimensions == 2 else 1)

    def _voxels_of_an_epoch(self) -> float:
        drawn_slices = 4 * math.prod(self.facts.window)  # of each scan in an epoch, see epoch_scans of train.yaml
        by_scan = drawn_slices if (self.dimensions, self.level) == (2, "slice") else self._voxels_of_a_scan()
        return self.facts.training_scans * by_scan
