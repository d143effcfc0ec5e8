"""Commands of studies: many runs and their comparison."""

from __future__ import annotations

from typing import Annotated

import typer

from medsize.cli.messages import echo, refusals
from medsize.cli.options import Data, Only, StudyFile, WorkDir

__all__ = ["ladder", "robustness"]


def ladder(
    study: StudyFile,
    data: Data,
    work_dir: WorkDir,
    workers: Annotated[int, typer.Option(help="Number of runs at a time, each with one thread.", min=1)] = 2,
    only: Only = None,
    anew: Annotated[bool, typer.Option("--anew", help="Also run the cells that the table holds already.")] = False,
) -> None:
    """Train and evaluate a bundle under every kind of supervision in a study, and write its tables."""
    from medsize.studies.ladder import run_ladder

    with refusals():
        succeeded = run_ladder(study, data.resolve(), work_dir.resolve(), workers, only, anew, report=echo)
    raise typer.Exit(0 if succeeded else 1)


def robustness(
    study: StudyFile,
    data: Data,
    work_dir: WorkDir,
    workers: Annotated[
        int | None,
        typer.Option(help="Number of cells at a time. Default: one for each GPU, else for each core.", min=1),
    ] = None,
    scheduler: Annotated[str | None, typer.Option(help="Address of a Dask scheduler to run on.")] = None,
    only: Only = None,
    report_only: Annotated[bool, typer.Option("--report-only", help="Run nothing; report the finished cells.")] = False,
) -> None:
    """
    Train a bundle under labels with many kinds of noise, and write a report.

    After a stop, call it again: it goes on where it stopped.
    """
    from medsize.studies.robustness import run_robustness

    with refusals():
        result = run_robustness(
            study, data.resolve(), work_dir.resolve(), workers, scheduler, only, report_only=report_only
        )
    typer.echo(f"{result.report}: the report" if result.report else "No cell is finished: there is no report yet.")
    raise typer.Exit(1 if result.failed else 0)
