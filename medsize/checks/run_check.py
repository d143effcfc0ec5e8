"""What a training workflow checks before its first step."""

from __future__ import annotations

import inspect
import os
from collections.abc import Sequence
from pathlib import Path

from medsize.bundle.run_folder import CHECKPOINT, WEIGHTS
from medsize.bundle.running_workflow import running_workflow
from medsize.checks.findings import Finding, RunRefused, refuse_or_warn
from medsize.checks.plausibility import suspicions
from medsize.checks.scans import check_scans
from medsize.checks.workflow_check import CONFIG, workflow_findings
from medsize.data.data_list import Cohort, DataListError, load_cohort
from medsize.items import TrainingItem, size_key
from medsize.networks.initialise import INITS
from medsize.sizes.size_detail import SIZE_DETAILS
from medsize.sizes.size_noise import SIZE_NOISES
from medsize.suggest import did_you_mean_path
from medsize.transforms.perturb_mask import MASK_NOISES

__all__ = ["check_run", "open_cohort"]


def open_cohort(data_list: str, dataset_dir: str) -> Cohort:
    """
    :func:`load_cohort` for configs: a faulty data list ends the program with one message. It also holds what
    :func:`check_run`, which cannot be called then, would have found without the data list.

    Raises:
        RunRefused: with the message, when the data list is faulty.
    """
    try:
        return load_cohort(data_list, dataset_dir)
    except DataListError as e:
        faults = [Finding(str(e.source), problem) for problem in e.problems]
    workflow = running_workflow()
    if workflow is None:
        raise RunRefused(faults)
    given = [key for key in inspect.signature(_setup_findings).parameters if f"check::{key}" in workflow.parser]
    setup = {key: workflow.parser.get_parsed_content(f"check::{key}") for key in given}
    raise RunRefused([*workflow_findings(workflow), *_setup_findings(**setup), *faults])


def check_run(
    cohort: Cohort,
    supervision: str | None,
    fold: int | None,
    size_level: str,
    num_masks: int | None,
    num_classes: int,
    region_mm: Sequence[float],
    use_roi: bool,
    size_detail: str = "given",
    size_noise: str | None = None,
    mask_noise: str | None = None,
    noise_level: float = 0.0,
    init: str = "random",
    output_dir: str | None = None,
    checkpoint: str | None = None,
    resume: bool = False,
    overwrite: bool = False,
    cache_dir: str | None = None,
    world_size: int = 1,
) -> None:
    """
    Check a run before it starts; the program ends with one message that lists all that is wrong.

    The config and the metadata of the workflow that is running are checked with it, see :func:`workflow_findings`. What
    does not stop a run is printed to stderr, such as sizes that another unit explains and scans that are there twice
    (:func:`suspicions`). The scans come last, once all else is right; they are read once, until they change.

    Args:
        cohort: what to train and validate on.
        supervision: see :meth:`Cohort.training_items`, as are ``fold``, ``size_level`` and ``num_masks``. ``None``
            where nothing is trained.
        num_classes: K, with the background, as the network has it.
        region_mm: extent of the region given to the network along each axis, mm; negative for all of an axis.
        use_roi: whether items are cropped to their roi.
        size_detail: see :func:`with_size_detail`.
        size_noise: see :func:`with_size_noise`.
        mask_noise: see :class:`medsize.transforms.PerturbMask`.
        noise_level: of either noise.
        init: see :func:`medsize.networks.initialise`.
        output_dir: folder of the run; ``None`` where nothing is trained.
        checkpoint: weights that must exist before the run.
        resume: go on from the last checkpoint in ``output_dir``.
        overwrite: allow a new run in an ``output_dir`` that holds one.
        cache_dir: folder of preprocessed scans, see :class:`medsize.data.PersistentCacheDataset`, or ``None``.
        world_size: how many processes share the work.

    Raises:
        RunRefused: with the message.
    """
    workflow = running_workflow()
    findings = [] if workflow is None else workflow_findings(workflow, cohort.class_names)
    findings += _setup_findings(
        size_detail, size_noise, mask_noise, noise_level, init, output_dir, checkpoint, resume, overwrite, cache_dir
    )
    problems = []
    if num_classes != cohort.num_classes:
        problems.append(
            f"num_classes is {num_classes}, but 'labels' has {cohort.num_classes}: {', '.join(cohort.class_names)}."
        )
    validation = cohort.validation_items(fold)
    if not validation:
        problems.append(
            f"there is no item to validate on: none has the fold {fold}. Set val_fold, or give the items folds."
        )
    elif len(validation) < world_size:
        problems.append(
            f"there are {len(validation)} items to validate on, fewer than the {world_size} processes. Start as many "
            "processes as there are items, or fewer."
        )
    problems += [
        f"{item['image']}: the item is for validation, but has neither 'size' nor 'label' to validate with."
        for item in validation
        if "true_volume_mm3" not in item and "true_label" not in item
    ]
    training: list[TrainingItem] = []
    if supervision is not None:
        try:
            training = cohort.training_items(supervision, fold, size_level, num_masks)
        except DataListError as e:
            problems += e.problems
    if use_roi:
        problems += [
            f"{item['image']}: the item has no roi. Add one, or set use_roi to false."
            for item in (*training, *validation)
            if "roi" not in item
        ]
    if training and "size" in str(supervision).split("+"):
        used = {item["image"] for item in training if size_key(item)} | {item["image"] for item in validation}
        unused = [item["image"] for item in cohort.items if "volume_mm3" in item and item["image"] not in used]
        if unused:
            text = (
                f"the sizes of {len(unused)} training scans teach nothing, {unused[0]} first: they are of the whole "
                "scan, and size_level: slice learns from slice_size. With size_level: volume those of all scans count."
            )
            findings.append(Finding(str(cohort.source), text, is_warning=True))
    if not problems and all(finding.is_warning for finding in findings):
        problems = check_scans([*training, *validation], num_classes, cohort.scribble_unlabelled, region_mm)
        used = {item["image"] for item in (*training, *validation)}
        doubtful = suspicions([item for item in cohort.items if item["image"] in used], cohort.class_names)
        findings += [Finding(str(cohort.source), text, is_warning=True) for text in doubtful]
    refuse_or_warn([*findings, *(Finding(str(cohort.source), problem) for problem in problems)])


def _setup_findings(
    size_detail: str = "given",
    size_noise: str | None = None,
    mask_noise: str | None = None,
    noise_level: float = 0.0,
    init: str = "random",
    output_dir: str | None = None,
    checkpoint: str | None = None,
    resume: bool = False,
    overwrite: bool = False,
    cache_dir: str | None = None,
) -> list[Finding]:
    """What can be wrong with those arguments of :func:`check_run` that need no cohort."""
    problems = [] if output_dir is None else _output_problems(Path(output_dir), resume, overwrite)
    if size_detail not in SIZE_DETAILS:
        problems.append(f"size_detail is '{size_detail}': it must be one of {', '.join(SIZE_DETAILS)}.")
    for key, noise, known in (("size_noise", size_noise, SIZE_NOISES), ("mask_noise", mask_noise, MASK_NOISES)):
        if noise is not None and noise not in known:
            problems.append(f"{key} is '{noise}': it must be null or one of {', '.join(known)}.")
    if noise_level < 0:
        problems.append(f"noise_level is {noise_level}: it must not be negative.")
    if init not in INITS:
        problems.append(f"init is '{init}': it must be one of {', '.join(INITS)}.")
    if init == "checkpoint" and checkpoint is None:
        problems.append("init is 'checkpoint': set init_checkpoint to the file of the weights.")
    if init == "teacher" and checkpoint is None:
        problems.append(f"init is 'teacher': with teacher.yaml, set teacher_checkpoint to a run's {WEIGHTS}.")
    if checkpoint is not None and not Path(checkpoint).is_file():
        problems.append(f"there are no weights at {checkpoint}.{did_you_mean_path(Path(checkpoint))}")
    if cache_dir is not None:
        problems += _cache_problems(Path(cache_dir), mask_noise)
    return [Finding(CONFIG, problem) for problem in problems]


def _cache_problems(cache_dir: Path, mask_noise: str | None) -> list[str]:
    if mask_noise is not None:  # scans from the cache never pass PerturbMask, which measures what it does
        return [f"mask_noise is '{mask_noise}': its masks are made and measured in each run. Set cache_dir to null."]
    existing = next(folder for folder in (cache_dir, *cache_dir.absolute().parents) if folder.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        return [f"cache_dir is {cache_dir}: {existing} is not a folder that can be written to. Name another folder."]
    return []


def _output_problems(output_dir: Path, resume: bool, overwrite: bool) -> list[str]:
    last = output_dir / CHECKPOINT
    if resume and not last.is_file():
        return [f"resume is true, but there is no checkpoint to go on from at {last}."]
    if last.is_file() and not resume and not overwrite:
        return [
            f"output_dir {output_dir} already holds a run. Give another output_dir, go on with it by --resume true, "
            "or replace it by --overwrite true."
        ]
    return []
