"""The ladder: what each kind of supervision reaches, from organ tags to all masks."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path

from medsize.bundle.run_folder import LOG, SUMMARY, WEIGHTS, is_finished
from medsize.studies.cell_command import cell_command
from medsize.studies.cell_settings import check_settings
from medsize.studies.ladder.results import LadderResults
from medsize.studies.ladder.study import Cell, Study, load_study
from medsize.studies.lock import locked
from medsize.studies.study_file import matches
from medsize.studies.supervise import run_supervised

__all__ = ["run_study"]

TEACHER_KEY = "teacher_checkpoint"
ONE_THREAD = {"OMP_NUM_THREADS": "1"}


def run_study(
    file: Path,
    data_dir: Path,
    work_dir: Path,
    workers: int = 2,
    only: str | None = None,
    anew: bool = False,
    report: Callable[[str], None] = print,
) -> bool:
    """
    Run every cell of a study that is not finished, two one-thread runs at a time, and write the tables after each.

    A finished run is kept, in the work folder or, where that is gone, in the tables: then it runs again only where
    another one needs its weights, or ``anew`` asks for it. An interrupted one goes on from its last checkpoint. Several
    ladders may share a work folder, even at the same time.

    Args:
        file: the study.
        data_dir: folder that holds the cohorts.
        work_dir: folder for the runs.
        workers: runs at a time, of one thread each.
        only: part of the names of the cells to run, a regular expression. Default: all.
        anew: run also what stands in the tables, but is not finished in the work folder, and replace it there.
        report: told of each cell that ends.

    Returns:
        whether all cells succeeded.

    Raises:
        ValueError: when the study is faulty, or the work folder or the table holds a cell with other settings.
        subprocess.CalledProcessError: when a cohort cannot be prepared.
    """
    study = load_study(file)
    table = file.parent / study.table
    cells = list(study.cells())
    wanted = [cell for cell in cells if matches(only, str(cell))]
    check_settings(work_dir, ((str(cell), cell.folder(work_dir), study.settings(cell)) for cell in cells))
    results = LadderResults(study, table)

    to_run = []
    for cell in wanted:
        if is_finished(cell.folder(work_dir)):
            report(f"{cell}: kept")
        elif results.has(cell) and not anew:
            report(f"{cell}: kept in the table")
        else:
            to_run.append(cell)
    for cell in to_run:  # grows by what is needed, and by what that needs
        to_run += [c for c in study.needed_by(cell) if not is_finished(c.folder(work_dir)) and c not in to_run]
    for cohort in {cell.cohort.name: cell.cohort for cell in to_run}.values():
        with locked(cohort.folder(work_dir), "prepare.lock"):
            cohort.make_ready(data_dir, work_dir)

    def take_in() -> None:
        with locked(work_dir, "table.lock"):  # another ladder may have written since
            results = LadderResults(study, table)
            results.add(work_dir)
            results.write()

    failed = False
    take_in()
    waiting, running = [cell for cell in cells if cell in to_run], dict[Future[str], Cell]()
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


def _run_cell(study: Study, study_dir: Path, cell: Cell, data_dir: Path, work_dir: Path) -> str:
    rung, folder, settings = study.rungs[cell.rung], cell.folder(work_dir), study.settings(cell)
    unfinished = [before.rung for before in study.needed_by(cell) if not is_finished(before.folder(work_dir))]
    if unfinished:
        return f"failed: it needs '{unfinished[0]}', which is not finished"
    places = cell.cohort.locations(data_dir, work_dir)
    if rung.locator:
        locator = Cell(cell.cohort, rung.locator, cell.seed).folder(work_dir)
        located = locator.with_name(f"located_by_{locator.name}.json")  # paths may start from what else was prepared
        arguments = [locator, places["data_list"], "--dataset-dir", places["dataset_dir"], "--output", located]
        locate = [sys.executable, "-m", "medsize", "locate", *map(str, arguments)]
        with locked(locator, "locate.lock"), (folder / LOG).open("a") as log:
            is_current = located.is_file() and located.stat().st_mtime >= (locator / SUMMARY).stat().st_mtime
            if not is_current and subprocess.run(locate, stdout=log, stderr=log, check=False).returncode:
                return f"failed: '{rung.locator}' found no regions, see {folder / LOG}"
        places["data_list"] = located
    if rung.teacher:
        places[TEACHER_KEY] = Cell(cell.cohort, rung.teacher, cell.seed).folder(work_dir) / WEIGHTS
    bundle = (study_dir / (rung.bundle or study.bundle)).resolve()
    overrides = {**places, **settings["overrides"], "seed": cell.seed, "output_dir": folder}
    command = cell_command(bundle, settings["overlays"], overrides)
    result = run_supervised(str(folder), command, ONE_THREAD)
    while result["outcome"] == "busy":  # another study in the work folder runs it just now
        result = run_supervised(str(folder), command, ONE_THREAD)
    if result["outcome"] != "failed":
        return str(result["outcome"])
    reason = f": {result['reason']}" if "reason" in result else f" with exit code {result['exit_code']}"
    return f"failed{reason}, see {folder / LOG}"
