"""Check of a training workflow before its first step."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ignite.distributed as idist

from medsize.bundle.run.folder import CHECKPOINT, WEIGHTS
from medsize.bundle.run.settings import DERIVED, RunSettings, read_settings
from medsize.bundle.run.workflow import running_workflow
from medsize.checks.config_values import value_problems
from medsize.checks.findings import Finding, RunRefused, refuse_or_warn
from medsize.checks.network import network_findings
from medsize.checks.plausibility.cohort import nothing_to_learn, suspicions
from medsize.checks.proposed_settings import proposed_settings, refers_to
from medsize.checks.regions import organ_run_problems
from medsize.checks.scans import check_scans
from medsize.checks.weights import weights_findings
from medsize.checks.workflow_check import CONFIG, workflow_findings
from medsize.data.cohort import Cohort
from medsize.data.data_list import DataListError
from medsize.data.load_cohort import load_cohort
from medsize.first_labels import FEATURES
from medsize.items import SIZE_KEYS, TrainingItem, ValidationItem, size_key
from medsize.networks import lite0_file
from medsize.networks.initialise import INITS
from medsize.sizes.likely_sizes import estimates
from medsize.suggest import did_you_mean_path

__all__ = ["check_run", "open_cohort"]


def open_cohort(data_list: str, dataset_dir: str, inside: Mapping[str, str] | None = None) -> Cohort:
    """
    Load a cohort in a config, see :func:`load_cohort`; a faulty data list ends the program with one message.

    So does a wrong value in the config: the settings that follow from it cannot be evaluated. The message also lists
    the findings of :func:`check_run` that need no data list, since that cannot be called then.

    Args:
        data_list: see :func:`load_cohort`.
        dataset_dir: see :func:`load_cohort`.
        inside: see :func:`load_cohort`.

    Raises:
        RunRefused: with the message, when the data list or a value is faulty.
    """
    workflow = running_workflow()
    faults: list[Finding] = []
    try:
        cohort = load_cohort(data_list, dataset_dir, inside)
        if workflow is None or not value_problems(workflow.parser.config):
            return cohort
    except DataListError as e:
        faults = [Finding(str(e.source), problem) for problem in e.problems]
    if workflow is None:
        raise RunRefused(faults)
    parser = workflow.parser
    stated = [key for key in RunSettings.model_fields if key not in DERIVED and f"settings::{key}" in parser]
    stated = [key for key in stated if not refers_to(parser, f"settings::{key}", "cohort")]
    settings = {key: parser.get_parsed_content(f"settings::{key}") for key in stated}
    found = [*workflow_findings(workflow), *_setup_findings(*read_settings(RunSettings, settings)), *faults]
    raise RunRefused(list(dict.fromkeys(found)))


def check_run(cohort: Cohort, settings: RunSettings | Mapping[str, Any], problems: Sequence[str] = ()) -> None:
    """
    Check a run before it starts; all problems end the program with one message.

    The config and the metadata of the running workflow are checked, too, see :func:`workflow_findings`. Findings that
    do not stop a run are printed to stderr, such as sizes that another unit explains and scans that occur twice
    (:func:`suspicions`). The scans are checked last, if there is no other problem. They are read once, until they
    change. In the end, the settings that the config leaves to the cohort's proposal are printed, each with its reason.

    Args:
        cohort: cohort to train and validate on.
        settings: settings of the run, or a mapping with their keys.
        problems: further problems. Default: none.

    Raises:
        RunRefused: with the message.
    """
    settings, faults = read_settings(RunSettings, settings)
    workflow = running_workflow()
    findings = [] if workflow is None else workflow_findings(workflow, cohort.class_names)
    findings += _setup_findings(settings, [*problems, *faults])
    if faults:  # what else these settings say about the cohort is not known
        raise RunRefused(findings)
    wrong, training, validation = _cohort_problems(cohort, settings)
    kinds = str(settings.supervision).split("+")
    if "size" in kinds:
        findings += _unused_sizes(cohort, training, validation)
        if "mask" not in kinds:
            wrong += nothing_to_learn(cohort.items, cohort.class_names)
    if workflow is not None and not wrong and all(finding.is_warning for finding in findings):
        of_network = network_findings(workflow.parser, settings, [*training, *validation])
        findings += of_network or weights_findings(workflow.parser, settings)
    if not wrong and all(finding.is_warning for finding in findings):
        region_mm = settings.region_mm or None
        wrong = check_scans(
            [*training, *validation],
            cohort.num_classes,
            cohort.scribble_unlabelled,
            region_mm,
            mask_ignored=cohort.mask_ignored,
            length_unit=cohort.length_unit,
            class_names=cohort.class_names,
            orientation=settings.orientation,
            likely=_estimated(cohort),
        )
        used = {item["image"] for item in (*training, *validation)}
        checked = [item for item in cohort.items if item["image"] in used]
        doubtful = suspicions(checked, cohort.class_names, cohort.length_unit)
        findings += [Finding(str(cohort.source), text, is_warning=True) for text in doubtful]
    refuse_or_warn([*findings, *(Finding(str(cohort.source), problem) for problem in wrong)])
    if workflow is not None and idist.get_rank() == 0:
        for line in proposed_settings(workflow.parser):
            print(line)


def _cohort_problems(
    cohort: Cohort, settings: RunSettings
) -> tuple[list[str], list[TrainingItem], list[ValidationItem]]:
    """Return the settings that do not fit the cohort, and its items for training and for validation."""
    problems = []
    if settings.num_classes not in (None, cohort.num_classes):
        problems.append(
            f"num_classes is {settings.num_classes}, but 'labels' has {cohort.num_classes}: "
            f"{', '.join(cohort.class_names)}."
        )
    validation = cohort.validation_items(settings.val_fold)
    if not validation:
        problems.append(
            f"there is no item to validate on: found {_folds(cohort)}, expected the fold {settings.val_fold} (val_fold)"
            " or a section 'validation'. Set val_fold, or give the items folds."
        )
    elif len(validation) < settings.world_size:
        problems.append(
            f"there are {len(validation)} items to validate on, fewer than the {settings.world_size} processes. Start "
            "as many processes as there are items, or fewer."
        )
    problems += [
        f"{item['image']}: the item is for validation, but has neither 'size' nor 'label' to validate with."
        for item in validation
        if "true_volume_mm3" not in item and "true_label" not in item
    ]
    training: list[TrainingItem] = []
    if settings.supervision is not None:
        try:
            training = cohort.training_items(
                settings.supervision, settings.val_fold, settings.size_level, settings.num_masks
            )
        except DataListError as e:
            problems += e.problems
    if cohort.organs and settings.organ_run is not None:
        problems += organ_run_problems(settings.organ_run, cohort.organs)
    elif cohort.organs:
        needed = " and ".join(f"'{organ}'" for organ in dict.fromkeys(cohort.organs))
        problems += [
            f"{item['image']}: found no mask of {needed} among its 'organs', expected one, as inside says. Add it, or "
            "set organ_run to a run that segments it."
            for item in training
            if "region" not in item
        ]
    if settings.use_roi:
        problems += [
            f"{item['image']}: the item has no roi. Add one, or set use_roi to false."
            for item in (*training, *validation)
            if "roi" not in item
        ]
    return problems, training, validation


def _folds(cohort: Cohort) -> str:
    folds = sorted({item["fold"] for item in cohort.items if "fold" in item})
    return f"the folds {', '.join(map(str, folds))}" if folds else "no folds"


def _unused_sizes(
    cohort: Cohort, training: Sequence[TrainingItem], validation: Sequence[ValidationItem]
) -> list[Finding]:
    """Warn about sizes that training does not use."""
    used = {item["image"] for item in training if size_key(item)} | {item["image"] for item in validation}
    unused = [item["image"] for item in cohort.items if "volume_mm3" in item and item["image"] not in used]
    if not training or not unused:
        return []
    text = (
        f"the sizes of {len(unused)} training scans are not used, {unused[0]} first: they are of the whole "
        "scan, and size_level: slice learns from slice_size. Set size_level to volume to use the sizes of all scans."
    )
    return [Finding(str(cohort.source), text, is_warning=True)]


def _estimated(cohort: Cohort) -> set[str]:
    """Return the images with a size of which training takes what is likely, not what is stated."""
    sizes = [(item["image"], item[key]) for item in cohort.items for key in SIZE_KEYS if key in item]
    return {image for image, size in sizes if bool((estimates(size) & (size[0] < size[1])).any())}


def _setup_findings(settings: RunSettings, faults: Sequence[str]) -> list[Finding]:
    """Return the problems of settings that show without a cohort, after the ``faults`` found before."""
    problems = list(faults)
    if settings.output_dir is not None:
        problems += _output_problems(settings.output_dir, settings.resume, settings.overwrite)
    if settings.size_level == "slice" and len(settings.roi_size) == 3:
        problems.append("size_level is 'slice': a 3D network learns from sizes of whole scans. Set it to volume.")
    if settings.halo and not (
        len(settings.halo) == len(settings.roi_size)
        and all(0 <= 2 * h < n for h, n in zip(settings.halo, settings.roi_size, strict=True))
    ):
        problems.append(
            f"halo is {list(settings.halo)} and roi_size {list(settings.roi_size)}, expected a halo below half of "
            "roi_size along each axis. Lower halo, or raise roi_size."
        )
    if settings.first_labels is not None:
        problems += _feature_problems(settings.first_labels)
    init, checkpoint = settings.init, settings.checkpoint
    if init not in INITS:
        problems.append(f"init is '{init}', expected one of {', '.join(INITS)}.")
    if init == "checkpoint" and checkpoint is None:
        problems.append("init is 'checkpoint': set init_checkpoint to the file of the weights.")
    if init == "teacher" and checkpoint is None:
        problems.append(f"init is 'teacher': with teacher.yaml, set teacher_checkpoint to a run's {WEIGHTS}.")
    if checkpoint is not None and not checkpoint.is_file():
        problems.append(f"there are no weights at {checkpoint}.{did_you_mean_path(checkpoint)}")
    if settings.cache_dir is not None:
        problems += _unwritable("cache_dir", settings.cache_dir)
    return [Finding(CONFIG, problem) for problem in problems]


def _feature_problems(features: str) -> list[str]:
    """Return why features of first labels cannot be had."""
    if features not in FEATURES:
        return [f"first_labels_features is '{features}', expected one of {', '.join(FEATURES)}."]
    if features != "intensity":
        try:
            lite0_file()
        except FileNotFoundError as e:
            return [f"{e}. Or set first_labels_features to intensity, which needs no weights and finds less."]
    return []


def _unwritable(key: str, path: Path) -> list[str]:
    existing = next(folder for folder in (path, *path.absolute().parents) if folder.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        return [f"{key} is {path}: {existing} is not a writable folder. Name another folder."]
    return []


def _output_problems(output_dir: Path, resume: bool, overwrite: bool) -> list[str]:
    last = output_dir / CHECKPOINT
    if resume and not last.is_file():
        return [f"resume is true, but there is no checkpoint at {last}. Set resume to false."]
    if last.is_file() and not resume and not overwrite:
        return [
            f"output_dir {output_dir} already holds a run. Give another output_dir, go on with it by --resume True, "
            "or replace it by --overwrite True."
        ]
    return _unwritable("output_dir", output_dir)
