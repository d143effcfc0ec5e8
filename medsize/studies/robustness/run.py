"""Run of a study of robustness: every unfinished cell, then the report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from medsize.bundle.run.folder import LOG
from medsize.bundle.supervise import Outcome
from medsize.files import locked
from medsize.studies.cell_settings import check_settings, record_settings
from medsize.studies.robustness.dask_cluster import connected
from medsize.studies.robustness.dask_runs import run_on_workers
from medsize.studies.robustness.progress import StudyProgress
from medsize.studies.robustness.report import write_report
from medsize.studies.robustness.study import RobustnessCell, RobustnessStudy
from medsize.studies.study import load_study

__all__ = ["StudyResult", "run_robustness"]

Command = Callable[[RobustnessCell], list[str]]


@dataclass
class StudyResult:
    """Cells of a study, their outcomes, and the report."""

    cells: list[RobustnessCell]
    """All chosen cells."""
    outcomes: dict[RobustnessCell, Outcome] = field(default_factory=dict)
    """Outcomes of the cells that were not finished before."""
    report: Path | None = None
    """The page; ``None`` as long as no cell is finished."""

    @property
    def failed(self) -> list[RobustnessCell]:
        """Cells that failed twice."""
        return [cell for cell, outcome in self.outcomes.items() if outcome.kind == "failed"]


def run_robustness(
    file: Path,
    data_dir: Path,
    work_dir: Path,
    workers: int | None = None,
    scheduler: str | None = None,
    only: str | None = None,
    command: Command | None = None,
    report_only: bool = False,
) -> StudyResult:
    """
    Run every unfinished cell of a study, and write the report.

    It can be killed at any moment and called again: finished cells are kept, interrupted ones go on from their last
    checkpoint. Several studies may share a work folder, even at the same time.

    Args:
        file: the study.
        data_dir: folder that holds the cohorts.
        work_dir: folder for the runs.
        workers: cells at a time, on this machine. Default: one for each GPU, else one for each core.
        scheduler: address of a Dask scheduler, whose workers run the cells instead.
        only: part of the names of the cells to run, a regular expression. Default: all.
        command: function that returns the command of a cell, without ``--resume``. Default: the training of the
            study's bundle.
        report_only: run nothing, and write the report of the finished cells.

    Raises:
        ValueError: when the study is faulty, or the work folder holds a cell that was run with other settings.
        subprocess.CalledProcessError: when a cohort cannot be prepared.
        ConnectionError: when the scheduler is lost.
    """
    study = load_study(file, RobustnessStudy)
    cells = study.chosen(only)
    check_settings(study, work_dir)
    result = StudyResult(cells)
    missing = [cell for cell in cells if not cell.is_finished(work_dir)]
    if missing and not report_only:
        command = command or (lambda cell: study.command(cell, file.parent, data_dir, work_dir))
        runs = {cell: (cell.folder(work_dir), command(cell)) for cell in missing}
        with connected(scheduler, study.cluster, workers) as (client, at_a_time):
            study.make_ready(missing, data_dir, work_dir)
            finished = [cell for cell in cells if cell not in runs]
            for cell in missing:
                record_settings(study, cell, work_dir)
            with StudyProgress(work_dir, len(cells), finished, at_a_time) as progress:
                for index, outcome in run_on_workers(client, list(runs.values())):
                    result.outcomes[missing[index]] = outcome
                    progress.tell(missing[index], outcome)
    output_dir = work_dir / "report" if study.report is None else (file.parent / study.report).resolve()
    failed = [
        f"{cell}: {result.outcomes[cell]}, twice. Its log: {cell.folder(work_dir) / LOG}" for cell in result.failed
    ]
    with locked(work_dir, "report.lock"):
        result.report = write_report(study, file, study.cells(), data_dir, work_dir, output_dir, failed)
    return result
