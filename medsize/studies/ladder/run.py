"""Run of a ladder: every unfinished cell, and the tables after each."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import replace
from pathlib import Path

from medsize.bundle.run.folder import LOG, SUMMARY
from medsize.bundle.supervise import run_supervised
from medsize.files import locked
from medsize.studies.cell_settings import check_settings, record_settings
from medsize.studies.ladder.results import LadderResults
from medsize.studies.ladder.study import LadderCell, LadderStudy, located_list
from medsize.studies.study import load_study

__all__ = ["run_ladder"]

ONE_THREAD = {"OMP_NUM_THREADS": "1"}


def run_ladder(
    file: Path,
    data_dir: Path,
    work_dir: Path,
    workers: int = 2,
    only: str | None = None,
    anew: bool = False,
    report: Callable[[str], None] = print,
) -> bool:
    """
    Run every unfinished cell of a study, several one-thread runs at a time, and write the tables after each.

    A finished run is kept in the work folder. If that is gone, it is kept in the tables; then it runs again only if
    another run needs its weights, or for ``anew``. An interrupted run goes on from its last checkpoint. Several ladders
    may share a work folder, even at the same time.

    Args:
        file: the study.
        data_dir: folder that holds the cohorts.
        work_dir: folder for the runs.
        workers: runs at a time, of one thread each.
        only: part of the names of the cells to run, a regular expression. Default: all.
        anew: also run the cells that the tables hold, but that are not finished in the work folder, and replace them.
        report: function that gets a line for each cell that ends.

    Returns:
        whether all cells succeeded.

    Raises:
        ValueError: when the study is faulty or names an overlay that does not exist, or the work folder or the table
            holds a cell with other settings.
        subprocess.CalledProcessError: when a cohort cannot be prepared.
    """
    study = load_study(file, LadderStudy)
    table = file.parent / study.table
    wanted = study.chosen(only)
    check_settings(study, work_dir)
    results = LadderResults(study, table)

    to_run = []
    for cell in wanted:
        if cell.is_finished(work_dir):
            report(f"{cell}: kept")
        elif results.has(cell) and not anew:
            report(f"{cell}: kept in the table")
        else:
            to_run.append(cell)
    for cell in to_run:  # grows by what is needed, and by what that needs
        to_run += [c for c in study.needed_by(cell) if not c.is_finished(work_dir) and c not in to_run]
    for cell in to_run:  # refuses what a cell lacks, before the first one runs
        study.command(cell, file.parent, data_dir, work_dir)
    study.make_ready(to_run, data_dir, work_dir)

    def take_in() -> None:
        with locked(work_dir, "table.lock"):  # another ladder may have written since
            results = LadderResults(study, table)
            results.add(work_dir)
            results.write()

    failed = False
    take_in()
    waiting, running = [cell for cell in study.cells() if cell in to_run], dict[Future[str], LadderCell]()
    with ThreadPoolExecutor(workers) as pool:
        while waiting or running:
            unfinished = [*waiting, *running.values()]
            for cell in [c for c in waiting if not any(before in unfinished for before in study.needed_by(c))]:
                running[pool.submit(_run_cell, study, file.parent, cell, data_dir, work_dir)] = cell
                waiting.remove(cell)
            for run in wait(running, return_when=FIRST_COMPLETED).done:
                outcome = run.result()
                failed |= outcome.startswith("failed")
                report(f"{running.pop(run)}: {outcome}")
                take_in()
    return not failed


def _run_cell(study: LadderStudy, study_dir: Path, cell: LadderCell, data_dir: Path, work_dir: Path) -> str:
    """Run a cell, and its locator before; return the outcome."""
    folder, rung = cell.folder(work_dir), study.rungs[cell.rung]
    unfinished = [before.rung for before in study.needed_by(cell) if not before.is_finished(work_dir)]
    if unfinished:
        return f"failed: it needs '{unfinished[0]}', which is not finished"
    record_settings(study, cell, work_dir)
    if rung.locator:
        locator = replace(cell, rung=rung.locator).folder(work_dir)
        places = study.cohort(cell).locations(data_dir, work_dir)
        if not _located(locator, places["data_list"], places["dataset_dir"], folder / LOG):
            return f"failed: no regions by '{rung.locator}', see {folder / LOG}"
    command = study.command(cell, study_dir, data_dir, work_dir)
    outcome = run_supervised(str(folder), command, ONE_THREAD)
    while outcome.kind == "busy":  # another study in the work folder runs it just now
        outcome = run_supervised(str(folder), command, ONE_THREAD)
    return f"{outcome}, see {folder / LOG}" if outcome.kind == "failed" else str(outcome)


def _located(locator: Path, data_list: Path, dataset_dir: Path, log_file: Path) -> bool:
    """Write the data list with the regions that a run finds, unless it exists; return whether it exists."""
    located = located_list(locator)
    arguments = [locator, data_list, "--dataset-dir", dataset_dir, "--output", located, "--middle-if-missed"]
    with locked(locator, "locate.lock"), log_file.open("a") as log:
        if located.is_file() and located.stat().st_mtime >= (locator / SUMMARY).stat().st_mtime:
            return True
        command = [sys.executable, "-m", "medsize", "locate", *map(str, arguments)]
        return subprocess.run(command, stdout=log, stderr=log, check=False).returncode == 0
