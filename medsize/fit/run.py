"""From a prepared cohort to a shared bundle: plan, stages, report."""

from __future__ import annotations

import fcntl
import json
import os
import shlex
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from medsize.bundle.bundle_choice import bundle_dimensions, find_bundle
from medsize.bundle.run.folder import LOG
from medsize.bundle.run.summary import RunSummary
from medsize.cohort.conversion.code_names import edited_table
from medsize.data.cohort import Cohort
from medsize.data.content_hash import file_state
from medsize.files import atomic_write
from medsize.fit.cohort_facts import CohortSource, cohort_facts, find_source
from medsize.fit.duration import this_machine
from medsize.fit.final_error import FinalError, better_teacher, final_error, validation_cases, what_helps
from medsize.fit.plan import Plan, Wishes
from medsize.fit.planner import plan_fit
from medsize.fit.stages import CLOCK, run_stages
from medsize.suggest import first_few

__all__ = ["fit_cohort", "next_command", "shared_run"]

PLAN = "plan.json"
LOCK = "fit.lock"
REPORT = "report.html"


class Started(BaseModel):
    """A fit that has been started: what was asked for, and its plan."""

    output_dir: Path
    wishes: Wishes
    cohort_sha256: str
    """Hash of the data list and of the cohort's overlay."""
    dataset_dir: Path | None = None
    files: dict[str, tuple[int, int]] = {}
    """Bytes and time of change, ns, of each file that the data list names."""
    plan: Plan


def fit_cohort(
    cohort: Path,
    output_dir: Path,
    wishes: Wishes | None = None,
    plan_only: bool = False,
    report: Callable[[str], None] = print,
    dataset_dir: Path | None = None,
) -> Plan:
    """
    Train on a cohort as its labels allow, and write a bundle to share and a report.

    A fit that was stopped goes on with the plan that it was started with. One of which only the check was run starts
    anew, since what the check refuses is mended in the cohort or in the wishes.

    Args:
        cohort: the folder that ``medsize init`` wrote, its cohort.yaml, or a data list.
        output_dir: folder of the fit: a folder for each stage, ``bundle`` and ``report.html``.
        wishes: settings that are asked for. Default: the plan decides all.
        plan_only: plan, and run nothing.
        report: function that gets the lines for the screen.
        dataset_dir: folder that the paths of a data list start from. Default: the data list's.

    Returns:
        the plan.

    Raises:
        ValueError: when there is no such cohort, its size table was edited since, a wish cannot be met, or the
            folder holds another fit.
        StageFailed: when a stage fails, with the reason and its log.
    """
    wishes, output_dir = wishes or Wishes(), output_dir.absolute()
    source = find_source(cohort, dataset_dir)
    started = _started_before(output_dir)
    scans = source.load()
    # Before the plan reads the files, and without the inode's time: new rights leave a scan as it is.
    files = {file: file_state(file)[:2] for file in scans.files}
    if started is not None:
        _check_same(started, output_dir, wishes, source, files)
    elif table := edited_table(source.data_list.parent):
        raise ValueError(
            f"{table} has changed since medsize init read it. Run medsize init again, with --sizes "
            f"{shlex.quote(str(table))}: the fit then learns from what it holds now."
        )
    plan = _plan(source, scans, wishes, output_dir) if started is None else started.plan
    for line in plan.lines():
        report(line)
    if started is not None and started.wishes.time_limit != wishes.time_limit:
        report(
            "The time limit was another one. Finished trainings are kept: for longer ones, take another --output-dir."
        )
    if plan_only:
        return plan

    @cache
    def error_of_network() -> FinalError | None:
        return final_error(validation_cases(plan, output_dir), scans, plan)

    with _locked(output_dir):
        if started is None:
            _forget_check(plan, output_dir)
            started = Started(
                output_dir=output_dir,
                wishes=wishes,
                cohort_sha256=source.sha256,
                dataset_dir=source.dataset_dir,
                files=files,
                plan=plan,
            )
            with atomic_write(output_dir / PLAN) as file:
                file.write_text(started.model_dump_json(indent=1) + "\n", encoding="utf-8")
        results = [output_dir / stage.folder for stage in plan.results]
        shared = output_dir / plan.shared_folder
        command = next_command(output_dir, plan.locates)

        def judge() -> None:
            """Tell whoever applies or shares a network later if it is of no use."""
            error = error_of_network()
            doubt = str(error) if error is not None and error.is_useless else ""
            for run in results:
                if (summary := RunSummary.read(run)).doubt != doubt:
                    summary.model_copy(update={"doubt": doubt}).write(run)

        def write_ensemble() -> None:
            from medsize.fit.ensemble import write_ensemble

            write_ensemble(results, output_dir / "ensemble")

        def write_report() -> None:
            from medsize.fit.report import write_report

            write_report(output_dir / REPORT, plan, output_dir, source, shared, command())

        report("Run:")
        own = {"ensemble": write_ensemble, "report": write_report}
        run_stages(plan, output_dir, own, wishes.time_limit, report, judge)
    report(f"{output_dir / REPORT}: sizes and pictures of scans never trained on, and what was run")
    error = error_of_network()
    if error is not None:
        report(f"{plan.results[0].title}: {error}")
    if (better := better_teacher(plan, output_dir)) is not None:
        teacher, its_error = better
        segments = next_command(output_dir / teacher.folder, plan.locates)()
        report(f"{teacher.title}: size error {its_error:.2f} on the same scans. To apply it: {segments}")
    if error is not None and error.is_useless:
        report(f"Next: {what_helps(plan, output_dir)}")
        return plan
    report(f"{output_dir / 'bundle'}: the bundle to share")
    report("Next:")
    report(f"  {command()}")
    return plan


def next_command(run: Path, locates: bool) -> Callable[[], str]:
    """
    Return a function for the command that applies a run to new scans, once the run has finished.

    Args:
        run: output folder of the run, or of a fit that shares one.
        locates: its scans were located by a network on whole scans, which locates new ones, too.
    """

    def command() -> str:
        stated = " --data-list REGIONS.json" if RunSummary.read(shared_run(run)).roi and not locates else ""
        return f"medsize predict {shlex.quote(str(run))} NEW_SCANS --output predictions{stated}"

    return command


def shared_run(folder: Path) -> Path:
    """
    Return the run whose network a fit shares. Any folder but that of a fit is returned as it is.

    Args:
        folder: output folder of a fit or of a run.

    Raises:
        ValueError: when the fit's plan cannot be read.
    """
    file = folder / PLAN
    return folder / _read_start(file).plan.shared_folder if file.is_file() else folder


def _read_start(file: Path) -> Started:
    try:
        return Started.model_validate_json(file.read_bytes())
    except ValidationError as e:
        raise ValueError(
            f"{file}: found no plan of this version of medsize, expected that of a fit. Name another folder."
        ) from e


def _plan(source: CohortSource, cohort: Cohort, wishes: Wishes, output_dir: Path) -> Plan:
    dimensions = None if wishes.bundle is None else bundle_dimensions(wishes.bundle)
    facts = cohort_facts(source, cohort, dimensions)
    bundle = wishes.bundle or find_bundle(f"size_seg_{facts.dimensions}d")
    return plan_fit(facts, source, bundle, wishes, this_machine(), output_dir)


def _started_before(output_dir: Path) -> Started | None:
    """
    Return the fit that a folder holds, if it has made more than its check.

    Raises:
        ValueError: when the folder holds something else.
    """
    file = output_dir / PLAN
    if file.is_file():
        started = _read_start(file)
        made = [output_dir / stage.folder for stage in started.plan.stages if stage.command and stage.kind != "check"]
        return started if any(folder.exists() for folder in made) else None
    if output_dir.is_dir() and any(f.name != LOCK and not f.name.startswith(".") for f in output_dir.iterdir()):
        raise ValueError(f"{output_dir} holds other files than those of a fit. Name another --output-dir.")
    return None


def _forget_check(plan: Plan, output_dir: Path) -> None:
    """Remove what the check of an earlier start has left: its warnings may be about another cohort."""
    for file in (CLOCK, *(f"{stage.folder}/{LOG}" for stage in plan.stages if stage.kind == "check")):
        (output_dir / file).unlink(missing_ok=True)


def _check_same(
    started: Started, output_dir: Path, wishes: Wishes, source: CohortSource, files: Mapping[str, tuple[int, int]]
) -> None:
    """Refuse to go on with another cohort or other options than a fit was started with."""
    changes = list(_differences(started.wishes.model_dump(mode="json"), wishes.model_dump(mode="json")))
    if started.cohort_sha256 != source.sha256:
        changes.append(f"the cohort is {source.overlay or source.data_list}, which is another one or has changed")
    if source.overlay is None and started.dataset_dir not in (None, source.dataset_dir):
        changes.append(f"the folder of the cohort's files was {started.dataset_dir}, is {source.dataset_dir}")
    if changed := [file for file, state in files.items() if state != started.files.get(file, state)]:
        changes.append(f"the cohort's files have changed since, by size or time: {first_few(changed)}")
    if started.output_dir != output_dir:
        changes.append(f"the folder was {started.output_dir}")
    if changes:
        raise ValueError(
            f"{output_dir} holds a fit that was started otherwise: {'; '.join(changes)}. Go on with the cohort and the "
            "options that it was started with, or name another --output-dir."
        )


def _differences(before: dict[str, Any], now: dict[str, Any]) -> Iterator[str]:
    for key, value in before.items():
        if now[key] != value and key != "time_limit":  # the trainings to come keep to it
            yield f"{key} was {json.dumps(value)}, is {json.dumps(now[key])}"


@contextmanager
def _locked(output_dir: Path) -> Iterator[None]:
    """
    Hold the lock of a fit; the system releases it when the process dies.

    Raises:
        ValueError: when another process holds it.
    """
    output_dir.mkdir(parents=True, exist_ok=True)
    with (output_dir / LOCK).open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as e:
            lock.seek(0)
            process = lock.read().strip()
            raise ValueError(
                f"{output_dir}: another fit runs in it, the process {process}. Wait for it, or stop it."
            ) from e
        lock.truncate(0)
        print(os.getpid(), file=lock, flush=True)
        yield
