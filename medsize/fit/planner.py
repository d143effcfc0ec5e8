"""From the facts of a cohort to the plan of a fit."""

from __future__ import annotations

import ast
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from monai.bundle import ConfigParser, ReferenceResolver

from medsize.bundle.bundle_choice import bundle_name
from medsize.bundle.run.command import as_options, existing_config, training_command
from medsize.bundle.run.folder import FIRST_LABELS, SUMMARY, WEIGHTS
from medsize.checks.config_check import defined_ids
from medsize.data.cohort import SUPERVISIONS
from medsize.data.proposal import SIDE_STEP, Proposal
from medsize.data.sampling import enough_epochs
from medsize.fit.cohort_facts import DATA_LIST, OVERLAY, CohortFacts, CohortSource
from medsize.fit.decisions import Choices, choose, reasons
from medsize.fit.duration import CLEARLY_LONGER, LEAST_EPOCHS, START_SECONDS, Machine, as_text, guess_seconds, shortened
from medsize.fit.plan import Decision, Plan, Stage, Wishes
from medsize.fit.recipe import NETWORKS, RECIPES, Lesson, Recipe, chain, lessons
from medsize.suggest import did_you_mean

__all__ = ["plan_fit"]

BATCH_SIZE = {2: 16, 3: 4}
"""batch_size of train.yaml: slices or scans."""
SLICES_PER_SCAN = 4
"""Slices of each scan in an epoch of a 2D training: epoch_scans of train.yaml."""
COARSE, LOCATED = "coarse", "located"
"""Beginning of the names of the folders of a training on whole scans, and the folder of what it has located."""
COARSE_PART = 1 / 3
"""Share of the epochs that the training which locates the structures needs: it is not to outline them."""
COARSE_SIDE = {2: 128, 3: 64}
"""Voxels of the window along an axis above which that training sees every other one."""
CLOSER_PART = 0.5
"""Share of a scan's voxels that a region has, by a rough guess."""
MAKE_FIRST_LABELS = "make_first_labels"
"""Run id of train.yaml."""


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
    _check_wishes(wishes, bundle)
    chosen = choose(facts, source, wishes, machine)
    chains = _Chains(facts, source, bundle, wishes, machine, output_dir.absolute(), chosen)
    teachers, share, decision = chains.in_time()
    stages = chains.stages(teachers, share)
    trainings = [stage for stage in stages if stage.kind == "training"]
    return Plan(
        bundle=bundle,
        network=chosen.network,
        decisions=(*reasons(facts, wishes, machine, bundle, chosen), *chains.unknown(), decision),
        stages=(_check(trainings[0], bundle), *stages, *_ending(trainings, bundle, wishes, chosen, chains.output_dir)),
    )


def _check_wishes(wishes: Wishes, bundle: Path) -> None:
    """Refuse words that no training knows, before the plan is shown."""
    ids = defined_ids(bundle / "configs") if wishes.overrides else set()
    known = {ReferenceResolver.split_id(id)[0] for id in ids}
    for key in wishes.overrides:
        if (name := ReferenceResolver.split_id(key)[0]) not in known:
            raise ValueError(f"--override {key}: there is no key '{name}'.{did_you_mean(name, known)} Correct it.")
    for kind in (wishes.supervision or "size").split("+"):
        if kind not in SUPERVISIONS:
            raise ValueError(f"--supervision is {wishes.supervision}, expected {', '.join(SUPERVISIONS)}, joined by +.")


@dataclass(frozen=True)
class _Chains:
    """Chains of trainings, one for each fold."""

    facts: CohortFacts
    source: CohortSource
    bundle: Path
    wishes: Wishes
    machine: Machine
    output_dir: Path
    chosen: Choices

    def in_time(self) -> tuple[int, float, Decision]:
        """Return the number of teachers and the share of the epochs that the time limit allows, and the decision."""
        teachers, limit = len(self.networks) - 1, self.wishes.time_limit
        guess = f"{as_text(self.seconds(teachers))} by a rough guess, measured as soon as it trains"
        if limit is None:
            return teachers, 1.0, Decision(text="time", reason=guess)
        least = 0 if self.networks[0] == self.chosen.network else self.recipe.least_teachers
        fewer, share = shortened(self.seconds, teachers, least, limit)
        cuts = [f"{fewer} of {teachers} teachers"] if fewer < teachers else []
        cuts += [f"{share:.0%} of the epochs, but at least {LEAST_EPOCHS}"] if share < 1 else []
        effect = f"it runs {' and '.join(cuts)}" if cuts else "nothing is shortened"
        reason = f"in full {guess}, so that {effect}"
        left = self.seconds(fewer, share)
        if left > CLEARLY_LONGER * limit:
            reason += f". The limit cannot hold: even so it takes about {as_text(left)}"
        return fewer, share, Decision(text=f"time limit {as_text(limit)}", reason=reason)

    def seconds(self, teachers: int, share: float = 1.0) -> float:
        """Guess the duration of all stages."""
        return sum(stage.seconds + START_SECONDS for stage in self.stages(teachers, share))

    def stages(self, teachers: int, share: float) -> list[Stage]:
        """Return first labels and trainings of all folds, with so many teachers and a share of the epochs."""
        return [stage for fold in self.chosen.folds for stage in self._stages_of(fold, teachers, share)]

    @cached_property
    def recipe(self) -> Recipe:
        """The recipe for the labels at hand."""
        level = self.chosen.size_level
        if self.facts.are_pictures:
            level = "picture"
        elif "scribble" in self.chosen.supervision:
            level = f"clicked {level}"
        return RECIPES[len(self.facts.window), level]

    @cached_property
    def networks(self) -> list[str]:
        """Networks of a chain in full, the shared one last."""
        return chain(self.recipe, self.chosen.network) if self.chosen.from_sizes else [self.chosen.network]

    @cached_property
    def has_first_labels(self) -> bool | None:
        """True if the trainings start from first labels, by the config of the first; ``None`` if only it can tell."""
        config = self._config(NETWORKS[self.networks[0]].overlays)
        if config.get(MAKE_FIRST_LABELS) is None:
            return False
        planned = {"size_level": self.chosen.size_level, "proposal": _PlannedProposal(self.facts), "cohort": None}
        config.update({**self.common, **planned})
        try:
            return bool(config.get_parsed_content("use_first_labels"))
        except (ImportError, KeyError, RuntimeError, SyntaxError, ValueError):  # what MONAI makes of other errors, too
            return None

    def unknown(self) -> Iterator[Decision]:
        """Yield what cannot be planned."""
        if self.has_first_labels is None:
            reason = "only the training can evaluate use_first_labels. It makes them itself if they are asked for"
            yield Decision(text="first labels not known", reason=reason)

    @cached_property
    def common(self) -> dict[str, Any]:
        """Values of all trainings."""
        values: dict[str, Any] = {}
        if self.source.overlay is None:
            values |= {"dataset_dir": self.source.dataset_dir, "data_list": self.source.data_list}
            values |= {} if self.facts.is_3d else {"size_level": self.chosen.size_level}
        values["supervision"] = self.chosen.supervision
        return values | ({"cache_rate": self.chosen.cache_rate} if self.chosen.cache_rate < 1 else {})

    def _stages_of(self, fold: int | None, teachers: int, share: float) -> Iterator[Stage]:
        place = "run" if fold is None else f"fold_{fold}"
        suffix = f", fold {fold}" if len(self.chosen.folds) > 1 else ""
        networks = [*self.networks[:teachers], self.chosen.network]
        from_volumes = not self.facts.is_3d and self.chosen.size_level == "volume"
        taught = lessons(networks, self.chosen.supervision, bool(self.has_first_labels), from_volumes)
        located: Path | None = None
        if self.chosen.looks_closer:
            located = self.output_dir / place / LOCATED / OVERLAY
            yield from self._locating(fold, share, place, suffix)
        before: str | None = None
        for number, lesson in enumerate(taught, start=1):
            is_last = number == len(networks)
            values: dict[str, Any] = {} if fold is None else {"val_fold": fold}
            if before is not None:
                values["teacher_checkpoint"] = self.output_dir / before / WEIGHTS
            if self.has_first_labels:
                values["first_labels_dir"] = self.output_dir / place / FIRST_LABELS
            if is_last:
                values["save_masks"] = True
            folder = f"{place}/{lesson.network}" if is_last else f"{place}/teacher_{number}_{lesson.network}"
            title = f"{'' if is_last else f'teacher {number}, '}{NETWORKS[lesson.network].title}{suffix}"
            training = self._training(lesson, values, share, folder, located=located)
            training = training.model_copy(update={"title": title, "fold": fold, "is_result": is_last})
            if before is None and self.has_first_labels:
                yield self._first_labels(training, f"{place}/{FIRST_LABELS}", f"first labels{suffix}")
            yield training
            before = folder

    def _locating(self, fold: int | None, share: float, place: str, suffix: str) -> Iterator[Stage]:
        """Yield the stages that locate the structures in whole scans."""
        (lesson,) = lessons(self.networks[:1], self.chosen.supervision, bool(self.has_first_labels))
        values: dict[str, Any] = {} if fold is None else {"val_fold": fold}
        if self.has_first_labels:
            values["first_labels_dir"] = self.output_dir / place / f"{COARSE}_{FIRST_LABELS}"
        values |= self.coarse_window
        run = f"{place}/{COARSE}_{lesson.network}"
        training = self._training(lesson, values, share, run, part=COARSE_PART)
        title = f"coarse {NETWORKS[lesson.network].title}{suffix}"
        training = training.model_copy(update={"title": title, "fold": fold})
        if self.has_first_labels:
            yield self._first_labels(training, f"{place}/{COARSE}_{FIRST_LABELS}", f"coarse first labels{suffix}")
        yield training
        folder = self.output_dir / place / LOCATED
        options = ["--dataset-dir", self.source.dataset_dir, "--output", folder / DATA_LIST]
        options += ["--overlay", folder / OVERLAY, "--middle-if-missed"]
        words = ["locate", self.output_dir / run, self.source.data_list, *options]
        yield Stage(
            kind="locate",
            title=f"locate{suffix}",
            reason="the coarse network finds the region of each scan, validation included; the next trainings see that",
            folder=f"{place}/{LOCATED}",
            result=OVERLAY,
            command=(sys.executable, "-m", "medsize", *map(str, words)),
            fold=fold,
        )

    @cached_property
    def coarse_window(self) -> dict[str, Any]:
        """Spacing and window of the training that locates: a large window has every other voxel along its sides."""
        spacing, window, side = self.facts.spacing, self.facts.window, COARSE_SIDE[len(self.facts.window)]
        within = 2 if max(window[:2]) > side else 1  # equal, so that pixels keep their shape
        factors = [within, within, *(2 if n > side else 1 for n in window[2:])]
        if not spacing or max(factors) == 1:
            return {}
        step = SIDE_STEP[len(window)]
        sides = [step * math.ceil(n / factor / step) for n, factor in zip(window, factors, strict=True)]
        return {"spacing": [s * f for s, f in zip(spacing, factors, strict=True)], "roi_size": sides}

    def _training(
        self,
        lesson: Lesson,
        values: Mapping[str, Any],
        share: float,
        folder: str,
        part: float = 1.0,
        located: Path | None = None,
    ) -> Stage:
        """Return a training by a part of its epochs in full, of which a time limit leaves a share."""
        full = self._epochs(lesson.overlays)
        full = max(min(LEAST_EPOCHS, full), round(part * full))
        epochs = max(min(LEAST_EPOCHS, full), round(share * full))
        of_all = f"{epochs} of {full}" if epochs < full else str(full)
        common = {key: value for key, value in self.common.items() if located is None or key != "data_list"}
        values = {**common, **lesson.values, **values}
        if epochs != self._configured(lesson.overlays, "max_epochs"):
            values["max_epochs"] = epochs
        values |= {**self.overrides, "output_dir": self.output_dir / folder}
        extra = [overlay for overlay in (self.source.overlay, located) if overlay is not None]
        voxels = self._voxels_of_an_epoch(self._window(values))
        voxels *= 1.0 if located is None else CLOSER_PART
        return Stage(
            kind="training",
            title=folder,
            reason=f"{lesson.reason}; {of_all} epoch{'s' if full > 1 else ''}",
            folder=folder,
            result=SUMMARY,
            command=tuple(training_command(self.bundle, [*lesson.overlays, *extra], as_options(values))),
            epochs=epochs,
            all_epochs=full,
            seconds=epochs * guess_seconds(lesson.network, voxels, self.machine),
        )

    def _first_labels(self, training: Stage, folder: str, title: str) -> Stage:
        """Return the stage that makes the first labels for a training."""
        voxels = self.facts.training_scans * self.facts.voxels_of_a_scan
        return Stage(
            kind="first labels",
            title=title,
            reason="soft labels that meet the sizes, made without training; see their page, first_labels.html",
            folder=folder,
            command=(*training.command, "--run_id", MAKE_FIRST_LABELS),
            fold=training.fold,
            seconds=guess_seconds("first labels", voxels, self.machine),
        )

    def _epochs(self, overlays: Sequence[str]) -> int:
        """Return the epochs of a training in full: those of the config, or enough for few scans."""
        stated = self.wishes.overrides.get("max_epochs")
        if stated is not None:
            if not stated.isdigit():
                raise ValueError(f"--override max_epochs={stated}: expected a whole number. Correct it.")
            return int(stated)
        usual = self._configured(overlays, "max_epochs")
        if isinstance(usual, int):
            return usual
        least = {key: value for key, value in usual.items() if key in ("least_steps", "usual")}
        return enough_epochs(self._scans_of_an_epoch, BATCH_SIZE[len(self.facts.window)], **least)

    def _window(self, values: Mapping[str, Any]) -> Sequence[int]:
        """Return the window of a training, in voxels."""
        stated = values.get("roi_size")
        return stated if isinstance(stated, list | tuple) else self.facts.window

    @property
    def _scans_of_an_epoch(self) -> int:
        """Slices in an epoch of a 2D training, which are sized or have sizes handed down; scans in 3D, pictures."""
        once = self.facts.is_3d or self.facts.are_pictures
        return self.facts.training_scans * (1 if once else SLICES_PER_SCAN)

    def _voxels_of_an_epoch(self, window: Sequence[int]) -> float:
        return self._scans_of_an_epoch * math.prod(window)

    def _configured(self, overlays: Sequence[str], key: str) -> Any:
        """Return the value of a key as the config of a training states it, not evaluated."""
        if tuple(overlays) not in self._configs:
            self._configs[tuple(overlays)] = self._config(overlays)
        return self._configs[tuple(overlays)].get(key)

    def _config(self, overlays: Sequence[str]) -> ConfigParser:
        """Return train.yaml under overlays, the cohort's included, and overrides."""
        names = ["train.yaml", *overlays, *([str(self.source.overlay)] if self.source.overlay else [])]
        config = ConfigParser()
        config.read_config([existing_config(self.bundle, name) for name in names])
        config.update(self.overrides)
        return config

    @cached_property
    def _configs(self) -> dict[tuple[str, ...], ConfigParser]:
        return {}

    @cached_property
    def overrides(self) -> dict[str, Any]:
        """Values that the user asks for; references and expressions stay text."""
        return {key: _value(key, text) for key, text in self.wishes.overrides.items()}


class _PlannedProposal(Proposal):
    """Proposal as far as the facts of a cohort tell."""

    def __init__(self, facts: CohortFacts) -> None:
        self.facts = facts

    def are_pictures(self) -> bool:
        """See :meth:`medsize.data.Proposal.are_pictures`."""
        return self.facts.are_pictures


def _value(key: str, text: str) -> Any:
    """Return the value of an override; references and expressions stay text."""
    try:
        return text if text.startswith(("$", "@", "%")) else yaml.safe_load(text)
    except yaml.YAMLError as e:
        raise ValueError(f"--override {key}={text}: found no value of YAML. Correct it.") from e


def _check(training: Stage, bundle: Path) -> Stage:
    """Return the stage that checks the first training, which reads all scans."""
    at = training.command.index("--config_file") + 1
    own = bundle.resolve() / "configs"
    files = [Path(file) for file in ast.literal_eval(training.command[at])]
    named = [part for file in files for part in ("--config", file.name if file.parent == own else str(file))]
    return Stage(
        kind="check",
        title="check",
        reason="all scans and settings, before anything is trained",
        folder="check",
        command=(sys.executable, "-m", "medsize", "check", bundle_name(bundle), *named, *training.command[at + 1 :]),
    )


def _ending(
    trainings: Sequence[Stage], bundle: Path, wishes: Wishes, chosen: Choices, output_dir: Path
) -> Iterator[Stage]:
    """Yield the stages after the trainings."""
    run = output_dir / next(stage.folder for stage in trainings if stage.is_result)
    if wishes.ensemble:
        run = output_dir / "ensemble"
        reason = "the networks of all folds, whose softmax is averaged"
        yield Stage(kind="ensemble", title="ensemble", reason=reason, folder="ensemble", result=SUMMARY)
    options = ["--run", run, "--network", chosen.network, "--output", output_dir / "bundle"]
    use = "which needs the region of each scan" if chosen.looks_closer else "which predicts without medsize"
    yield Stage(
        kind="export",
        title="export",
        reason=f"a bundle in the layout of the model zoo, {use}",
        folder="export",
        result="../bundle/configs/metadata.json",
        command=(sys.executable, "-m", "medsize", "export", bundle_name(bundle), *map(str, options)),
    )
    yield Stage(kind="report", title="report", reason=str(output_dir / "report.html"), folder=".")
